"""Runs that are killed, one after the other, while the source goes on changing and registries die: is anything lost?

`make storm` makes hundreds of kills and writes what came of them into docs/reliability.md.
"""

import argparse
import json
import os
import random
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import page
from conftest import Ends
from processes import arguments_of_all
from registrylab.client import LabClient, missing_from
from registrylab.images import Image, make_image, make_index, make_layer
from registrylab.proxy import slow_link
from registrylab.registry import registry

BASES = [make_layer(f"base{number}", 400_000) for number in range(3)]
RATE, DELAY = 8_000_000, 0.002
"""Of the link to the target: bytes a second, and seconds each way."""
_LONGEST = 3.0
"""Seconds until a run is killed, at most."""
_GONE_SECONDS = 5.0
_PLAN = 6
"""New images a day; as many tags move."""


@dataclass
class Storm:
    """What has happened so far.

    Attributes:
        kills: how often, by what was being done.
        tags: (repository, tag) to the image that the source has there now.
        fresh: what was pushed and is not recorded done since, as repository:tag.
        problems: promises that were broken, in words.
    """

    ends: Ends
    dice: random.Random
    kills: Counter[str] = field(default_factory=Counter)
    ended: Counter[int] = field(default_factory=Counter)
    tags: dict[tuple[str, str], Image] = field(default_factory=dict)
    fresh: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)
    checked: dict[str, str] = field(default_factory=dict)
    made: int = 0

    def day(self, client: LabClient) -> None:
        """Somebody pushes: new tags, and tags that move."""
        for _ in range(_PLAN):
            self._push(client, f"shop/app{self.dice.randint(0, 7)}", f"v{self.made}")
        for repository, tag in self.dice.sample(sorted(self.tags), min(_PLAN, len(self.tags))):
            self._push(client, repository, tag)

    def _push(self, client: LabClient, repository: str, tag: str) -> None:
        self.made += 1
        layers = [self.dice.choice(BASES), make_layer(f"own{self.made}", self.dice.randint(5_000, 300_000))]
        image = make_image(layers, config={"Env": [f"N={self.made}"]})
        if self.made % 7 == 0:
            other = make_image(layers, config={"Env": [f"N={self.made}"]}, architecture="arm64")
            image = make_index({"linux/amd64": image, "linux/arm64": other})
        if self.made % 5 == 0 and image.blobs:
            client.push_schema1(repository, image, tag)
        else:
            client.push(repository, image, tag)
        self.tags[repository, tag] = image
        self.fresh.add(f"{repository}:{tag}")

    def killed(self, manifest: Path) -> None:
        """One run, killed with all that it started: at any moment, or while it writes its state."""
        command = self.dice.choice(["copy", "copy", "run", "verify"])
        jobs = [] if command == "verify" else ["--jobs", str(self.dice.choice([1, 4, 16]))]
        process = self.ends.start(command, manifest, *jobs, LAB_STORM=str(self.ends.folder))
        moment = self.dice.uniform(0.05, _LONGEST)
        if self.dice.random() < 0.4:
            what = self._until_it_writes(process, moment)
        else:
            deadline = time.monotonic() + moment
            while process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.01)
            what = "at any moment"
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            self.kills[f"{command}, {what}"] += 1
        process.communicate()
        if process.returncode >= 0:
            self.ended[process.returncode] += 1
            if process.returncode and (command, process.returncode) != ("verify", 3):  # what is not there yet
                self.problems.append(f"{command} ended with exit code {process.returncode}")

    def _until_it_writes(self, process: "subprocess.Popen[str]", after: float) -> str:
        """Wait for the moment, and then until the write-ahead log changes, and a little into what follows."""
        log = self.ends.folder / "state/m.db-wal"
        time.sleep(after / 2)
        before, deadline = _stamp(log), time.monotonic() + 2
        while _stamp(log) == before and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.0005)
        time.sleep(self.dice.uniform(0, 0.003))
        return "while it wrote its state"

    def registry_killed(self, manifest: Path) -> None:
        """A registry dies under a run, and is back a little later: the run waits, or had only begun and says so."""
        lab = self.dice.choice([self.ends.source, self.ends.target])
        process = self.ends.start("copy", manifest, "--jobs", "4", LAB_STORM=str(self.ends.folder))
        time.sleep(self.dice.uniform(0.4, 1.5))
        lab.kill()
        time.sleep(self.dice.uniform(0.1, 2))
        lab.start_again()
        self.kills["the registry, under a copy"] += 1
        out, err = process.communicate(timeout=120)
        self.ended[process.returncode] += 1
        at_the_start = process.returncode == 1 and " registry 127.0.0.1:" in err and "To continue" not in out
        if process.returncode and not at_the_start:
            self.problems.append(f"after a registry's death: exit code {process.returncode}: {out[-300:]}{err[-600:]}")

    def look(self, client: LabClient) -> None:
        """What must hold after every kill."""
        self._nobody_left()
        for name, digest in self._recorded().items():
            if self.checked.get(name) == digest:
                continue
            repository, _, tag = name.partition("/")[2].rpartition(":")
            stored = client.manifest(repository, tag)
            if stored is None or stored.digest != digest or missing_from(client, repository, tag):
                self.problems.append(f"{name} is recorded done as {digest}, and the target lacks it")
            self.checked[name] = digest
            self.fresh.discard(name.partition("/")[2])

    def _nobody_left(self) -> None:
        deadline = time.monotonic() + _GONE_SECONDS
        while left := ours(self.ends.folder):
            if time.monotonic() > deadline:
                self.problems.append(f"still running: {left}")
                return
            time.sleep(0.02)

    def _recorded(self) -> dict[str, str]:
        """Target to digest, of what the state says is done. It opens, and is whole."""
        path = self.ends.folder / "state/m.db"
        if not path.exists():
            return {}
        with sqlite3.connect(path) as db:
            if db.execute("pragma quick_check").fetchall() != [("ok",)]:
                self.problems.append("the state is damaged")
            if not db.execute("select 1 from sqlite_master where name = 'copies'").fetchall():
                return {}
            found = db.execute("select target, target_digest from copies where status = 'done'").fetchall()
        db.close()
        return dict(found)

    def settled(self) -> set[str]:
        """Tags, as repository:tag, that are recorded done and have not moved since."""
        return {name.partition("/")[2] for name in self._recorded()} - self.fresh

    def put_again(self, settled: set[str], logged: int) -> set[str]:
        """Those of them that the target was given again since its log was so long."""
        lines = self.ends.target.log[logged:].splitlines()
        put = {line.split('"PUT /v2/')[1].split()[0] for line in lines if '"PUT /v2/' in line and "/manifests/" in line}
        return settled & {path.replace("/manifests/", ":") for path in put}

    def compare(self, client: LabClient) -> None:
        """Blob by blob, at the end."""
        if set(client.images()) != {f"{repository}:{tag}" for repository, tag in self.tags}:
            self.problems.append("other tags than the source has")
        for (repository, tag), image in self.tags.items():
            stored = client.manifest(repository, tag)
            if stored is None or missing_from(client, repository, tag):
                self.problems.append(f"{repository}:{tag} is not whole")
            elif "layers" in stored.document and "layers" in (wanted := json.loads(image.body)):
                layers = [[layer["digest"] for layer in d["layers"]] for d in (stored.document, wanted)]
                if layers[0] != layers[1]:
                    self.problems.append(f"{repository}:{tag} has other layers")


