"""Nights of a long job: limits, kills, a source that goes on changing; at the end everything is there, blob by blob."""

import json
import os
import random
import signal
import time

import pytest
from conftest import Ends
from registrylab.client import LabClient, missing_from
from registrylab.images import Image, make_image, make_layer

SEEDS = (1, 2)
BASES = [make_layer(f"base{number}", 300_000) for number in range(3)]


class Source:
    """Images that somebody pushes to day by day; `tags` is what each tag has now."""

    def __init__(self, client: LabClient, dice: random.Random) -> None:
        self._client, self._dice = client, dice
        self._made = 0
        self.tags: dict[tuple[str, str], Image] = {}

    def push(self, repository: str, tag: str) -> None:
        self._made += 1
        layers = [self._dice.choice(BASES), make_layer(f"own{self._made}", self._dice.randint(5_000, 150_000))]
        self.tags[repository, tag] = image = make_image(layers, config={"Env": [f"N={self._made}"]})
        self._client.push(repository, image, tag)

    def day(self) -> None:
        """Some new tags, and some that move."""
        for _ in range(4):
            self.push(f"a/app{self._dice.randint(0, 4)}", f"new{self._made}")
        for repository, tag in self._dice.sample(sorted(self.tags), 4):
            self.push(repository, tag)


def night(ends: Ends, dice: random.Random) -> int:
    """One run, with a limit or a kill; its exit code."""
    manifest = ends.folder / "m.yaml"
    match dice.choice(["bytes", "time", "kill", "kill"]):
        case "bytes":
            return ends.run("run", manifest, "--max-bytes", "2MB").code
        case "time":
            return ends.run("run", manifest, "--max-duration", "1s", "--jobs", "2").code
    running = ends.start("run", manifest, "--jobs", "4")
    time.sleep(dice.uniform(0.5, 2.5))
    if running.poll() is None:
        os.killpg(running.pid, signal.SIGKILL)
    running.communicate()
    return running.returncode


@pytest.mark.parametrize("seed", SEEDS)
def test_after_nights_of_limits_kills_and_changes_everything_is_there(
    ends: Ends, source: LabClient, target: LabClient, seed: int
) -> None:
    dice = random.Random(seed)
    world = Source(source, dice)
    for number in range(30):
        world.push(f"a/app{number % 5}", f"v{number}")
    ends.manifest("images: [a]\ntransfer: {linkMaxMissing: 100kB}\n")
    for _ in range(5):
        assert night(ends, dice) in (0, 5, -signal.SIGKILL)
        world.day()
    last = ends.run("run", ends.folder / "m.yaml", "--format", "json")
    assert last.code == 0, last.text
    assert last.events[-1]["counts"]["left"] == 0
    assert set(target.images()) == {f"{repository}:{tag}" for repository, tag in world.tags}
    for (repository, tag), image in world.tags.items():
        stored = target.manifest(repository, tag)
        assert stored
        layers = [layer["digest"] for layer in stored.document["layers"]]
        wanted = json.loads(image.body)
        assert layers == [layer["digest"] for layer in wanted["layers"]]
        assert stored.document["config"]["digest"] == wanted["config"]["digest"]
        assert missing_from(target, repository, tag) == []
    assert ends.run("verify", ends.folder / "m.yaml", "--deep").code == 0
    nothing = ends.run("copy", ends.folder / "m.yaml", "--format", "json")
    assert nothing.events[-1]["bytes"] == 0
    left = [path.name for path in (ends.folder / "state").iterdir() if path.is_dir()]
    assert left == []
