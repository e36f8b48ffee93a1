"""Logins that end in the middle: the work waits, says what to do, and continues by itself."""

import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import Popen
from urllib.parse import unquote

import pytest
from clusters import NEW_TOKEN, OLD_TOKEN, two_clusters
from conftest import Ends
from registrylab.client import LabClient
from registrylab.gateway import Request
from registrylab.images import make_image, make_layer
from registrylab.openshift import ACTIVE, EDITOR, OpenShiftRegistry, openshift_registry
from registrylab.proxy import slow_link
from registrylab.registry import USER

from migrate.credentials import Credential, Login, LoginGate, LoginPatience

OLD, NEW = "sha256~old-token", "sha256~new-token"
RAHTI1 = f"{{username: {USER}, passwordEnv: LAB_PASSWORD}}"
ENDED = "no longer takes the login"


@pytest.fixture
def openshift(tmp_path: Path) -> Iterator[OpenShiftRegistry]:
    with openshift_registry(tmp_path / "openshift") as made:
        made.users[OLD] = "ann"
        made.projects["a"] = ACTIVE
        made.rights["ann", "a"] = EDITOR
        yield made


class Batch:
    """A command under way on many images, whose target takes one token at a time."""

    def __init__(self, ends: Ends, source: LabClient, openshift: OpenShiftRegistry, images: int = 8) -> None:
        self.ends, self.openshift = ends, openshift
        for number in range(images):
            source.push(f"a/app{number}", make_image([make_layer(f"own-{number}", 5_000)]), "1")
        openshift.put_seconds = 0.1
        self.token = ends.folder / "token"
        self.token.write_text(OLD)
        self.images = ", ".join(f"a/app{number}" for number in range(images))

    def manifest(self, login: str = "tokenFile: token", source: str = "", more: str = "") -> Path:
        path = self.ends.folder / "m.yaml"
        path.write_text(
            f"version: 1\nsource: {{registry: '{source or self.ends.source.host}', plainHttp: true, login: {RAHTI1}}}\n"
            f"target: {{registry: '{self.openshift.host}', plainHttp: true, login: {{{login}}}}}\n"
            f"images: [{self.images}]\n{more}"
        )
        return path

    def revoke(self) -> None:
        del self.openshift.users[OLD]

    def renew(self) -> None:
        self.openshift.users[NEW] = "ann"
        self.token.write_text(NEW)


def read_until(process: "Popen[str]", words: str) -> str:
    """What it says, up to a line with these words."""
    assert process.stderr
    said = ""
    for line in process.stderr:
        said += line
        if words in line:
            return said
    raise AssertionError(f"{words!r} was never said: {said}")


def wait_for_streams(openshift: OpenShiftRegistry, number: int) -> None:
    ticking = threading.Event()
    for _ in range(300):
        if len(openshift.streams) >= number:
            return
        ticking.wait(0.1)
    raise AssertionError("nothing arrives")


@pytest.mark.parametrize("command", ["copy", "run"])
def test_a_run_waits_for_a_new_login_and_goes_on(
    ends: Ends, source: LabClient, openshift: OpenShiftRegistry, command: str
) -> None:
    batch = Batch(ends, source, openshift)
    process = ends.start(command, batch.manifest(), "--jobs", "3")
    wait_for_streams(openshift, 2)
    batch.revoke()
    said = read_until(process, ENDED)
    assert f"{openshift.host} no longer takes the login (file {batch.token})" in said
    assert f"Log in again: write a new one to {batch.token}" in said
    batch.renew()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, out + err
    assert "8 done" in out
    assert f"{openshift.host} takes the login again" in err
    assert "failed" not in out
    assert (said + err).count(ENDED) == 1
    assert OLD not in said + out + err
    assert NEW not in said + out + err


