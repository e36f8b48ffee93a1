"""skopeo: which one is installed, what it is told, and that no run of it hangs, leaks or outlives us."""

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from registrylab.client import LabClient, missing_from
from registrylab.images import OCI_MANIFEST, make_image, make_layer
from registrylab.proxy import slow_link
from registrylab.registry import PASSWORD, USER, LabRegistry, free_port, registry

from migrate.images.failures import Failure, FailureClass
from migrate.images.skopeo import (
    Access,
    Skopeo,
    SkopeoMissingError,
    Watch,
    carry_arguments,
    child_environment,
    convert_arguments,
    probe,
    run,
)
from migrate.reference import Reference, Repository

DIGEST = f"sha256:{'1' * 64}"
SOURCE = Repository("docker-registry.rahti.csc.fi", "shop/web")
TARGET = Repository("image-registry.apps.2.rahti.csc.fi", "shop-2/web")
FLAGS = frozenset({"--quiet", "--remove-signatures", "--format", "--all"})


def fake(folder: Path, script: str, name: str = "skopeo") -> Path:
    """A program of that name that is a shell script."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def begun(folder: Path) -> int:
    """The pid that a fake wrote into `folder`; 0 as long as it did not."""
    file = folder / "pid"
    return int(file.read_text() or 0) if file.exists() else 0


def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether a process runs still; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


# --- which skopeo -----------------------------------------------------------------------------------------------


def test_the_installed_skopeo_is_known_with_its_flags() -> None:
    found = probe()
    said = subprocess.run(["skopeo", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    assert f"skopeo version {found.version}" == said
    assert found.program == shutil.which("skopeo")
    assert {"--src-authfile", "--dest-authfile", "--format", "--all", "--dest-tls-verify"} <= found.flags
    assert found.can_die_with_parent


def test_a_missing_skopeo_is_said_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SkopeoMissingError, match=r"skopeo is not installed \(not on PATH\)") as caught:
        probe()
    assert "apt-get install skopeo" in caught.value.advice


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo hello", "is no skopeo that can be used (hello)"),
        (r"printf '\377\033[31m'", "is no skopeo that can be used (\ufffd [31m)"),
        ("exit 3", "does not run: it ended with 3: no words"),
        ("echo 'libgpgme.so.11: cannot open' >&2; exit 127", "it ended with 127: libgpgme.so.11: cannot open"),
        ("kill -SEGV $$", "does not run: it ended with -11"),
        ("exec sleep 60", "does not run: no answer within 0.3 s"),
    ],
)
def test_a_program_that_is_not_skopeo_is_not_taken_for_one(tmp_path: Path, script: str, words: str) -> None:
    program = fake(tmp_path, script)
    with pytest.raises(SkopeoMissingError) as caught:
        probe(str(program), patience=0.3)
    assert str(program) in caught.value.what
    assert words in caught.value.what
    assert caught.value.advice


def test_a_setpriv_that_cannot_set_the_signal_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake(tmp_path, "echo 'busybox: setpriv [OPTIONS] PROG' >&2; exit 1", "setpriv")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert not probe().can_die_with_parent


# --- what it is told --------------------------------------------------------------------------------------------


def test_carrying_names_both_sides_by_digest_and_converts_nothing() -> None:
    sides = Access(Path("/p/src.json")), Access(Path("/p/dest.json"))
    skopeo = Skopeo("/usr/bin/skopeo", "1.9.3", FLAGS)
    assert carry_arguments(skopeo, SOURCE.at(DIGEST), TARGET.at(DIGEST), *sides, 7200) == (
        "/usr/bin/skopeo", "--command-timeout", "7200s", "copy", "--quiet", "--remove-signatures",
        "--src-authfile", "/p/src.json", "--dest-authfile", "/p/dest.json",
        f"docker://docker-registry.rahti.csc.fi/shop/web@{DIGEST}",
        f"docker://image-registry.apps.2.rahti.csc.fi/shop-2/web@{DIGEST}",
    )  # fmt: skip


def test_certificates_and_registries_without_tls_are_told_side_by_side() -> None:
    sides = Access(Path("/p/s.json"), Path("/p/ca")), Access(Path("/p/d.json"), verify_tls=False)
    skopeo = Skopeo("skopeo", "1.18.0", FLAGS, has_policy=False)
    assert carry_arguments(skopeo, SOURCE.at(DIGEST), TARGET.at(DIGEST), *sides, 0.6) == (
        "skopeo", "--insecure-policy", "--command-timeout", "1s", "copy", "--quiet", "--remove-signatures",
        "--src-authfile", "/p/s.json", "--src-cert-dir", "/p/ca",
        "--dest-authfile", "/p/d.json", "--dest-tls-verify=false",
        f"docker://{SOURCE}@{DIGEST}", f"docker://{TARGET}@{DIGEST}",
    )  # fmt: skip


def test_a_side_without_a_login_is_asked_anonymously() -> None:
    skopeo = Skopeo("skopeo", "1.9.3", FLAGS)
    given = carry_arguments(skopeo, SOURCE.at(DIGEST), TARGET.at(DIGEST), Access(None), Access(None), 60)
    assert {"--src-no-creds", "--dest-no-creds"} <= set(given)
    assert not {"--src-authfile", "--dest-authfile"} & set(given)


@pytest.mark.parametrize(
    ("form", "whole", "said"),
    [
        ("oci", False, ("--format", "oci")),
        ("docker", False, ("--format", "v2s2")),
        ("keep", False, ()),
        ("oci", True, ("--all", "--format", "oci")),
    ],
)
def test_converting_always_says_the_format_and_puts_a_tag(form: str, whole: bool, said: tuple[str, ...]) -> None:
    sides = Access(Path("s")), Access(Path("d"))
    skopeo = Skopeo("skopeo", "1.9.3", FLAGS)
    given = convert_arguments(skopeo, SOURCE.at(DIGEST), TARGET.tagged("1.4"), *sides, 60, form, whole_index=whole)
    assert given == (
        "skopeo", "--command-timeout", "60s", "copy", "--quiet", "--remove-signatures", *said,
        "--src-authfile", "s", "--dest-authfile", "d", f"docker://{SOURCE}@{DIGEST}", f"docker://{TARGET}:1.4",
    )  # fmt: skip


def test_a_digest_wins_over_a_tag_because_skopeo_takes_one_of_them() -> None:
    both = Reference(SOURCE, "1.4", DIGEST)
    sides = Access(Path("s")), Access(Path("d"))
    assert carry_arguments(Skopeo("skopeo", "1", FLAGS), both, both, *sides, 1)[-1] == f"docker://{SOURCE}@{DIGEST}"


def test_no_secret_of_ours_reaches_skopeo_and_the_way_out_does() -> None:
    kept = {
        "PATH": "/bin", "HOME": "/root", "LANG": "C.UTF-8", "LC_ALL": "C", "TMPDIR": "/t", "XDG_RUNTIME_DIR": "/run/u",
        "HTTPS_PROXY": "http://p:3128", "https_proxy": "http://p:3128", "NO_PROXY": ".fi", "all_proxy": "socks5://p",
        "SSL_CERT_FILE": "/ca.pem", "SSL_CERT_DIR": "/ca", "CONTAINERS_REGISTRIES_CONF": "/r.conf",
    }  # fmt: skip
    secret = {
        "RAHTI_TOKEN": "s3cret", "AWS_SECRET_ACCESS_KEY": "s3cret", "REGISTRY_AUTH_FILE": "/a.json", "KUBECONFIG": "/k",
        "DOCKER_CONFIG": "/d", "MY_PATH": "s3cret", "HOME_TOKEN": "s3cret", "XDG_TOKEN": "s3cret", "USERPASSWORD": "x",
        "CONTAINERS_TOKEN": "s3cret", "LC_": "s3cret", "PROXY": "s3cret", "LC_TOKEN_2": "s3cret",
    }  # fmt: skip
    seen = child_environment({**kept, **secret, "XDG_DATA_HOME": "/home/x"}, Path("/private"))
    assert seen == {**kept, "XDG_DATA_HOME": "/private"}


# --- the real one -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Link:
    """Two real registries and an image in the first; `folder` holds the authfiles."""

    source: LabRegistry
    target: LabRegistry
    folder: Path
    digest: str

    def access(self, host: str, password: str = PASSWORD, *, verify_tls: bool = False) -> Access:
        file = self.folder / f"{host}-{password}.json"
        auth = base64.b64encode(f"{USER}:{password}".encode()).decode()
        file.write_text(json.dumps({"auths": {host: {"auth": auth}}}))
        return Access(file, verify_tls=verify_tls)

    def carry(
        self,
        watch: Watch | None = None,
        *,
        source: str = "",
        target: str = "",
        digest: str = "",
        password: str = PASSWORD,
        verify_tls: bool = False,
    ) -> Failure | None:
        """Carry the image, or what the arguments say instead."""
        watch, skopeo, digest = watch or Watch(), probe(), digest or self.digest
        origin = Repository(source or self.source.host, "a/b")
        goal = Repository(target or self.target.host, "c/d")
        sides = self.access(origin.registry, password, verify_tls=verify_tls), self.access(goal.registry)
        argv = carry_arguments(skopeo, origin.at(digest), goal.at(digest), *sides, watch.timeout)
        return run(skopeo, argv, child_environment(os.environ, self.folder), watch)


@pytest.fixture(scope="module")
def link(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Link]:
    with registry(password=True) as source, registry() as target, LabClient(source) as client:
        digest = client.push("a/b", make_image([make_layer("big", 3_000_000)]), "1")
        yield Link(source, target, tmp_path_factory.mktemp("link"), digest)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


def test_what_is_carried_arrives_and_bytes_are_told_on_the_way(link: Link) -> None:
    told: list[int] = []
    assert link.carry(Watch(on_bytes=told.append)) is None
    with LabClient(link.target) as client:
        stored = client.manifest("c/d", link.digest)
        assert stored
        assert stored.digest == link.digest
        assert missing_from(client, "c/d", link.digest) == []
    assert told == sorted(told)
    assert told


def test_what_is_converted_stands_under_its_tag(link: Link) -> None:
    skopeo, sides = probe(), (link.access(link.source.host), link.access(link.target.host))
    source, target = Repository(link.source.host, "a/b").at(link.digest), Repository(link.target.host, "e/f")
    argv = convert_arguments(skopeo, source, target.tagged("1"), *sides, 60, "oci")
    assert run(skopeo, argv, child_environment(os.environ, link.folder), Watch()) is None
    with LabClient(link.target) as client:
        stored = client.manifest("e/f", "1")
        assert stored
        assert stored.media_type == OCI_MANIFEST


def failed(result: Failure | None, kind: FailureClass, words: str) -> None:
    assert result
    assert (result.kind, words in result.words) == (kind, True), result


def test_a_wrong_password_is_named_and_not_repeated(link: Link) -> None:
    result = link.carry(password="s3cret-and-wrong")
    failed(result, FailureClass.DENIED, "authentication required")
    assert "s3cret" not in str(result)


def test_an_image_that_is_not_there_is_not_found(link: Link) -> None:
    failed(link.carry(digest=DIGEST), FailureClass.NOT_FOUND, "manifest unknown")


def test_nobody_at_the_address_is_a_failure_of_the_network(link: Link) -> None:
    failed(link.carry(source=f"127.0.0.1:{free_port()}"), FailureClass.NETWORK, "connection refused")


def test_a_registry_without_tls_is_a_matter_of_tls(link: Link) -> None:
    failed(link.carry(verify_tls=True), FailureClass.TLS, "server gave HTTP response to HTTPS client")


def stored_blob(lab: LabRegistry, digest: str) -> Path:
    hexadecimal = digest.partition(":")[2]
    return lab.storage / f"docker/registry/v2/blobs/sha256/{hexadecimal[:2]}/{hexadecimal}/data"


def pushed(link: Link, name: str, size: int = 1_000) -> tuple[str, Path]:
    """An image of its own at the source: its digest, and the file of its layer in the registry's storage."""
    layer = make_layer(name, size)
    with LabClient(link.source) as client:
        return client.push("a/b", make_image([layer]), name), stored_blob(link.source, layer.digest)


