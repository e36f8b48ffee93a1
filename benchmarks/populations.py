"""Registries as they are found, made from a seed and laid straight into a docker-registry's folder."""

import gzip
import io
import json
import random
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field

from registrylab.client import LabClient
from registrylab.images import Image, Layer, make_image, make_index, sha256
from registrylab.registry import LabRegistry
from registrylab.storage import lay

MB = 1_000_000
PROJECT = "all"


def layer(dice: random.Random, size: int) -> Layer:
    """A layer of about `size` bytes that do not compress."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        info = tarfile.TarInfo(f"srv/{dice.getrandbits(64):x}")
        info.size = size
        tar.addfile(info, io.BytesIO(dice.randbytes(size)))
    data = gzip.compress(raw.getvalue(), compresslevel=0, mtime=0)
    return Layer(data, sha256(data), sha256(raw.getvalue()))


@dataclass
class Filled:
    """What a source registry holds: (repository, tags, digest) of each image, and bytes of each blob."""

    images: list[tuple[str, list[str], str]] = field(default_factory=list)
    blobs: dict[str, int] = field(default_factory=dict)
    layers: set[str] = field(default_factory=set)

    @property
    def tags(self) -> int:
        """How many."""
        return sum(len(tags) for _, tags, _ in self.images)

    @property
    def unique(self) -> int:
        """Bytes of the distinct blobs."""
        return sum(self.blobs.values())


def _fill(lab: LabRegistry, seed: int, repositories: int, tags: int, base: int, own: int, special: bool) -> Filled:
    """Repositories over a few bases; `special` adds a tenth as schema 1, and two lists for every hundred tags."""
    dice, filled = random.Random(seed), Filled()
    number_of_bases = max(2, repositories // 8)
    bases = [[layer(dice, int(base * dice.uniform(0.3, 1))) for _ in range(4)] for _ in range(number_of_bases)]
    with LabClient(lab) as client:
        for number in range(repositories):
            name, stack = f"{PROJECT}/app{number:03}", dice.choice(bases)[: dice.randint(2, 4)]
            runtime = layer(dice, int(own * 2 * dice.uniform(0.2, 1)))
            for tag in range(tags):
                layers = [*stack, runtime, layer(dice, int(own * dice.expovariate(1.5)) + 2000)]
                image = make_image(layers, config={"Env": [f"N={number}.{tag}"], "Cmd": ["/run"]})
                _note(filled, image)
                if special and dice.random() < 0.10:
                    client.push_schema1(name, image, f"v{tag}")
                    found = client.manifest(name, f"v{tag}")
                    assert found
                    filled.images.append((name, [f"v{tag}"], found.digest))
                elif special and dice.random() < 0.02:
                    other = make_image([*stack, layer(dice, own)], architecture="arm64")
                    _note(filled, other)
                    index = make_index({"linux/amd64": image, "linux/arm64": other})
                    client.push(name, index, f"v{tag}")
                    filled.images.append((name, [f"v{tag}"], index.digest))
                else:
                    names = [f"v{tag}", *(["latest"] if tag == tags - 1 else [])]
                    lay(lab.storage, name, image, names)
                    filled.images.append((name, names, image.digest))
    return filled


def _note(filled: Filled, image: Image) -> None:
    filled.blobs.update({digest: len(data) for digest, data in image.blobs.items()})
    filled.layers.update(each["digest"] for each in json.loads(image.body)["layers"])


POPULATIONS: dict[str, Callable[[LabRegistry, int], Filled]] = {
    "small": lambda lab, seed: _fill(lab, seed, 6, 4, 9 * MB, 2 * MB, special=True),
    "medium": lambda lab, seed: _fill(lab, seed, 26, 7, 60 * MB, 5 * MB, special=True),
    "medium0": lambda lab, seed: _fill(lab, seed, 26, 7, 60 * MB, 5 * MB, special=False),
    "tags500": lambda lab, seed: _fill(lab, seed, 20, 24, 30_000, 10_000, special=False),
    "tags5000": lambda lab, seed: _fill(lab, seed, 200, 24, 30_000, 10_000, special=False),
}