def _stamp(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def ours(folder: Path) -> list[str]:
    """What still runs of the programs that were started with this folder in their environment."""
    mark, found = f"LAB_STORM={folder}".encode(), []
    for pid, argv in arguments_of_all():
        try:
            if mark in Path(f"/proc/{pid}/environ").read_bytes() and pid != os.getpid():
                found.append(" ".join(argv[:4]))
        except OSError:
            continue
    return found


@contextmanager
def two_registries(folder: Path) -> Iterator[Ends]:
    with (
        registry(password=True, schema1=True, folder=folder / "source") as source,
        registry(folder=folder / "target") as target,
    ):
        (folder / "work").mkdir()
        yield Ends(source, target, folder / "work")


def storm(ends: Ends, kills: int, seed: int, tell: Callable[[str], object] = lambda _: None) -> Storm:
    """So many kills, and at last one run that is left alone."""
    made = Storm(ends, random.Random(seed))
    body = "images: [{from: 'shop', platforms: all}]\ntransfer: {linkMaxMissing: 200kB, patience: 60s}\n"
    with ExitStack() as stack:
        source, target = (stack.enter_context(LabClient(lab)) for lab in (ends.source, ends.target))
        for _ in range(4):
            made.day(source)
        link = stack.enter_context(slow_link(ends.target.host, rate=RATE, delay=DELAY))
        manifest = ends.through(ends.manifest(body), target=link.host)
        while made.kills.total() < kills:
            settled, logged = made.settled(), len(ends.target.log)
            if made.dice.random() < 0.1:
                made.registry_killed(manifest)
            else:
                made.killed(manifest)
            made.look(target)
            made.problems += [f"{name} was put again" for name in made.put_again(settled, logged)]
            if made.dice.random() < 0.3:
                made.day(source)
            if made.kills.total() % 20 == 0:
                tell(f"{made.kills.total()} kills, {len(made.tags)} tags; broken: {made.problems or 'nothing'}")
        last = ends.run("run", manifest)
        if last.code:
            made.problems.append(f"the last run: exit code {last.code}: {last.text[-800:]}")
        made.compare(target)
        if ends.run("verify", manifest, "--deep").code:
            made.problems.append("the deep verification found something")
        sent = ends.run("copy", manifest, "--format", "json").events[-1]["bytes"]
        if sent:
            made.problems.append(f"a copy of what is there has sent {sent} bytes")
    left = [str(path) for path in _leftovers(ends.folder)]
    made.problems += [f"left over: {path}" for path in left]
    return made


def _leftovers(folder: Path) -> Iterator[Path]:
    """Private folders, authfiles and temporary files that nobody needs any more."""
    for place in (folder / "state", folder / "home"):
        for path in place.rglob("*"):
            if (
                (path.is_dir() and path.name.startswith(("rahti-migrate", "tmp")))
                or path.name in ("auth.json", "authfile")
                or path.suffix == ".tmp"
            ):
                yield path


def figures(made: Storm, seconds: float) -> str:
    """What the page says."""
    rows = [[what, str(count)] for what, count in sorted(made.kills.items())]
    rows += [["in all", str(made.kills.total())]]
    words = f"{len(made.tags)} tags, {made.made} pushes, {seconds / 60:.0f} minutes;"
    words += f" promises broken: {len(made.problems)}."
    return f"{page.table(['killed', 'times'], rows)}\n{words}"


def main() -> None:
    """Storm, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    asked = parser.parse_args()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as name, two_registries(Path(name)) as ends:
        made = storm(ends, asked.kills, asked.seed, lambda words: print(words, flush=True))
    for problem in made.problems:
        print(f"BROKEN: {problem}")
    text = figures(made, time.monotonic() - begun)
    print(f"seed {asked.seed}\n{text}")
    if made.problems:
        raise SystemExit(1)
    page.write_section("storm", text)


if __name__ == "__main__":
    main()