def test_a_damaged_blob_is_found_out(link: Link) -> None:
    digest, layer = pushed(link, "damaged")
    layer.write_bytes(layer.read_bytes()[:-10] + b"0123456789")
    failed(link.carry(digest=digest), FailureClass.CORRUPT, "Digest did not match")


def test_a_lost_blob_is_a_blob_that_is_unknown(link: Link) -> None:
    digest, layer = pushed(link, "lost")
    layer.unlink()
    failed(link.carry(digest=digest), FailureClass.BLOB_UNKNOWN, "reading blob")


def test_a_link_that_stands_still_in_the_middle_of_a_blob_is_given_up(link: Link) -> None:
    digest, _ = pushed(link, "still", 2_000_000)
    told: list[int] = []

    def cut(moved: int) -> None:
        told.append(moved)
        if moved > 500_000:
            slow.open.clear()

    with slow_link(link.source.host, rate=2_000_000) as slow:
        result = link.carry(Watch(stalled=1.0, on_bytes=cut), source=slow.host, digest=digest)
    failed(result, FailureClass.STALLED, "skopeo moved no byte for 1 s and was stopped")
    assert told[-1] > 500_000


def test_skopeo_keeps_the_time_limit_itself(link: Link) -> None:
    with slow_link(link.target.host) as slow:
        slow.open.clear()
        failed(link.carry(Watch(timeout=1.0), target=slow.host), FailureClass.TIMEOUT, "context deadline exceeded")


