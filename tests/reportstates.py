"""States as long migrations leave them, made in a moment: failures of every class, hostile names, access, workloads.

Run: PYTHONPATH=tests python tests/reportstates.py FOLDER NUMBER    makes FOLDER/m.db of so many tags
"""

import hashlib
import json
import random
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from registrylab.images import DOCKER_MANIFEST, OCI_MANIFEST

from migrate.images.failures import MEANINGS, Failure
from migrate.images.failures import FailureClass as Class
from migrate.state.opening import open_state
from migrate.state.times import stamp

HOSTILE = "<script>alert(1)</script>\"'&lt;\u202e|`*"
SOURCE, TARGET = "docker-registry.rahti.example", "registry.rahti2.example"
BEGUN = 1_790_000_000.0
_BASES = 40
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
_COPIES = (
    "target", "source", "source_project", "target_project", "action", "status", "reason", "warnings", "source_digest",
    "source_media_type", "target_digest", "target_media_type", "error_class", "error", "advice", "attempts", "size",
    "bytes", "seconds", "started_at", "ended_at", "run_id", "verdict", "verdict_words", "verdict_class", "verified_at",
)  # fmt: skip


def digest(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def make_state(folder: Path, number: int, *, projects: int = 12, hostile: bool = True) -> Path:
    """A manifest (of which only the name matters) and its state: two runs, the second of which verified."""
    manifest, path = folder / "m.yaml", folder / "m.db"
    manifest.write_text(f"version: 1\nsource: {{registry: {SOURCE}}}\ntarget: {{registry: {TARGET}}}\nimages: [a]\n")
    dice = random.Random(number)
    with open_state(path, manifest, TARGET) as state:
        state.begin_run("copy", SOURCE, TARGET, "1.9.3")
    rows = list(_rows(dice, number, projects, hostile=hostile))
    with closing(sqlite3.connect(path)) as db, db:
        db.executemany(f"insert into copies ({', '.join(_COPIES)}) values ({', '.join('?' * len(_COPIES))})", rows)
        db.executemany("insert or ignore into image_manifests values (?, ?, ?, ?)", _manifests(rows))
        db.executemany(
            "insert into attempts (run_id, target, number, started_at, ended_at, outcome, error_class, error, bytes) "
            "values (1, ?, 1, ?, ?, ?, ?, ?, ?)",
            [(r[0], r[19], r[20], "failed" if r[12] else "done", r[12], r[13], r[17]) for r in rows if r[19]],
        )
        _access(db, projects, hostile=hostile)
        _workloads(db, rows, hostile=hostile)
    with open_state(path, manifest, TARGET) as state:
        state.run_id = 1
        state.end_run(3, {"done": number})
        state.begin_run("verify", SOURCE, TARGET)
        state.end_run(3, {})
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(
            "update runs set started_at = ?, ended_at = ?, seconds = 4000 where id = 1",
            [stamp(BEGUN), stamp(BEGUN + 4000)],
        )
    return path


def _rows(dice: random.Random, number: int, projects: int, *, hostile: bool) -> Iterator[tuple[Any, ...]]:
    kinds = list(MEANINGS)
    for n in range(number):
        project, repository, tag = f"team-{n % projects}", f"app{n // projects % 50}", f"v{n // (projects * 50)}.{n}"
        source, target = f"{SOURCE}/{project}/{repository}:{tag}", f"{TARGET}/{project}-2/{repository}:{tag}"
        image = n - n % 3 if n % 9 else n  # some images have several tags
        size = 20_000_000 + image % 977 * 100_000
        kind = kinds[n // 10 % len(kinds)] if n % 10 == 3 else None
        begun = BEGUN + dice.random() * 3900
        ended = begun + 1 + dice.random() * 40
        values: dict[str, Any] = dict.fromkeys(_COPIES)
        values |= {
            "target": target, "source": f"{source}@{digest(f'source {image}')}", "source_project": project,
            "target_project": f"{project}-2", "action": "copy", "status": "done", "reason": "not there yet",
            "warnings": json.dumps(["OnBuild is dropped by skopeo's conversion"] if n % 17 == 0 else []),
            "source_digest": digest(f"source {image}"), "source_media_type": DOCKER_MANIFEST,
            "target_digest": digest(f"target {image}"), "target_media_type": OCI_MANIFEST, "attempts": 1, "size": size,
            "bytes": size // 4 if image == n else 0, "seconds": round(ended - begun, 3), "started_at": stamp(begun),
            "ended_at": stamp(ended), "run_id": 1, "verdict": "equal", "verified_at": stamp(BEGUN + 3950),
        }  # fmt: skip
        if kind is not None:
            words = HOSTILE if hostile and n % 20 == 3 else "HTTP 500"
            status = "conflict" if kind is Class.CONFLICT else "refused" if kind is Class.UNSUPPORTED else "failed"
            failed = {"error_class": str(kind), "error": str(Failure(kind, words)), "advice": MEANINGS[kind].advice}
            values |= failed | {"status": status, "bytes": 0, "target_digest": "", "verdict": None}
        elif n % 31 == 5:
            values |= {"status": "waiting", "started_at": None, "verdict": None, "target_digest": "", "bytes": 0}
        elif n % 41 == 7:
            values |= {"verdict": "different", "verdict_words": f"Env differs: {HOSTILE if hostile else ''}"}
        yield tuple(values[name] for name in _COPIES)


def _manifests(rows: list[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    config, layer = DOCKER_CONFIG, DOCKER_LAYER
    for n, row in enumerate(rows):
        layers = [("base", n % _BASES, row[16] * 2 // 3), ("own", row[8], row[16] - row[16] * 2 // 3 - 1000)]
        body = {
            "schemaVersion": 2, "mediaType": DOCKER_MANIFEST,
            "config": {"mediaType": config, "size": 1000, "digest": digest(f"config {row[8]}")},
            "layers": [
                {"mediaType": layer, "size": size, "digest": digest(f"{name} {seed}")}
                for name, seed, size in layers
            ],
        }  # fmt: skip
        yield (row[8], DOCKER_MANIFEST, json.dumps(body).encode(), stamp(BEGUN))


def _insert(db: sqlite3.Connection, table: str, **row: Any) -> None:
    db.execute(f"insert into {table} ({', '.join(row)}) values ({', '.join('?' * len(row))})", [*row.values()])


def _access(db: sqlite3.Connection, projects: int, *, hostile: bool) -> None:
    """Grants in every standing, some proved, some found not to hold."""
    at = stamp(BEGUN)
    for n in range(projects):
        project, name = f"team-{n}-2", HOSTILE if hostile and n == 1 else "system:unauthenticated"
        standing, holds = (("there", 1), ("add", None), ("refused", None), ("there", 0))[n % 4]
        _insert(
            db, "granted", project=project, subject=f"Group {name}", role="registry-viewer", images="[]",
            means="anyone on the internet, without a login,", why="access[0]", standing=standing, binding="pull",
            words="opens every image", planned_at=at, holds=holds, proved_at=at if holds is not None else None,
            proof="pulled without a login: 3 image streams" if holds else "",
        )  # fmt: skip
        after = json.dumps({"metadata": {"uid": "u"}, "subjects": [{"kind": "Group", "name": name}]})
        _insert(
            db, "grants", run_id=1, project=project, kind="RoleBinding", name="pull", before="null", after=after,
            applied_at=at, server="https://api",
        )  # fmt: skip


def _workloads(db: sqlite3.Connection, rows: list[tuple[Any, ...]], *, hostile: bool) -> None:
    """Objects in every standing, and findings of every mode."""
    standings = ("same", "new", "waits", "conflict", "refused", "there", "changes")
    modes = ("done", "noted", "leftOut", "warned", "asked", "blocked")
    for n, row in enumerate(rows[: min(len(rows), 400) : 4]):
        project, label, path = row[3], f"Deployment/app{n}", row[0].partition("/")[2]
        image = f"image-registry.openshift-image-registry.svc:5000/{path}"
        words = (HOSTILE if hostile else "waits for its image") if n % 7 == 2 else ""
        _insert(
            db, "workloads", folder="out", project=project, object=label, place=f"app{n}.yaml:1",
            images=json.dumps([image]), standing=standings[n % 7], words=words, planned_at=stamp(BEGUN),
        )  # fmt: skip
        before = HOSTILE if hostile and n % 11 == 0 else f"{SOURCE}/{row[2]}/{row[0].rpartition('/')[2]}"
        _insert(
            db, "findings", folder="out", project=project, file=f"app{n}.yaml", line=12, object=label,
            path="spec.template.spec.containers[0].image", rule="image-names", mode=modes[n % 6],
            says="Images are called otherwise there.", before=before, after=image, words="", found_at=stamp(BEGUN),
        )  # fmt: skip


if __name__ == "__main__":
    Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
    make_state(Path(sys.argv[1]), int(sys.argv[2]))
