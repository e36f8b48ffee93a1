"""Image references: what is read is what was written, and what is wrong is said."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from migrate.reference import (
    InvalidReference,
    Reference,
    Repository,
    canonical_host,
    parse_reference,
    valid_digest,
    valid_host,
    valid_path,
    valid_tag,
)

DEFAULT = "registry.example.org"
SHA256 = "sha256:" + "0123456789abcdef" * 4
SHA512 = "sha512:" + "0123456789abcdef" * 8

COMPONENTS = st.from_regex(r"[a-z0-9]{1,8}((\.|_|__|-{1,3})[a-z0-9]{1,5}){0,2}", fullmatch=True)
PATHS = st.lists(COMPONENTS, min_size=1, max_size=4).map("/".join)
TAGS = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)
DIGESTS = st.one_of(
    st.from_regex(r"sha256:[0-9a-f]{64}", fullmatch=True), st.from_regex(r"sha512:[0-9a-f]{128}", fullmatch=True)
)
HOSTS = st.one_of(
    st.from_regex(r"[a-z0-9]{1,8}(\.[a-z0-9]{1,5}){1,3}(:[1-9][0-9]{0,3})?", fullmatch=True),
    st.from_regex(r"localhost(:[1-9][0-9]{0,3})?", fullmatch=True),
    st.from_regex(r"\[[0-9a-f:]{2,10}\]:[1-9][0-9]{0,3}", fullmatch=True),
)
REFERENCES = st.builds(
    Reference, st.builds(Repository, HOSTS, PATHS), st.one_of(st.just(""), TAGS), st.one_of(st.just(""), DIGESTS)
)


@pytest.mark.parametrize(
    ("text", "registry", "path", "tag", "digest"),
    [
        ("my-app", DEFAULT, "my-app", "", ""),
        ("my-app/web", DEFAULT, "my-app/web", "", ""),
        ("my-app/web:1.4", DEFAULT, "my-app/web", "1.4", ""),
        ("my-app:1.4", DEFAULT, "my-app", "1.4", ""),
        (f"my-app/web@{SHA256}", DEFAULT, "my-app/web", "", SHA256),
        (f"my-app/web@{SHA512}", DEFAULT, "my-app/web", "", SHA512),
        (f"my-app/web:1.4@{SHA256}", DEFAULT, "my-app/web", "1.4", SHA256),
        ("a/b/c/d:x", DEFAULT, "a/b/c/d", "x", ""),
        ("a__b/c---d:X_1.-", DEFAULT, "a__b/c---d", "X_1.-", ""),
        ("quay.io/a/b:1", "quay.io", "a/b", "1", ""),
        ("quay.io/a", "quay.io", "a", "", ""),
        ("Quay.IO/a", "quay.io", "a", "", ""),
        ("localhost/a", "localhost", "a", "", ""),
        ("localhost:5000/a:1", "localhost:5000", "a", "1", ""),
        ("registry:5000/a", "registry:5000", "a", "", ""),
        ("10.0.0.1:65535/a", "10.0.0.1:65535", "a", "", ""),
        ("[::1]:5000/a:1", "[::1]:5000", "a", "1", ""),
        ("quay.io", DEFAULT, "quay.io", "", ""),
        ("localhost:5000", DEFAULT, "localhost", "5000", ""),
        ("docker.io/centos:7", "docker.io", "library/centos", "7", ""),
        ("docker.io/library/centos:7", "docker.io", "library/centos", "7", ""),
        ("index.docker.io/centos", "docker.io", "library/centos", "", ""),
        ("registry-1.docker.io/a/b", "docker.io", "a/b", "", ""),
        ("registry.hub.docker.com/a/b", "docker.io", "a/b", "", ""),
        ("a" * 255, DEFAULT, "a" * 255, "", ""),
        ("a:" + "x" * 128, DEFAULT, "a", "x" * 128, ""),
    ],
)
def test_good_references_are_read(text: str, registry: str, path: str, tag: str, digest: str) -> None:
    assert parse_reference(text, DEFAULT) == Reference(Repository(registry, path), tag, digest)


def test_short_names_of_docker_hub_are_read_where_it_is_the_default() -> None:
    assert str(parse_reference("centos:7", "index.docker.io")) == "docker.io/library/centos:7"


NAME_RULE = "is not an image name: lower-case letters and digits, joined by . _ - and divided by /"
TAG_RULE = "is not a tag: up to 128 of A-Z a-z 0-9 _ . - are allowed, not . or - first"
SHA256_RULE = "is not a digest: sha256: and 64 characters of 0-9a-f are needed"
HOST_RULE = "is not a registry host such as registry.example.org or localhost:5000"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the name of the image is missing: [registry/]<project>/<name> is needed"),
        ("quay.io/", "the name of the image is missing: [registry/]<project>/<name> is needed"),
        (":1", "the name of the image is missing: [registry/]<project>/<name> is needed"),
        ("my-app/Web", "'my-app/Web' has capital letters: names of images are lower case"),
        ("a//b", f"'a//b' {NAME_RULE}"),
        ("/a", f"'/a' {NAME_RULE}"),
        ("a/", f"'a/' {NAME_RULE}"),
        ("a b", f"'a b' {NAME_RULE}"),
        ("a_-b", f"'a_-b' {NAME_RULE}"),
        ("a/*", f"'a/*' {NAME_RULE}"),
        ("a\n", f"'a\\n' {NAME_RULE}"),
        ("ä", f"'ä' {NAME_RULE}"),
        ("a" * 256, f"'{'a' * 47}...{'a' * 48}' is longer than 255 characters, the most that a name may have"),
        ("a:", f"'' {TAG_RULE}"),
        ("a:-x", f"'-x' {TAG_RULE}"),
        ("a:.x", f"'.x' {TAG_RULE}"),
        ("a:1.*", f"'1.*' {TAG_RULE}"),
        ("a:b:c", f"'b:c' {TAG_RULE}"),
        ("a:" + "x" * 129, f"'{'x' * 47}...{'x' * 48}' {TAG_RULE}"),
        (f"a:{SHA256}", f"'{SHA256}' is a digest, not a tag: write @ before it"),
        ("a@", f"'' {SHA256_RULE}"),
        ("a@sha256:12", f"'sha256:12' {SHA256_RULE}"),
        ("a@md5:12", f"'md5:12' {SHA256_RULE}"),
        (f"a@{SHA256.upper()}", f"'{SHA256.upper()}' {SHA256_RULE}"),
        ("a@sha512:12", "'sha512:12' is not a digest: sha512: and 128 characters of 0-9a-f are needed"),
        ("quay.io:port/a", f"'quay.io:port' {HOST_RULE}"),
        ("quay.io:65536/a", f"'quay.io:65536' {HOST_RULE}"),
        (".io/a", f"'.io' {HOST_RULE}"),
        ("docker://quay.io/a", "'docker://quay.io/a' is a URL: write it without 'docker://'"),
        ("https://quay.io/a", "'https://quay.io/a' is a URL: write it without 'https://'"),
    ],
)
def test_the_wrong_part_of_a_reference_is_named(text: str, words: str) -> None:
    with pytest.raises(InvalidReference) as caught:
        parse_reference(text, DEFAULT)
    assert str(caught.value) == words


@given(REFERENCES)
def test_what_is_printed_is_read_back(reference: Reference) -> None:
    assert parse_reference(str(reference), DEFAULT) == reference


@given(HOSTS, PATHS, TAGS)
def test_a_name_without_a_host_belongs_to_the_default_registry(host: str, path: str, tag: str) -> None:
    path = f"project/{path}"
    assert parse_reference(f"{path}:{tag}", host) == parse_reference(f"{host}/{path}:{tag}", DEFAULT)


@given(st.one_of(st.text(), st.text(alphabet="aA0.:/@-_[]* \n", max_size=40)), st.one_of(HOSTS, st.text(max_size=5)))
@example("a@" + SHA256 + "@" + SHA256, DEFAULT)
@example("٣:٣/٣", DEFAULT)
@example("a" * 100_000, DEFAULT)
@example("a.b:" + "9" * 100_000 + "/c", DEFAULT)
def test_garbage_is_refused_and_never_anything_else(text: str, registry: str) -> None:
    try:
        reference = parse_reference(text, registry)
    except InvalidReference as error:
        assert len(str(error)) < 500
    else:
        assert parse_reference(str(reference), DEFAULT) == reference


@given(REFERENCES)
def test_every_part_of_what_was_read_is_valid(reference: Reference) -> None:
    assert valid_host(reference.repository.registry)
    assert valid_path(reference.repository.path)
    assert not reference.tag or valid_tag(reference.tag)
    assert not reference.digest or valid_digest(reference.digest)


@pytest.mark.parametrize("text", ["registry", "", "a b.c", "-a.b", "a.b:", "a.b:x", "a.b/c", "http://a.b", "a.b:70000"])
def test_what_no_name_can_begin_with_is_no_host(text: str) -> None:
    assert not valid_host(text)


def test_hosts_are_equal_whatever_their_case() -> None:
    assert canonical_host("Registry.Example.Org:5000") == "registry.example.org:5000"
    assert canonical_host("Index.Docker.IO") == "docker.io"


def test_a_reference_says_what_the_registry_is_asked_for() -> None:
    repository = Repository("quay.io", "my-app/web")
    assert repository.project == "my-app"
    assert repository.tagged("1").identifier == "1"
    assert repository.at(SHA256).identifier == SHA256
    assert repository.tagged("1").with_digest(SHA256).identifier == SHA256


def test_the_short_form_is_what_a_person_calls_it() -> None:
    repository = Repository("quay.io", "my-app/web")
    assert repository.tagged("1").short == "my-app/web:1"
    assert repository.tagged("1").with_digest(SHA256).short == "my-app/web:1@sha256:0123456789ab"
    assert repository.at(SHA256).short == "my-app/web@sha256:0123456789ab"


def test_references_sort_by_registry_path_and_tag() -> None:
    texts = ["b.c/a:1", "a.b/b:1", "a.b/a:2", "a.b/a:1"]
    assert [str(r) for r in sorted(parse_reference(t, DEFAULT) for t in texts)] == texts[::-1]