# --- one that misbehaves ----------------------------------------------------------------------------------------


@pytest.fixture(params=[True, False], ids=["with setpriv", "without"])
def with_setpriv(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def run_program(program: Path, watch: Watch, *, setpriv: bool = True) -> Failure | None:
    skopeo = Skopeo(str(program), "0", FLAGS, can_die_with_parent=setpriv)
    return run(skopeo, (skopeo.program, "copy"), {"PATH": os.environ["PATH"]}, watch)


def run_fake(folder: Path, script: str, watch: Watch | None = None, *, setpriv: bool = True) -> Failure | None:
    return run_program(fake(folder, script), watch or Watch(), setpriv=setpriv)


def test_one_that_stands_still_is_stopped(tmp_path: Path, with_setpriv: bool) -> None:
    started = time.monotonic()
    script = f"echo $$ > {tmp_path}/pid; exec sleep 60"
    result = run_fake(tmp_path, script, Watch(stalled=0.5), setpriv=with_setpriv)
    failed(result, FailureClass.STALLED, "skopeo moved no byte for ")
    assert time.monotonic() - started < 10
    assert not alive(begun(tmp_path))


def test_one_that_moves_bytes_slowly_is_left_alone(tmp_path: Path) -> None:
    script = "for i in 1 2 3 4 5 6; do printf %2000s x; sleep 0.25; done"
    told: list[int] = []
    assert run_fake(tmp_path, script, Watch(stalled=0.8, on_bytes=told.append)) is None
    assert told == sorted(told)
    assert told[-1] - told[0] >= 4_000


def test_one_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    script = f"trap '' TERM; echo $$ > {tmp_path}/pid; while :; do sleep 0.1; done"
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run_fake, tmp_path, script, Watch(stop=stop))
        until(lambda: begun(tmp_path) > 0)
        stop.set()
        failed(running.result(), FailureClass.INTERRUPTED, "")
    assert not alive(begun(tmp_path))