def test_who_waits_in_vain_is_exit_code_4_with_everything_kept(
    ends: Ends, source: LabClient, openshift: OpenShiftRegistry
) -> None:
    batch = Batch(ends, source, openshift)
    manifest = batch.manifest()
    process = ends.start("copy", manifest, "--jobs", "2", "--wait-login", "2s")
    wait_for_streams(openshift, 2)
    batch.revoke()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 4, out + err
    assert "waiting for up to 2.0 s" in err
    assert "left to do" in out
    status = ends.run("status", manifest).out
    assert re.search(r"with exit code 4\n  the (source|target) registry .* does not accept", status), status
    batch.renew()
    ran = ends.run("copy", manifest)
    assert ran.code == 0, ran.text
    assert len(openshift.streams) == 8


def test_a_plan_and_a_verification_wait_too(ends: Ends, source: LabClient, openshift: OpenShiftRegistry) -> None:
    batch = Batch(ends, source, openshift)
    manifest = batch.manifest()
    assert ends.run("copy", manifest).code == 0
    process = ends.start("verify", manifest)
    read_until(process, "reading both registries")
    batch.revoke()
    said = ""
    waiter = threading.Timer(2.0, batch.renew)
    waiter.start()
    out, err = process.communicate(timeout=60)
    waiter.join()
    assert process.returncode == 0, said + out + err
    assert "8 equal" in out


def test_ctrl_c_ends_the_wait(ends: Ends, source: LabClient, openshift: OpenShiftRegistry) -> None:
    batch = Batch(ends, source, openshift)
    process = ends.start("copy", batch.manifest(), "--jobs", "2")
    wait_for_streams(openshift, 2)
    batch.revoke()
    read_until(process, ENDED)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, out + err


def test_a_login_that_ends_while_skopeo_runs_costs_that_run_alone(
    ends: Ends, source: LabClient, openshift: OpenShiftRegistry
) -> None:
    """Registry tokens live as long as the request: the next request of skopeo is refused."""
    batch = Batch(ends, source, openshift, images=1)
    source.push("a/app0", make_image([make_layer(f"big-{n}", 400_000) for n in range(4)]), "1")
    with slow_link(ends.source.host, rate=400_000) as link:
        process = ends.start("copy", batch.manifest(source=link.host, more="transfer: {linkMaxMissing: 0}\n"))
        for _ in range(300):
            if any(seen.phase == "upload" for seen in openshift.seen):
                break
            threading.Event().wait(0.05)
        batch.revoke()
        read_until(process, ENDED)
        link.rate = 0.0
        batch.renew()
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, out + err
    assert "1 done" in out


@pytest.mark.parametrize("command", ["run --apply", "finish --apply", "access apply"])
def test_the_api_is_waited_for_too(tmp_path: Path, command: str) -> None:
    with two_clusters(tmp_path) as both:
        for number in range(4):
            both.push(both.old, OLD_TOKEN, f"my-app/app{number}", "1")
        manifest = both.manifest("images: [my-app]\naccess: [{project: my-app-2, allow: [anonymous]}]\n")
        files = ":".join(str(both.ends.folder / f"{end}.kube") for end in ("old", "new"))
        reviewed = threading.Event()

        def end_it(asked: Request) -> None:
            if asked.method == "POST" and "/rolebindings" in asked.path and not reviewed.is_set():
                reviewed.set()
                both.new.add_user("ann", NEW)
                del both.new.users[NEW_TOKEN]

        both.new.api.faults.append(end_it)
        if not command.startswith("run"):
            assert both.run("copy", manifest).code == 0
        name, *options = command.replace(" --", "--").split("--")
        typed = [*name.split(), manifest, *(f"--{option}" for option in options)]
        process = both.ends.start(*typed, KUBECONFIG=files)
        said = read_until(process, ENDED)
        assert f"Log in again: oc login {both.new.api_url} --context new" in said
        both.login("new", both.new, NEW)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, out + err
        assert both.pulls("my-app-2/app0:1")


