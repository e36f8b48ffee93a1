"""Many tags, many repositories: lists in pages, memory within bounds, nothing left out."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest
from conftest import Ends
from registrylab.client import LabClient
from registrylab.gateway import Answer, Forward, Request, gateway
from registrylab.images import Image, make_image, make_layer
from registrylab.storage import lay

BASE = make_layer("base", 1_000)
REPOSITORIES, TAGS, IMAGES = 200, 9, 3
PAGE = 4


def image(number: int) -> Image:
    return make_image([BASE], config={"Env": [f"N={number}"]})


def in_pages(request: Request, forward: Forward) -> Answer:
    """A registry with small pages, whatever is asked for (distribution specification 1.1, "Listing Tags")."""
    if request.phase != "tags":
        return forward(request)
    url = urlsplit(request.path)
    last = parse_qs(url.query).get("last", [""])[0]
    answer = forward(replace(request, path=f"{url.path}?n=1000"))
    document = json.loads(answer.body)
    key = "repositories" if "_catalog" in url.path else "tags"
    names = [name for name in sorted(document[key]) if name > last]
    more = len(names) > PAGE
    answer = replace(answer, body=json.dumps({**document, key: names[:PAGE]}).encode())
    if more:
        answer = answer.with_headers(Link=f'<{url.path}?last={names[PAGE - 1]}&n={PAGE}>; rel="next"')
    return answer


@pytest.fixture
def crowd(ends: Ends) -> Iterator[Ends]:
    """200 repositories; 9 tags on 3 images in each."""
    for repository in range(REPOSITORIES):
        for number in range(IMAGES):
            tags = [f"v{number}.{minor}" for minor in range(TAGS // IMAGES)]
            lay(ends.source.storage, f"crowd/app{repository:03}", image(repository * IMAGES + number), tags)
    return ends


def test_thousands_of_tags_are_planned_in_pages_within_bounded_memory(crowd: Ends) -> None:
    measured = (
        "import runpy, sys\n"
        "try: runpy.run_module('migrate', run_name='__main__')\n"
        "finally: print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0], file=sys.stderr)"
    )
    with gateway(crowd.source.host, in_pages) as near:
        manifest = crowd.through(crowd.manifest("images: [crowd]"), source=near.host)
        done = subprocess.run(
            [sys.executable, "-c", measured, "plan", str(manifest), "--format", "json"],
            cwd=crowd.folder, env=crowd.environment(), capture_output=True, text=True, check=False,
        )  # fmt: skip
        pages = len(near.asked("tags"))
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert len({copy["target"] for copy in plan["copies"]}) == len(plan["copies"]) == REPOSITORIES * TAGS
    assert plan["counts"] == {"copy": 600, "link": 1200, "skip": 0, "conflict": 0, "refused": 0}
    assert pages >= REPOSITORIES * (TAGS // PAGE + 1) + REPOSITORIES // PAGE
    kilobytes = int(done.stderr.split()[-1])
    assert kilobytes < 150_000


def test_every_tag_of_many_repositories_arrives(crowd: Ends, target: LabClient) -> None:
    names = ", ".join(f"crowd/app{number:03}" for number in range(20))
    manifest = crowd.manifest(f"images: [{names}]\ndefaults: {{format: keep}}")
    ran = crowd.run("copy", manifest)
    assert ran.code == 0, ran.text
    with LabClient(crowd.source) as source:
        for number in range(20):
            name = f"crowd/app{number:03}"
            assert target.tags(name) == source.tags(name)
    assert len(target.images()) == 20 * TAGS
    again = crowd.run("copy", manifest)
    assert "nothing to do: 180 tags at the target already" in again.out