def test_the_stop_event_ends_all_runs_quickly(tmp_path: Path) -> None:
    stop = threading.Event()
    program = fake(tmp_path, "exec sleep 60")
    with ThreadPoolExecutor(8) as pool:
        runs = [pool.submit(run_program, program, Watch(stop=stop)) for _ in range(8)]
        time.sleep(0.3)
        asked = time.monotonic()
        stop.set()
        for future in runs:
            failed(future.result(), FailureClass.INTERRUPTED, "")
    assert time.monotonic() - asked < 4


def test_one_that_does_not_keep_its_time_limit_is_stopped(tmp_path: Path) -> None:
    result = run_fake(tmp_path, "while :; do :; done", Watch(timeout=0.3, grace=0.2))
    failed(result, FailureClass.TIMEOUT, "skopeo was stopped after ")


def test_one_that_says_megabytes_does_not_hang_and_its_last_words_count(tmp_path: Path) -> None:
    script = (
        "head -c 30000000 /dev/zero | tr '\\0' x >&2; echo >&2\n"
        'echo \'time="now" level=fatal msg="reading manifest 1 in h/r: manifest unknown"\' >&2; exit 1'
    )
    result = run_fake(tmp_path, script)
    assert result == Failure(FailureClass.NOT_FOUND, "reading manifest 1 in h/r: manifest unknown")