def test_what_arrived_before_the_login_ended_is_not_sent_again(
    ends: Ends, source: LabClient, openshift: OpenShiftRegistry
) -> None:
    """A long copy whose token ends in the middle: each layer that was whole by then crosses once."""
    batch = Batch(ends, source, openshift, images=1)
    source.push("a/app0", make_image([make_layer(f"big-{n}", 400_000) for n in range(5)]), "1")
    with slow_link(ends.source.host, rate=500_000) as link:
        process = ends.start("copy", batch.manifest(source=link.host), "--jobs", "1")
        layers = openshift.seen_by(OLD).storage / "docker/registry/v2/repositories/a/app0/_layers/sha256"
        for _ in range(600):
            if [*layers.glob("*/link")]:
                break
            threading.Event().wait(0.05)
        whole = {f"sha256:{link.parent.name}" for link in layers.glob("*/link")}
        assert whole
        batch.revoke()
        read_until(process, ENDED)
        link.rate = 0.0
        batch.renew()
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, out + err
    assert len(whole) < len([*layers.glob("*/link")]) == 6  # five layers and the config
    asked = [unquote(seen.path) for seen in openshift.seen if seen.method == "PUT" and "/blobs/uploads/" in seen.path]
    assert [sum(digest in path for path in asked) for digest in whole] == [1] * len(whole)


def test_tokens_of_a_command_that_live_shorter_than_the_run_end_nothing(
    ends: Ends, source: LabClient, openshift: OpenShiftRegistry
) -> None:
    """A login program is asked again before the token that it gave has ended: no question is refused."""
    batch = Batch(ends, source, openshift, images=16)
    openshift.put_seconds = 0.8
    tokens = {f"sha256~short-{number}" for number in range(60)}
    openshift.users.update(dict.fromkeys(tokens, "ann"))
    started = time.monotonic()
    (ends.folder / "give").write_text(
        f"#!{sys.executable}\nimport time\nprint(f'sha256~short-{{int((time.monotonic() - {started}) // 4)}}')\n"
    )
    (ends.folder / "give").chmod(0o700)
    stop = threading.Event()

    def age() -> None:  # a token is taken for 12 seconds, of which the program gives it for the first 4
        while not stop.wait(0.2):
            openshift.users.pop(f"sha256~short-{int((time.monotonic() - started) // 4) - 3}", None)

    ageing = threading.Thread(target=age)
    ageing.start()
    ran = ends.run("copy", batch.manifest(f"command: [{ends.folder}/give]"), "--jobs", "1")
    stop.set()
    ageing.join()
    assert ran.code == 0, ran.text
    assert time.monotonic() - started > 12
    assert ENDED not in ran.err


@pytest.mark.parametrize("words", ["soon", "-1s", "5"])
def test_a_wait_that_is_none_is_wrong_usage(ends: Ends, source: LabClient, words: str) -> None:
    ran = ends.run("copy", ends.manifest("images: [a]"), "--wait-login", words)
    assert (ran.code, "--wait-login" in ran.err) == (2, True), ran.text


def gate(tokens: list[str], **more: object) -> tuple[LoginGate, list[str]]:
    """A gate whose login is the first of these tokens until it is popped."""
    told: list[str] = []
    login = Login("a test", lambda: Credential("u", tokens[0]), fresh=0, how_anew=lambda: "do so")
    made = LoginGate("r.example", login, LoginPatience(5.0, tell=told.append, look=0.01))
    return made, told


def test_a_login_that_never_worked_is_not_waited_for() -> None:
    made, told = gate(["one"])
    assert not made.wait("a/b", lambda: False)
    assert told == []


def test_many_wait_and_one_asks() -> None:
    tokens = ["one"]
    made, told = gate(tokens)
    made.works("a/b")
    results: list[bool] = []
    threads = [
        threading.Thread(target=lambda: results.append(made.wait("a/b", lambda: tokens[0] == "two"))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    threading.Event().wait(0.2)
    assert made.closed
    tokens[0] = "two"
    for thread in threads:
        thread.join(5)
    assert results == [True] * 8
    assert not made.closed
    assert [words.partition(",")[0] for words in told][1:] == ["r.example takes the login again"]
