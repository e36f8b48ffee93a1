"""Wrong manifests: each is told where it is wrong, what is wrong, and what would be right; all at once."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_manifest import EXAMPLE

from migrate.errors import ExitCode, UsageError
from migrate.manifest import ManifestError, load_manifest, parse_manifest
from migrate.manifest.schema import manifest_schema

V = "version: 1\n"
VA = "version: 1\nimages: [a]\n"
HEX = "0123456789abcdef" * 4
LEVELS = [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 9)]
BOMB = "\n".join(["version: 1", "l0: &l0 [lol]", *LEVELS, "images: [a]"])

KEYS = "version, source, target, projects, defaults, images, access, workloads, platform, imageStreams, transfer"
IMAGE_KEYS = "from, to, tags, format, onConflict, platforms, engine"
WAYS = "kubeconfigContext, tokenEnv, tokenFile, passwordEnv, passwordFile, authfile, command"
NAME_OF_ENV = "this must be the NAME of an environment variable, such as RAHTI_TOKEN, never the secret itself"
NAME_RULE = "is not an image name: lower-case letters and digits, joined by . _ - and divided by /"
TAG_RULE = "is not a tag: up to 128 of A-Z a-z 0-9 _ . - are allowed, not . or - first"
DIGEST_RULE = "is not a digest: sha256: and 64 characters of 0-9a-f are needed"
HOST_RULE = "is not a registry host such as registry.example.org or localhost:5000"
PROJECT_RULE = "is not a project name: lower-case letters, digits and -, at most 63 characters"
SEMVER_RULE = "is not a version condition such as >=1.2 or <3 (several are joined by commas)"
TOO_DEEP = "nested more than 40 deep: this is no manifest"

CASES: list[tuple[str, str | bytes, str]] = [
    # the file itself
    ("empty-file", "", "1:1: the file is empty: a manifest begins with `version: 1`"),
    ("only-a-comment", "# later\n", "1:1: the file is empty: a manifest begins with `version: 1`"),
    ("only-null", "~\n", "1:1: a manifest is a mapping and begins with `version: 1`"),
    ("only-text", "images\n", "1:1: a manifest is a mapping and begins with `version: 1`"),
    ("only-a-list", "- my-app\n", "1:1: a manifest is a mapping and begins with `version: 1`"),
    ("two-documents", VA + "---\n" + VA, "4:1: there is a second document (`---`): one file is one manifest"),
    ("binary", b"\x7fELF\x02\x01\x01\x00", "1:1: no text has the character U+007F: is it the right file?"),
    ("compressed", b"\x1f\x8b\x08\x00\x00\x00\x00\x00", "1:1: this is not text in UTF-8: is it the right file?"),
    (
        "utf-16",
        b"\xff\xfev\x00e\x00r\x00s\x00i\x00o\x00n\x00:\x00 \x001\x00\n\x00",
        "1:1: this is text in UTF-16: save it as UTF-8",
    ),
    (
        "utf-16-without-a-mark",
        b"v\x00e\x00r\x00s\x00i\x00o\x00n\x00:\x00 \x001\x00\n\x00",
        "1:2: no text has the character U+0000: is it the right file?",
    ),
    ("latin-1", b"version: 1\n# M\xe4\xe4tt\xe4\n", "2:1: this is not text in UTF-8: is it the right file?"),
    ("control-character", V + "images: [a\x07]\n", "2:11: no text has the character U+0007: is it the right file?"),
    (
        "kubernetes-yaml",
        "apiVersion: v1\nkind: List\nitems: []\n",
        "2:1: this is Kubernetes YAML: a manifest begins with `version: 1`, and names such files under `workloads`",
    ),
    # what YAML is not
    ("tab-as-indentation", V + "images:\n\t- a\n", "3:1: not YAML: tabs cannot indent: use spaces"),
    (
        "tab-after-spaces",
        V + "source:\n  registry: a.b\n\tplainHttp: true\n",
        "4:1: not YAML: tabs cannot indent: use spaces",
    ),
    ("list-not-closed", V + "images: [a\n", "3:1: not YAML: a `,` or `]` is missing in the list that begins in line 2"),
    (
        "mapping-not-closed",
        V + "source: {registry: a.b\n",
        "3:1: not YAML: a `,` or `}` is missing in the mapping that begins in line 2",
    ),
    ("quote-not-closed", V + "images: ['a]\n", "3:1: not YAML: the quote that opens in line 2 is not closed"),
    (
        "bracket-too-many",
        V + "images: [a]]\n",
        "2:12: not YAML: this does not fit what stands before it: correct the indentation, or put the value in quotes",
    ),
    (
        "comma-too-many",
        V + "images: [a,, b]\n",
        "2:12: not YAML: a value is missing here, or there is a `,` or a bracket too many",
    ),
    (
        "glob-taken-for-an-alias",
        V + "images: [{from: a/b, tags: {include: [*-rc*]}}]\n",
        "2:43: not YAML: * and & have a meaning in YAML: put a value that begins with one in quotes",
    ),
    (
        "unknown-alias",
        V + "images: [*all]\n",
        "2:10: not YAML: * has a meaning in YAML: put a value that begins with it in quotes",
    ),
    (
        "anchor-twice",
        V + "images: [&x a, &x b]\n",
        "2:16: not YAML: the anchor (&) of this name is there already: give one of the two another name",
    ),
    (
        "value-begins-with-at",
        V + "images: [@a]\n",
        "2:10: not YAML: a value cannot begin with this character: put it in quotes",
    ),
    (
        "value-begins-with-a-bang",
        V + "images: [!a!b c]\n",
        "2:10: not YAML: ! has a meaning in YAML: put a value that begins with it in quotes",
    ),
    (
        "second-colon",
        V + "images: a: b\n",
        "2:10: not YAML: no `:` can stand here: correct the indentation, or put the value in quotes",
    ),
    (
        "key-without-colon",
        "version 1\nimages: [a]\n",
        "2:7: not YAML: no `:` can stand here: correct the indentation, or put the value in quotes",
    ),
    (
        "wrong-indentation",
        V + "source:\n    registry: a.b\n  plainHttp: true\n",
        "4:3: not YAML: this does not fit what stands before it: correct the indentation, or put the value in quotes",
    ),
    (
        "list-beside-its-key",
        V + "images: - a\n",
        "2:9: not YAML: a list cannot begin here: put each `- ` on a line of its own",
    ),
    (
        "unknown-escape",
        V + 'source: {caFile: "C:\\ca.pem"}\n',
        '2:21: not YAML: this is no escape that text in "double quotes" knows: write \\\\ for one \\, or use'
        " single quotes",
    ),
    (
        "unknown-yaml-version",
        "%YAML 2.0\n---\n" + VA,
        "1:1: not YAML: this version of YAML is not known: take the %YAML line out",
    ),
    (
        "text-after-the-end",
        VA + "...\nmore\n",
        "4:1: not YAML: the manifest has ended before this: take it out, or correct the brackets",
    ),
    # YAML that no manifest needs
    ("key-twice", VA + "images: [b]\n", "3:1: `images` stands here a second time (first in line 2): keep one"),
    (
        "merge-key",
        V + "images:\n  - <<: {from: a/b}\n    from: a/c\n",
        "3:5: merge keys (<<) are not read: say what all images share under `defaults`",
    ),
    ("key-not-text", VA + "? [a, b]\n: c\n", "3:3: a key must be plain text in one line"),
    ("key-of-two-lines", VA + '"a\\nb": c\n', "3:1: a key must be plain text in one line"),
    ("empty-key", VA + '"": c\n', "3:1: a key must be plain text in one line"),
    (
        "python-tag",
        V + "images: !!python/object/apply:os.system [ls]\n",
        "2:9: '!!python/object/apply:os.system' is a type that manifests do not have: take it out, or put the"
        " value in quotes",
    ),
    (
        "python-name",
        V + "images: [!!python/name:os.system x]\n",
        "2:10: '!!python/name:os.system' is a type that manifests do not have: take it out, or put the value in quotes",
    ),
    (
        "own-tag",
        V + "images: [!mine a]\n",
        "2:10: '!mine' is a type that manifests do not have: take it out, or put the value in quotes",
    ),
    (
        "set",
        V + "images: !!set {a, b}\n",
        "2:9: '!!set' is a type that manifests do not have: take it out, or put the value in quotes\n"
        "2:9: images: a list is needed here, and a mapping (key: value) was found",
    ),
    ("recursive-alias", V + "images: &a [*a]\n", f"2:9: {TOO_DEEP}"),
    ("billion-laughs", BOMB, "2:10: more than 500,000 values, with those that aliases (*) repeat: this is no manifest"),
    ("five-hundred-brackets", "[" * 500, f"1:41: {TOO_DEEP}"),
    ("five-hundred-brackets-closed", "[" * 500 + "]" * 500, f"1:41: {TOO_DEEP}"),
    ("five-hundred-braces", "{" * 500, f"1:41: {TOO_DEEP}"),
    ("ten-thousand-mappings", "{a: " * 10_000 + "}" * 10_000, f"1:161: {TOO_DEEP}"),
    ("a-million-lists", "- " * 1_000_000, f"1:81: {TOO_DEEP}"),
    (
        "a-very-long-value",
        VA + "source: {registry: " + "x" * 10_001 + "}\n",
        "3:20: a value of more than 10,000 characters: this is no manifest",
    ),
    # keys
    ("version-missing", "images: [a]\n", "1:1: `version` is missing: a manifest begins with `version: 1`"),
    ("version-2", "version: 2\nimages: [a]\n", "1:10: version: the number 1 is needed here, and 2 was found"),
    (
        "version-as-text",
        "version: '1'\nimages: [a]\n",
        "1:10: version: the number 1 is needed here, and the text '1' was found",
    ),
    ("version-1.0", "version: 1.0\nimages: [a]\n", "1:10: version: the number 1 is needed here, and 1.0 was found"),
    ("version-true", "version: true\nimages: [a]\n", "1:10: version: the number 1 is needed here, and true was found"),
    ("version-empty", "version:\nimages: [a]\n", "1:9: version: this is empty: the number 1 is needed"),
    ("nothing-to-do", V, "1:1: there is nothing to do: at least one of `images`, `access`, `workloads` is needed"),
    (
        "nothing-to-do-but-null",
        V + "images:\n",
        "1:1: there is nothing to do: at least one of `images`, `access`, `workloads` is needed",
    ),
    (
        "unknown-key",
        VA + "tranfser: {jobs: 1}\n",
        f"3:1: unknown key `tranfser`: did you mean `transfer`? allowed here are {KEYS}",
    ),
    (
        "unknown-key-in-other-case",
        VA + "SOURCE: {}\n",
        f"3:1: unknown key `SOURCE`: did you mean `source`? allowed here are {KEYS}",
    ),
    (
        "unknown-key-in-a-side",
        VA + "source: {plainHTTP: true}\n",
        "3:10: unknown key `plainHTTP` in source: did you mean `plainHttp`? allowed here are registry, login,"
        " plainHttp, caFile, insecureSkipTlsVerify, api",
    ),
    (
        "unknown-key-in-an-image",
        V + "images: [{from: a/b, tag: {}}]\n",
        f"2:22: unknown key `tag` in images[0]: did you mean `tags`? allowed here are {IMAGE_KEYS}",
    ),
    (
        "unknown-key-in-options",
        V + "workloads: [{from: a, to: b, project: p, options: {dataCopy: true}}]\n",
        "2:52: unknown key `dataCopy` in workloads[0].options: did you mean `dataCopied`? allowed here are"
        " deploymentConfig, missingImages, dataCopied, bitnami, routeSuffix, hooks, keepManualRollout,"
        " keepOldLimits, strictMemoryRatio, stripUids, stripNodeSelectors, harden, loadBalancer, dropUnknown, secrets",
    ),
    ("unknown-key-like-none", VA + "xyzzy: 1\n", f"3:1: unknown key `xyzzy`: allowed here are {KEYS}"),
    # types
    ("images-as-text", V + "images: my-app\n", "2:9: images: a list is needed here, and the text 'my-app' was found"),
    (
        "images-as-mapping",
        V + "images: {from: a/b}\n",
        "2:9: images: a list is needed here, and a mapping (key: value) was found",
    ),
    ("images-empty", V + "images: []\n", "2:9: images: this is empty: write what belongs here, or leave the key out"),
    (
        "image-as-number",
        V + "images: [1.10]\n",
        "2:10: images[0]: text or a mapping (key: value) is needed here, and 1.10 was found",
    ),
    (
        "image-as-list",
        V + "images: [[a]]\n",
        "2:10: images[0]: text or a mapping (key: value) is needed here, and a list was found",
    ),
    (
        "image-empty",
        V + "images:\n  - a\n  -\n",
        "4:4: images[1]: this is empty: text or a mapping (key: value) is needed",
    ),
    ("image-empty-text", V + "images: ['']\n", "2:10: images[0]: this is empty: text is needed"),
    (
        "image-without-from",
        V + "images: [{to: a/b}]\n",
        "2:10: `from` is missing in images[0]: what to copy, [registry/]project[/name[:tag|@digest]]",
    ),
    (
        "tag-glob-as-number",
        V + "images: [{from: a/b, tags: {include: [1.10]}}]\n",
        "2:39: images[0].tags.include[0]: 1.10 is a number to YAML, and text is needed: put it in quotes, '1.10'",
    ),
    (
        "to-as-number",
        V + "images: [{from: a/b, to: 1.10}]\n",
        "2:26: images[0].to: 1.10 is a number to YAML, and text is needed: put it in quotes, '1.10'",
    ),
    (
        "text-as-truth",
        V + "images: [{from: yes}]\n",
        "2:17: images[0].from: yes is true or false to YAML, and text is needed: put it in quotes, 'yes'",
    ),
    (
        "text-as-list",
        V + "images: [{from: [a/b]}]\n",
        "2:17: images[0].from: text is needed here, and a list was found",
    ),
    (
        "truth-as-text",
        VA + "source: {plainHttp: 'true'}\n",
        "3:21: source.plainHttp: true or false is needed here, and the text 'true' was found",
    ),
    (
        "truth-as-number",
        VA + "source: {plainHttp: 1}\n",
        "3:21: source.plainHttp: true or false is needed here, and 1 was found",
    ),
    (
        "number-as-text",
        V + "images: [{from: a/b, tags: {newest: '3'}}]\n",
        "2:37: images[0].tags.newest: a whole number is needed here, and the text '3' was found",
    ),
    (
        "number-with-a-point",
        V + "images: [{from: a/b, tags: {newest: 1.5}}]\n",
        "2:37: images[0].tags.newest: a whole number is needed here, and 1.5 was found",
    ),
    (
        "number-as-truth",
        V + "images: [{from: a/b, tags: {newest: true}}]\n",
        "2:37: images[0].tags.newest: a whole number is needed here, and true was found",
    ),
    (
        "number-too-small",
        V + "images: [{from: a/b, tags: {newest: 0}}]\n",
        "2:37: images[0].tags.newest: 0 is out of range: it must be at least 1",
    ),
    (
        "number-too-big",
        VA + "transfer: {jobs: 5000}\n",
        "3:18: transfer.jobs: 5000 is out of range: it must be at most 1024",
    ),
    (
        "number-or-word",
        VA + "transfer: {jobs: many}\n",
        "3:18: transfer.jobs: 'many' is not right here: write auto or a whole number",
    ),
    (
        "number-or-list",
        VA + "transfer: {jobs: [4]}\n",
        "3:18: transfer.jobs: auto or a whole number is needed here, and a list was found",
    ),
    (
        "list-as-text",
        V + "images: [{from: a/b, tags: {include: '1.*'}}]\n",
        "2:38: images[0].tags.include: a list is needed here, and the text '1.*' was found",
    ),
    (
        "list-empty",
        V + "images: [{from: a/b, tags: {exclude: []}}]\n",
        "2:38: images[0].tags.exclude: this is empty: write what belongs here, or leave the key out",
    ),
    (
        "mapping-as-text",
        VA + "source: quay.io\n",
        "3:9: source: a mapping (key: value) is needed here, and the text 'quay.io' was found",
    ),
    ("mapping-as-number", VA + "source: 5\n", "3:9: source: a mapping (key: value) is needed here, and 5 was found"),
    (
        "mapping-as-list",
        VA + "defaults: [oci]\n",
        "3:11: defaults: a mapping (key: value) is needed here, and a list was found",
    ),
    (
        "mapping-empty",
        VA + "projects:\n",
        "3:10: projects: this is empty: a mapping (key: value) is needed, or leave the key out",
    ),
    (
        "text-empty",
        VA + "source: {caFile: ''}\n",
        "3:18: source.caFile: this is empty: text is needed, or leave the key out",
    ),
    (
        "needed-text-empty",
        V + "workloads: [{from: a, to: '', project: p}]\n",
        "2:27: workloads[0].to: this is empty: text is needed",
    ),
    (
        "control-character-escaped",
        VA + 'source: {caFile: "a\\0b"}\n',
        "3:18: source.caFile: 'a\\x00b' has a control character in it: write plain text",
    ),
    (
        "word-not-among",
        V + "images: [{from: a/b, format: OCI}]\n",
        "2:30: images[0].format: 'OCI' is not right here: write oci, docker or keep",
    ),
    (
        "word-misspelt",
        VA + "defaults: {onConflict: fial}\n",
        "3:24: defaults.onConflict: 'fial' is not right here: write fail, skip or overwrite",
    ),
    (
        "word-as-number",
        VA + "defaults: {engine: 2}\n",
        "3:20: defaults.engine: 2 is not right here: write auto or skopeo",
    ),
    (
        "word-empty",
        VA + "defaults: {engine: }\n",
        "3:20: defaults.engine: this is empty: write auto or skopeo, or leave the key out",
    ),
    (
        "carry-unknown",
        VA + "imageStreams: {carry: [tags]}\n",
        "3:24: imageStreams.carry[0]: 'tags' is not right here: write labels or lookupPolicy",
    ),
    # references
    (
        "capital-letters",
        V + "images: [a/B]\n",
        "2:10: images[0]: 'a/B' has capital letters: names of images are lower case",
    ),
    ("empty-part", V + "images: [a//b]\n", f"2:10: images[0]: 'a//b' {NAME_RULE}"),
    ("spaces", V + "images: [a b]\n", f"2:10: images[0]: 'a b' {NAME_RULE}"),
    (
        "name-too-long",
        V + "images: [" + "a" * 256 + "]\n",
        "2:10: images[0]:"
        " 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'"
        " is longer than 255 characters, the most that a name may have",
    ),
    (
        "host-alone",
        V + "images: [quay.io/]\n",
        "2:10: images[0]: the name of the image is missing: [registry/]<project>/<name> is needed",
    ),
    (
        "url",
        V + "images: ['docker://quay.io/a/b']\n",
        "2:10: images[0]: 'docker://quay.io/a/b' is a URL: write it without 'docker://'",
    ),
    ("port-too-big", V + "images: ['quay.io:70000/a/b']\n", f"2:10: images[0]: 'quay.io:70000' {HOST_RULE}"),
    ("bad-tag", V + "images: ['a/b:-x']\n", f"2:10: images[0]: '-x' {TAG_RULE}"),
    ("tag-empty", V + "images: ['a/b:']\n", f"2:10: images[0]: '' {TAG_RULE}"),
    (
        "glob-as-tag",
        V + "images: ['a/b:1.*']\n",
        f"2:10: images[0]: '1.*' {TAG_RULE}; for many tags write `tags: {{include: [...]}}`",
    ),
    (
        "glob-as-name",
        V + "images: ['a/*']\n",
        f"2:10: images[0]: 'a/*' {NAME_RULE}; for many tags write `tags: {{include: [...]}}`",
    ),
    ("digest-too-short", V + "images: ['a/b@sha256:0123']\n", f"2:10: images[0]: 'sha256:0123' {DIGEST_RULE}"),
    (
        "digest-after-a-colon",
        V + "images: ['a/b:sha256:" + HEX + "']\n",
        "2:10: images[0]: 'sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef' is a"
        " digest, not a tag: write @ before it",
    ),
    ("unknown-digest", V + "images: ['a/b@md5:0123']\n", f"2:10: images[0]: 'md5:0123' {DIGEST_RULE}"),
    (
        "bad-reference-in-the-long-form",
        V + "images: [{from: a/B, format: tar}]\n",
        "2:17: images[0].from: 'a/B' has capital letters: names of images are lower case\n"
        "2:30: images[0].format: 'tar' is not right here: write oci, docker or keep",
    ),
    (
        "no-project",
        V + "images: ['nginx:1.25']\n",
        "2:10: images[0]: 'nginx' stands in no project: say where it goes, `to: <project>/<name>`",
    ),
    (
        "host-without-a-name",
        V + "images: [quay.io]\n",
        "2:10: images[0]: 'quay.io' stands in no project: say where it goes, `to: <project>/<name>`",
    ),
    # where images go
    (
        "outside-without-to",
        V + "images: ['quay.io/a/b:1']\n",
        "2:10: images[0]: quay.io/a/b is outside the source registry: say where it goes, `to: <project>/<name>`",
    ),
    (
        "source-is-target",
        V + "target: {registry: docker-registry.rahti.csc.fi}\nimages: [a/b]\n",
        "3:10: images[0]: docker-registry.rahti.csc.fi/a/b is both source and target: say where it goes with `to`",
    ),
    (
        "source-project-is-target-project",
        V + "target: {registry: docker-registry.rahti.csc.fi}\nimages: [a]\n",
        "3:10: images[0]: docker-registry.rahti.csc.fi/a is both source and target: rename it under `projects`",
    ),
    (
        "to-on-a-project",
        V + "images: [{from: a, to: c/d}]\n",
        "2:24: images[0].to: a whole project is renamed under `projects:`, not by `to`",
    ),
    (
        "to-with-a-tag-for-many",
        V + "images: [{from: a/b, to: 'c/d:1'}]\n",
        "2:26: images[0].to: `to` names one tag, and `from` means many: leave the tag out of `to`",
    ),
    (
        "to-without-a-project",
        V + "images: [{from: a/b, to: d}]\n",
        "2:26: images[0].to: 'd' is not a target: write <project>/<name> or <project>/<name>:<tag>",
    ),
    (
        "to-with-a-registry",
        V + "images: [{from: a/b, to: quay.io/c/d}]\n",
        "2:26: images[0].to: 'quay.io/c/d' names a registry, and that is target.registry's place: write"
        " <project>/<name> or <project>/<name>:<tag>",
    ),
    (
        "to-a-digest",
        V + "images: [{from: a/b, to: 'c/d@sha256:0123'}]\n",
        "2:26: images[0].to: the target cannot be a digest: write <project>/<name> or <project>/<name>:<tag>",
    ),
    (
        "to-a-bad-tag",
        V + "images: [{from: 'a/b:1', to: 'c/d:-'}]\n",
        "2:30: images[0].to: 'c/d:-' is not a target: write <project>/<name> or <project>/<name>:<tag>",
    ),
    (
        "tags-with-a-tag",
        V + "images: [{from: 'a/b:1', tags: {newest: 1}}]\n",
        "2:32: images[0].tags: `from` names one image, and `tags` chooses among many: leave one of the two out",
    ),
    (
        "tags-with-a-digest",
        V + "images: [{from: 'a/b@sha256:" + HEX + "', tags: {newest: 1}}]\n",
        "2:102: images[0].tags: `from` names one image, and `tags` chooses among many: leave one of the two out",
    ),
    (
        "clash",
        V + "images:\n  - a/b:1\n  - {from: 'c/d:1', to: a/b}\n",
        "4:5: images[1]: images[0] goes to a/b:1 already: rename one with `to`",
    ),
    (
        "clash-after-renaming",
        V + "projects: {a: c}\nimages: ['a/b:1', 'c/b:1']\n",
        "3:19: images[1]: images[0] goes to c/b:1 already: rename one with `to`",
    ),
    (
        "same-image-twice",
        V + "images: ['a/b:1', 'a/c:1', 'a/b:1']\n",
        "2:28: images[2]: images[0] goes to a/b:1 already: keep one of the two",
    ),
    ("project-name-bad", VA + "projects: {a: My_App}\n", f"3:15: projects.a: 'My_App' {PROJECT_RULE}"),
    (
        "project-name-too-long",
        VA + "projects: {a: " + "x" * 64 + "}\n",
        f"3:15: projects.a: 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx' {PROJECT_RULE}",
    ),
    (
        "project-name-as-number",
        VA + "projects: {a: 2}\n",
        "3:15: projects.a: 2 is a number to YAML, and text is needed: put it in quotes, '2'",
    ),
    (
        "source-project-name-bad",
        VA + "projects: {A/b: c}\n",
        "3:12: projects.A/b: 'A/b' is not the name of a source project: lower-case letters, digits and -",
    ),
    # tags and platforms
    (
        "semver-words",
        V + "images: [{from: a/b, tags: {semver: newest}}]\n",
        f"2:37: images[0].tags.semver: 'newest' {SEMVER_RULE}",
    ),
    (
        "semver-of-npm",
        V + "images: [{from: a/b, tags: {semver: ^1.2}}]\n",
        f"2:37: images[0].tags.semver: '^1.2' {SEMVER_RULE}",
    ),
    (
        "semver-without-comma",
        V + "images: [{from: a/b, tags: {semver: '>=1 <3'}}]\n",
        f"2:37: images[0].tags.semver: '>=1 <3' {SEMVER_RULE}",
    ),
    (
        "semver-as-number",
        V + "images: [{from: a/b, tags: {semver: 1.2}}]\n",
        "2:37: images[0].tags.semver: 1.2 is a number to YAML, and text is needed: put it in quotes, '1.2'",
    ),
    (
        "platform-as-text",
        V + "images: [{from: a/b, platforms: linux/amd64}]\n",
        "2:33: images[0].platforms: 'linux/amd64' is not right here: write all or a list such as [linux/amd64]",
    ),
    (
        "platform-without-architecture",
        V + "images: [{from: a/b, platforms: [linux]}]\n",
        "2:34: images[0].platforms[0]: 'linux' is not a platform such as linux/amd64 or linux/arm64/v8",
    ),
    (
        "all-in-a-list",
        V + "images: [{from: a/b, platforms: [all]}]\n",
        "2:34: images[0].platforms[0]: `all` does not stand in a list: write `platforms: all`",
    ),
    (
        "platforms-as-mapping",
        VA + "defaults: {platforms: {linux: amd64}}\n",
        "3:23: defaults.platforms: all or a list is needed here, and a mapping (key: value) was found",
    ),
    (
        "platforms-empty",
        VA + "defaults: {platforms: []}\n",
        "3:23: defaults.platforms: this is empty: write what belongs here, or leave the key out",
    ),
    # sides and logins
    (
        "registry-as-url",
        VA + "source: {registry: 'https://quay.io'}\n",
        "3:20: source.registry: 'https://quay.io' is a URL: write the host alone, and `plainHttp: true` where"
        " the registry has no TLS",
    ),
    (
        "registry-with-a-path",
        VA + "source: {registry: quay.io/my-app}\n",
        f"3:20: source.registry: 'quay.io/my-app' {HOST_RULE}",
    ),
    (
        "registry-without-dot-or-port",
        VA + "source: {registry: registry}\n",
        f"3:20: source.registry: 'registry' {HOST_RULE}",
    ),
    (
        "plain-http-with-ca-file",
        VA + "source: {plainHttp: true, caFile: ca.pem}\n",
        "3:35: source.caFile: plainHttp means that there is no TLS; keep one of the two",
    ),
    (
        "plain-http-without-checks",
        VA + "target: {plainHttp: true, insecureSkipTlsVerify: true}\n",
        "3:50: target.insecureSkipTlsVerify: plainHttp means that there is no TLS; keep one of the two",
    ),
    (
        "login-as-text",
        VA + "source: {login: sha256~hush}\n",
        "3:17: source.login: a mapping (key: value) is needed here, and a plain value was found",
    ),
    (
        "login-as-number",
        VA + "source: {login: 1234}\n",
        "3:17: source.login: a mapping (key: value) is needed here, and a plain value was found",
    ),
    ("login-empty", VA + "source: {login: {}}\n", f"3:17: source.login: one of {WAYS} is needed"),
    (
        "login-with-a-user-alone",
        VA + "source: {login: {username: ann}}\n",
        f"3:17: source.login: one of {WAYS} is needed",
    ),
    (
        "login-of-two-ways",
        VA + "source: {login: {tokenEnv: A, tokenFile: b}}\n",
        "3:17: source.login: tokenEnv and tokenFile do not go together: keep one of them",
    ),
    (
        "login-of-three-ways",
        VA + "source: {login: {tokenEnv: A, tokenFile: b, authfile: c}}\n",
        "3:17: source.login: tokenEnv, tokenFile and authfile do not go together: keep one of them",
    ),
    (
        "password-without-user",
        VA + "source: {login: {passwordFile: p}}\n",
        "3:17: source.login: passwordFile needs `username` too",
    ),
    (
        "user-with-a-context",
        VA + "source: {login: {kubeconfigContext: c, username: ann}}\n",
        "3:50: source.login.username: kubeconfigContext brings its own user; leave this out",
    ),
    (
        "user-with-an-authfile",
        VA + "source: {login: {authfile: a.json, username: ann}}\n",
        "3:46: source.login.username: authfile brings its own user; leave this out",
    ),
    (
        "command-with-an-open-quote",
        VA + "source: {login: {command: 'sh -c \"hush'}}\n",
        "3:27: source.login.command: cannot be split like a shell does (no closing quotation): correct the"
        " quotes, or write a list",
    ),
    (
        "command-empty",
        VA + "source: {login: {command: []}}\n",
        "3:27: source.login.command: this is empty: write what belongs here, or leave the key out",
    ),
    (
        "command-as-mapping",
        VA + "source: {login: {command: {oc: whoami}}}\n",
        "3:27: source.login.command: text or a list is needed here, and a mapping (key: value) was found",
    ),
    (
        "secret-as-token-env",
        VA + "source: {login: {tokenEnv: sha256~hush-hush}}\n",
        f"3:28: source.login.tokenEnv: {NAME_OF_ENV}",
    ),
    (
        "secret-as-password-env",
        VA + "source: {login: {username: ann, passwordEnv: hush hush}}\n",
        f"3:46: source.login.passwordEnv: {NAME_OF_ENV}",
    ),
    (
        "number-as-password-env",
        VA + "source: {login: {username: ann, passwordEnv: 123456}}\n",
        f"3:46: source.login.passwordEnv: {NAME_OF_ENV}",
    ),
    (
        "number-as-user",
        VA + "source: {login: {username: 123456, passwordEnv: P}}\n",
        "3:28: source.login.username: this is a number to YAML, and text is needed: put it in quotes",
    ),
    (
        "secret-as-token",
        VA + "source: {login: {token: sha256~hush}}\n",
        f"3:17: source.login: one of {WAYS} is needed\n"
        "3:18: unknown key `token` in source.login: did you mean `tokenEnv`? allowed here are kubeconfigContext,"
        " tokenEnv, tokenFile, username, passwordEnv, passwordFile, authfile, command",
    ),
    ("api-empty", VA + "target: {api: {}}\n", "3:15: target.api: one of kubeconfigContext, server is needed"),
    (
        "api-of-two-ways",
        VA + "target: {api: {kubeconfigContext: c, server: 'https://a.b:6443'}}\n",
        "3:15: target.api: kubeconfigContext and server do not go together: keep one of them",
    ),
    (
        "api-not-an-address",
        VA + "target: {api: {server: 'api.2.rahti.csc.fi:6443'}}\n",
        "3:24: target.api.server: 'api.2.rahti.csc.fi:6443' is not an API address such as"
        " https://api.2.rahti.csc.fi:6443",
    ),
    (
        "api-with-a-path",
        VA + "target: {api: {server: 'https://a.b/console'}}\n",
        "3:24: target.api.server: 'https://a.b/console' is not an API address such as https://api.2.rahti.csc.fi:6443",
    ),
    (
        "api-with-a-login",
        VA + "target: {api: {server: 'https://ann:hush@a.b'}}\n",
        "3:24: target.api.server: an API address holds no login: write https://host:port, and say tokenEnv or"
        " tokenFile beside it",
    ),
    (
        "api-with-two-tokens",
        VA + "target: {api: {server: 'https://a.b', tokenEnv: A, tokenFile: b}}\n",
        "3:63: target.api: tokenEnv and tokenFile do not go together: keep one of them",
    ),
    (
        "api-token-beside-a-context",
        VA + "target: {api: {kubeconfigContext: c, tokenEnv: A}}\n",
        "3:48: target.api.tokenEnv: kubeconfigContext brings its own token; leave this out",
    ),
    (
        "api-secret-as-token-env",
        VA + "target: {api: {server: 'https://a.b', tokenEnv: hush~hush}}\n",
        f"3:49: target.api.tokenEnv: {NAME_OF_ENV}",
    ),
    # access
    (
        "access-as-text",
        V + "access: [my-app]\n",
        "2:10: access[0]: a mapping (key: value) is needed here, and the text 'my-app' was found",
    ),
    ("access-empty", V + "access: []\n", "2:9: access: this is empty: write what belongs here, or leave the key out"),
    (
        "access-without-project",
        V + "access: [{allow: [anonymous]}]\n",
        "2:10: `project` is missing in access[0]: the target project",
    ),
    (
        "access-for-nobody",
        V + "access: [{project: p}]\n",
        "2:10: access[0]: nobody is named: `allow: [...]` or `carryOver: true` is needed",
    ),
    (
        "access-carries-nothing",
        V + "access: [{project: p, carryOver: false}]\n",
        "2:10: access[0]: nobody is named: `allow: [...]` or `carryOver: true` is needed",
    ),
    (
        "access-bad-project",
        V + "access: [{project: P, carryOver: true}]\n",
        f"2:20: access[0].project: 'P' {PROJECT_RULE}",
    ),
    (
        "allow-as-text",
        V + "access: [{project: p, allow: anonymous}]\n",
        "2:30: access[0].allow: a list is needed here, and the text 'anonymous' was found",
    ),
    (
        "allow-empty",
        V + "access: [{project: p, allow: []}]\n",
        "2:30: access[0].allow: this is empty: write what belongs here, or leave the key out",
    ),
    (
        "allow-unknown",
        V + "access: [{project: p, allow: [anonymous, everyone]}]\n",
        "2:42: access[0].allow[1]: 'everyone' is nobody: write anonymous, unauthenticated, authenticated,"
        " project:P, user:U, group:G or serviceaccount:P/S",
    ),
    (
        "allow-without-quotes",
        V + "access: [{project: p, allow: [user: ann]}]\n",
        "2:31: access[0].allow[0]: text is needed here, and a mapping (key: value) was found",
    ),
    (
        "allow-user-without-name",
        V + "access: [{project: p, allow: ['user:']}]\n",
        "2:31: access[0].allow[0]: 'user:' is nobody: write anonymous, unauthenticated, authenticated,"
        " project:P, user:U, group:G or serviceaccount:P/S",
    ),
    (
        "allow-bad-project",
        V + "access: [{project: p, allow: ['project:q/r']}]\n",
        "2:31: access[0].allow[0]: 'project:q/r' is nobody: write project:P, with the name of a target project",
    ),
    (
        "allow-bad-service-account",
        V + "access: [{project: p, allow: ['serviceaccount:default']}]\n",
        "2:31: access[0].allow[0]: 'serviceaccount:default' is nobody: write serviceaccount:PROJECT/NAME",
    ),
    (
        "role-with-images",
        V + "access: [{project: p, allow: [anonymous], images: [web], role: view}]\n",
        "2:64: access[0].role: with `images` a narrow role is made; leave `role` out",
    ),
    (
        "image-stream-with-project",
        V + "access: [{project: p, allow: [anonymous], images: [p/web]}]\n",
        "2:52: access[0].images[0]: 'p/web' is not an image stream's name: write it without project and tag,"
        " such as web",
    ),
    (
        "image-stream-with-tag",
        V + "access: [{project: p, allow: [anonymous], images: ['web:1']}]\n",
        "2:52: access[0].images[0]: 'web:1' is not an image stream's name: write it without project and tag,"
        " such as web",
    ),
    (
        "proof-for-nobody",
        V + "access: [{project: p, allow: [anonymous], proveWith: {ann: {tokenEnv: A}}}]\n",
        "2:60: access[0].proveWith: 'ann' is nobody: write anonymous, unauthenticated, authenticated,"
        " project:P, user:U, group:G or serviceaccount:P/S",
    ),
    (
        "proof-without-token",
        V + "access: [{project: p, allow: ['user:ann'], proveWith: {'user:ann': {}}}]\n",
        "2:68: access[0].proveWith.user:ann: say where the token is: tokenEnv or tokenFile, one of the two",
    ),
    (
        "proof-with-two-tokens",
        V + "access: [{project: p, allow: ['user:ann'], proveWith: {'user:ann': {tokenEnv: A, tokenFile: b}}}]\n",
        "2:68: access[0].proveWith.user:ann: say where the token is: tokenEnv or tokenFile, one of the two",
    ),
    (
        "proof-is-the-secret",
        V + "access: [{project: p, allow: ['user:ann'], proveWith: {'user:ann': hush}}]\n",
        "2:68: access[0].proveWith.user:ann: a mapping (key: value) is needed here, and a plain value was found",
    ),
    # workloads
    (
        "workloads-as-mapping",
        V + "workloads: {from: a, to: b, project: p}\n",
        "2:12: workloads: a list is needed here, and a mapping (key: value) was found",
    ),
    (
        "workload-without-anything",
        V + "workloads: [{}]\n",
        "2:13: `from` is missing in workloads[0]: a file, a folder, or {cluster: source, project: P}\n"
        "2:13: `project` is missing in workloads[0]: the target project\n"
        "2:13: `to` is missing in workloads[0]: the folder for the rewritten files",
    ),
    (
        "workload-over-its-input",
        V + "workloads: [{from: exports/a, to: ./exports/, project: p}]\n",
        "2:35: workloads[0].to: './exports/' holds the input; choose another folder",
    ),
    (
        "workloads-in-one-folder",
        V + "workloads: [{from: a, to: out, project: p}, {from: b, to: out/, project: p}]\n",
        "2:59: workloads[1].to: workloads[0] writes there already; choose another folder",
    ),
    (
        "workload-from-the-target",
        V + "workloads: [{from: {cluster: target, project: p}, to: b, project: p}]\n",
        "2:30: workloads[0].from.cluster: 'target' is not right here: write source",
    ),
    (
        "workload-from-no-cluster",
        V + "workloads: [{from: {project: p}, to: b, project: p}]\n",
        "2:20: `cluster` is missing in workloads[0].from: write source, the one cluster that workloads are read from",
    ),
    (
        "workload-from-a-list",
        V + "workloads: [{from: [a], to: b, project: p}]\n",
        "2:20: workloads[0].from: text or a mapping (key: value) is needed here, and a list was found",
    ),
    (
        "workload-option-not-among",
        V + "workloads: [{from: a, to: b, project: p, options: {hooks: drop}}]\n",
        "2:59: workloads[0].options.hooks: 'drop' is not right here: write ask, initContainer or job",
    ),
    (
        "workload-option-as-text",
        V + "workloads: [{from: a, to: b, project: p, options: {dataCopied: 'no'}}]\n",
        "2:64: workloads[0].options.dataCopied: true or false is needed here, and the text 'no' was found",
    ),
    # numbers with units
    (
        "size-unknown-unit",
        VA + "transfer: {linkMaxMissing: 16 potatoes}\n",
        "3:28: transfer.linkMaxMissing: '16 potatoes' is not a size such as 16MiB or 5GB",
    ),
    (
        "size-negative",
        VA + "transfer: {linkMaxMissing: -1}\n",
        "3:28: transfer.linkMaxMissing: '-1' is not a size such as 16MiB or 5GB",
    ),
    (
        "size-with-a-point",
        VA + "transfer: {linkMaxMissing: 1.5}\n",
        "3:28: transfer.linkMaxMissing: a size such as 16MiB or 5GB is needed here, and 1.5 was found",
    ),
    (
        "size-as-truth",
        VA + "platform: {target: {limits: {imageSize: true}}}\n",
        "3:41: platform.target.limits.imageSize: a size such as 16MiB or 5GB is needed here, and true was found",
    ),
    (
        "size-empty",
        VA + "platform: {target: {limits: {imageSize: ''}}}\n",
        "3:41: platform.target.limits.imageSize: '' is not a size such as 16MiB or 5GB",
    ),
    (
        "size-astronomic",
        VA + "transfer: {linkMaxMissing: " + "9" * 400 + "GB}\n",
        "3:28: transfer.linkMaxMissing:"
        " '99999999999999999999999999999999999999999999999...9999999999999999999999999999999999999999999999GB'"
        " is not a size such as 16MiB or 5GB",
    ),
    (
        "duration-without-unit",
        VA + "transfer: {copyTimeout: 2}\n",
        "3:25: transfer.copyTimeout: a duration such as 90s, 10m or 2h is needed here, and 2 was found",
    ),
    (
        "duration-in-words",
        VA + "transfer: {copyTimeout: 2 hours}\n",
        "3:25: transfer.copyTimeout: '2 hours' is not a duration such as 90s, 10m or 2h",
    ),
    (
        "duration-empty",
        VA + "transfer: {copyTimeout: }\n",
        "3:25: transfer.copyTimeout: this is empty: a duration such as 90s, 10m or 2h is needed, or leave the key out",
    ),
    (
        "duration-zero",
        VA + "transfer: {copyTimeout: 0s}\n",
        "3:25: transfer.copyTimeout: '0s' is no time at all: write a duration such as 90s, 10m or 2h",
    ),
    (
        "duration-endless",
        VA + "transfer: {copyTimeout: 1000d}\n",
        "3:25: transfer.copyTimeout: '1000d' is longer than a year: write a shorter time, such as 90s, 10m or 2h",
    ),
    (
        "quantity-as-number",
        VA + "platform: {target: {limits: {maxCpu: 2}}}\n",
        "3:38: platform.target.limits.maxCpu: 2 is a number to YAML, and text is needed: put it in quotes, '2'",
    ),
    (
        "count-too-small",
        VA + "platform: {target: {limits: {pods: 0}}}\n",
        "3:36: platform.target.limits.pods: 0 is out of range: it must be at least 1",
    ),
    (
        "old-registry-bad",
        VA + "platform: {source: {registries: [quay.io, 'a b']}}\n",
        f"3:43: platform.source.registries[1]: 'a b' {HOST_RULE}",
    ),
    # many at once
    (
        "all-at-once",
        "projects: {A: b}\nimages: [a/B, {from: 'a/b:1', tags: {}, format: tar}]\n"
        "access: [{project: p, allow: [all]}]\n"
        "source: {login: {tokenEnv: a-b}, regsitry: x.y}\n"
        "transfer: {jobs: 0, copyTimeout: 5}\nsource: {}\n",
        "1:1: `version` is missing: a manifest begins with `version: 1`\n"
        "1:12: projects.A: 'A' is not the name of a source project: lower-case letters, digits and -\n"
        "2:10: images[0]: 'a/B' has capital letters: names of images are lower case\n"
        "2:37: images[1].tags: `from` names one image, and `tags` chooses among many: leave one of the two out\n"
        "2:49: images[1].format: 'tar' is not right here: write oci, docker or keep\n"
        "3:31: access[0].allow[0]: 'all' is nobody: write anonymous, unauthenticated, authenticated,"
        " project:P, user:U, group:G or serviceaccount:P/S\n"
        f"4:28: source.login.tokenEnv: {NAME_OF_ENV}\n"
        "4:34: unknown key `regsitry` in source: did you mean `registry`? allowed here are registry, login,"
        " plainHttp, caFile, insecureSkipTlsVerify, api\n"
        "5:18: transfer.jobs: 0 is out of range: it must be at least 1\n"
        "5:34: transfer.copyTimeout: a duration such as 90s, 10m or 2h is needed here, and 5 was found\n"
        "6:1: `source` stands here a second time (first in line 4): keep one",
    ),
]


def problems(raw: bytes) -> str:
    with pytest.raises(ManifestError) as caught:
        parse_manifest(raw, Path("m.yaml"))
    return str(caught.value)


@pytest.mark.parametrize(("text", "lines"), [pytest.param(text, lines, id=name) for name, text, lines in CASES])
def test_a_wrong_manifest_is_told_what_is_wrong_and_what_would_be_right(text: str | bytes, lines: str) -> None:
    raw = text if isinstance(text, bytes) else text.encode()
    assert problems(raw) == "\n".join(f"m.yaml:{line}" for line in lines.split("\n"))


@pytest.mark.parametrize("sign", ["[", "{"])
@pytest.mark.parametrize("close", ["", "]" * 10_000])
def test_brackets_without_end_are_refused_wherever_the_reader_stops(sign: str, close: str) -> None:
    assert problems((sign * 10_000 + close).encode()).endswith(TOO_DEEP)


def test_every_case_has_its_own_name() -> None:
    assert len({name for name, _, _ in CASES}) == len(CASES)


def test_a_wrong_manifest_ends_as_wrong_usage() -> None:
    with pytest.raises(ManifestError) as caught:
        parse_manifest(b"", Path("m.yaml"))
    assert caught.value.exit_code is ExitCode.USAGE


def test_errors_are_sorted_as_numbers_and_said_once() -> None:
    body = "".join(f"x{n}: 1\n" for n in range(12))
    found = problems(f"{VA}{body}".encode()).split("\n")
    assert [int(line.split(":")[1]) for line in found] == list(range(3, 15))


def test_of_very_many_errors_the_first_fifty_are_shown_and_the_rest_counted() -> None:
    body = "".join(f"  - A{n}\n" for n in range(63))
    found = problems(f"{V}images:\n{body}".encode()).split("\n")
    assert found[49] == "m.yaml:52:5: images[49]: 'A49' has capital letters: names of images are lower case"
    assert found[50:] == ["m.yaml: and 13 more"]


def test_a_column_counts_characters_not_bytes() -> None:
    assert problems("version: 1\nimages: [ä/b]\n".encode()).startswith("m.yaml:2:10: images[0]: 'ä/b' is not")
    assert problems("version: 1\nimages: ['ä', [b]]\n".encode()).splitlines()[1].startswith("m.yaml:2:15: images[1]")


def test_a_byte_order_mark_and_line_ends_of_windows_move_nothing() -> None:
    assert problems(b"\xef\xbb\xbfversion: 2\r\nimages: [A]\r\n").splitlines() == [
        "m.yaml:1:10: version: the number 1 is needed here, and 2 was found",
        "m.yaml:2:10: images[0]: 'A' has capital letters: names of images are lower case",
    ]


@pytest.mark.parametrize("secret", ["sha256~hush", "hush hush", "20241231", "1.5e3", "0x1F", "[hush]", "{hush: hush}"])
@pytest.mark.parametrize(
    "place",
    [
        "source: {login: %s}",
        "source: {login: {token: %s}}",
        "source: {login: {tokenEnv: %s}}",
        "source: {login: {passwordEnv: %s, username: 5}}",
        "source: {login: {password: %s, command: {}}}",
        "target: {api: %s}",
        "target: {api: {tokenEnv: %s, server: 5}}",
        "access: [{project: p, allow: ['user:ann'], proveWith: {'user:ann': %s}}]",
        "access: [{project: p, allow: ['user:ann'], proveWith: {'user:ann': {tokenEnv: %s}}}]",
    ],
)
def test_what_may_be_a_secret_is_never_repeated(place: str, secret: str) -> None:
    words = problems(f"{VA}{place % secret}\n".encode()).replace("`hush`", "")
    assert secret not in words
    assert "hush" not in words


def test_a_file_that_is_not_there_is_said_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    with pytest.raises(UsageError) as caught:
        load_manifest(path)
    assert str(caught.value) == (
        f"{path}: cannot be read: No such file or directory\n"
        "  -> name an existing manifest, or write one with rahti-migrate init"
    )


def test_a_folder_is_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        load_manifest(tmp_path)
    assert str(caught.value) == f"{tmp_path}: cannot be read: Is a directory\n  -> name the manifest file in it"


def test_errors_of_a_file_begin_with_its_path(tmp_path: Path) -> None:
    path = tmp_path / "sub dir" / "m.yaml"
    path.parent.mkdir()
    path.write_text("version: 2\nimages: [a]\n")
    with pytest.raises(ManifestError) as caught:
        load_manifest(path)
    assert str(caught.value) == f"{path}:1:10: version: the number 1 is needed here, and 2 was found"


def test_a_huge_file_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    with path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(ManifestError) as caught:
        load_manifest(path)
    assert str(caught.value) == f"{path}:1:1: the file is larger than 20 MiB: this is no manifest"


def only_words_come_out(raw: bytes) -> None:
    """Whatever goes in, a manifest or a ManifestError with good lines comes out."""
    try:
        parse_manifest(raw, Path("m.yaml"))
    except ManifestError as error:
        assert error.problems == sorted(error.problems)
        for problem in error.problems:
            assert min(problem.line, problem.column) >= 1
            assert problem.message.isprintable()
            assert len(problem.message) < 2500
            assert "Input should" not in problem.message


SIGNS = ["[", "]", "{", "}", ": ", ":", ", ", "- ", "? ", "*", "&", "!", "!!", "|", ">", "'", '"', "%", "@", "`", "#"]
BREAKS = ["\n", "\n  ", "\n    ", "\r\n", "\t", " ", "---\n", "...\n", "\\", "\u2028", "\ufeff", "\x85", "<<: "]
WORDS = [
    "a",
    "a/b",
    "a/b:1",
    "x.y/a@sha256:0",
    "é",
    "😀",
    "~",
    "null",
    "yes",
    "1",
    "1.10",
    "-5",
    ".inf",
    "1e400",
    "0x1",
]
PARTS = (manifest_schema(), *manifest_schema()["$defs"].values())
KNOWN = sorted({key for part in PARTS for key in part.get("properties", {})})
TOKENS = st.sampled_from(SIGNS + BREAKS + WORDS + KNOWN + [f"{key}: " for key in KNOWN])


DAMAGES = st.tuples(st.integers(0, len(EXAMPLE)), st.integers(0, 12), TOKENS | st.just(""))
"""Where, how many characters are taken out, and what is put there instead."""


@given(st.binary(max_size=200))
@example(b"\x00")
@example(b"\xff")
@example(b"version: 1\nimages: [\xf0\x9f]")
def test_no_bytes_make_it_fail_otherwise(raw: bytes) -> None:
    only_words_come_out(raw)


@settings(max_examples=250)
@given(st.sampled_from(["", V, VA]), st.lists(TOKENS, max_size=30).map("".join) | st.text(max_size=60))
def test_no_text_like_yaml_makes_it_fail_otherwise(head: str, text: str) -> None:
    only_words_come_out(f"{head}{text}".encode("utf-8", "surrogatepass"))


@settings(max_examples=200)
@given(st.lists(DAMAGES, min_size=1, max_size=3))
def test_no_damage_to_a_good_manifest_makes_it_fail_otherwise(damages: list[tuple[int, int, str]]) -> None:
    text = EXAMPLE
    for place, length, instead in damages:
        text = text[:place] + instead + text[place + length :]
    only_words_come_out(text.encode())


LEAVES = st.sampled_from([None, True, False, 0, 1, -1, 2**70, 1.5, "", "all", "auto", "anonymous", "2h", "1GB", *WORDS])
NAMES = st.sampled_from([*KNOWN, "a", "user:x"])
VALUES = st.recursive(
    LEAVES | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=250)
@given(st.dictionaries(st.sampled_from(list(manifest_schema()["properties"])), VALUES, max_size=5))
def test_no_values_of_the_wrong_type_make_it_fail_otherwise(data: dict[str, Any]) -> None:
    only_words_come_out(json.dumps({"version": 1, **data}, ensure_ascii=False).encode())


GOOD: Any = yaml.safe_load(EXAMPLE)


def places(value: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where every value of some data stands, but the whole."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in items:
        yield (*at, step)
        yield from places(inner, (*at, step))


@settings(max_examples=250)
@given(st.sampled_from(list(places(GOOD))), VALUES)
def test_no_wrong_value_in_a_good_manifest_makes_it_fail_otherwise(place: tuple[str | int, ...], value: Any) -> None:
    data = inner = copy.deepcopy(GOOD)
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    only_words_come_out(json.dumps(data, ensure_ascii=False).encode())