@pytest.mark.parametrize(
    ("script", "kind", "words"),
    [
        ("exit 3", "unknown", "skopeo ended with 3 and said nothing"),
        ("kill -KILL $$", "unknown", "skopeo was ended by signal 9 (out of memory?)"),
        ("echo 'FATA[0001] writing blob: EOF' >&2; exit 1", "network", "writing blob: EOF"),
        ("echo 'panic: no' >&2; exit 2", "unknown", "panic: no"),
        (
            r"""printf 'level=fatal msg="a \\"b\\"\\n\\t* c: \033[31m EOF"\n' >&2; exit 1""",
            "network",
            'a "b"  * c:  [31m EOF',
        ),
        (
            """printf 'level=error msg="first: EOF"\nlevel=fatal msg="last: denied"\n' >&2; exit 1""",
            "denied",
            "last: denied",
        ),
        ("echo 'level=fatal msg=\"a warning that was no end\"' >&2", None, ""),
        ("read -r line || exit 0; exit 1", None, ""),
        ("head -c 5000000 /dev/zero", None, ""),
    ],
)
def test_how_it_ended_is_told_in_one_clean_line(tmp_path: Path, script: str, kind: str | None, words: str) -> None:
    result = run_fake(tmp_path, script)
    assert result == (Failure(FailureClass(kind), words) if kind else None)


def test_a_skopeo_that_has_gone_is_a_matter_of_this_machine(tmp_path: Path, with_setpriv: bool) -> None:
    result = run_program(tmp_path / "gone", Watch(), setpriv=with_setpriv)
    failed(result, FailureClass.LOCAL, "cannot be run")
    failed(result, FailureClass.LOCAL, "not found" if with_setpriv else "No such file or directory")


def test_an_error_of_ours_leaves_no_skopeo_behind(tmp_path: Path) -> None:
    def fail(_: int) -> None:
        if begun(tmp_path):
            raise KeyboardInterrupt

    script = f"echo $$ > {tmp_path}/pid; while :; do printf %2000s x; done"
    with pytest.raises(KeyboardInterrupt):
        run_fake(tmp_path, script, Watch(on_bytes=fail))
    assert not alive(begun(tmp_path))


PARENT = """
import sys
from migrate.images.skopeo import Skopeo, Watch, run
program = sys.argv[1]
run(Skopeo(program, "0", frozenset()), (program, "copy"), {"PATH": "/usr/bin:/bin"}, Watch())
"""


@pytest.fixture
def orphan(tmp_path: Path) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """A process of ours that runs a fake skopeo, and the pid of that."""
    program = fake(tmp_path, f"echo $$ > {tmp_path}/pid; exec sleep 60")
    with subprocess.Popen([sys.executable, "-c", PARENT, str(program)]) as parent:
        until(lambda: begun(tmp_path) > 0)
        yield parent, begun(tmp_path)
        parent.kill()


def test_it_dies_with_us_even_by_kill_9(orphan: tuple["subprocess.Popen[bytes]", int]) -> None:
    parent, pid = orphan
    assert alive(pid)
    parent.send_signal(signal.SIGKILL)
    until(lambda: not alive(pid), 5)


def test_a_ctrl_c_on_the_terminal_does_not_reach_it(orphan: tuple["subprocess.Popen[bytes]", int]) -> None:
    parent, pid = orphan
    assert os.getpgid(pid) == pid
    assert os.getpgid(parent.pid) != pid


def test_flags_that_this_skopeo_lacks_are_left_out() -> None:
    image, access = Reference(SOURCE, "1.4"), Access(Path("a.json"))
    argv = carry_arguments(Skopeo("skopeo", "0.9", frozenset()), image, image, access, access, 1)
    assert argv[:5] == ("skopeo", "--command-timeout", "1s", "copy", "--src-authfile")
