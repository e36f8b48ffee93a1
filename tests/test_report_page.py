"""The HTML report in a real browser: sorted, filtered, unfolded, followed, printed; nothing fetched, nothing failed."""

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from reportstates import HOSTILE, make_state

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


def made(folder: Path, number: int) -> tuple[Path, dict[str, Any]]:
    """A page, and what it is to show."""
    make_state(folder, number)
    argv = [sys.executable, "-m", "migrate", "report", "m.yaml", "--state", "m.db", "--html", "r.html"]
    out = subprocess.run([*argv, "--format", "json"], cwd=folder, capture_output=True, text=True, check=True).stdout
    return folder / "r.html", json.loads(out)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    return made(tmp_path_factory.mktemp("small"), 200)


class Seen:
    """An open page, and what came of it."""

    def __init__(self, browser: Any, path: Path, width: int = 1400, **more: Any) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900}, **more)
        self.page = self.context.new_page()
        self.words: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.words.append(message.text))
        self.page.on("pageerror", lambda error: self.words.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("dialog", lambda dialog: self.words.append(f"dialog: {dialog.message}"))
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("html[data-ready]")

    def follow(self, link: Any) -> None:
        """Click a link within the page, and wait until the page has gone there."""
        link.click()
        self.page.evaluate(
            "() => new Promise(done => { addEventListener('hashchange', () => setTimeout(done), {once: true});"
            " setTimeout(done, 300) })"
        )

    def column(self, table: str, number: int) -> list[str]:
        """What a column of a table shows now."""
        cells = f"#{table} tbody tr > td:nth-child({number})"
        found: list[str] = self.page.locator(cells).all_inner_texts()
        return found

    def count(self, table: str) -> str:
        return str(self.page.locator(f"#{table} [role=status]").inner_text())


@pytest.fixture
def seen(browser: Any, small: tuple[Path, dict[str, Any]]) -> Iterator[Seen]:
    found = Seen(browser, small[0])
    yield found
    assert found.words == []
    assert found.requests == [small[0].as_uri()]
    found.context.close()


def test_the_first_screen_says_whether_it_worked_and_what_to_do(seen: Seen, small: tuple[Path, dict[str, Any]]) -> None:
    report = small[1]
    assert report["headline"] in seen.page.locator("h1").inner_text()
    assert seen.page.locator(".todo li b").first.inner_text() == report["todo"][0]["words"]
    assert seen.page.locator(".todo .command code").first.inner_text() == report["todo"][0]["command"]
    assert seen.page.locator("h1, .cards, #todo").count() == 3
    assert seen.page.locator("h1").bounding_box()["y"] < seen.page.locator("#todo").bounding_box()["y"] < 900


def test_a_command_is_copied(seen: Seen, small: tuple[Path, dict[str, Any]]) -> None:
    seen.context.grant_permissions(["clipboard-read", "clipboard-write"])
    seen.page.locator("#todo button[data-copy]").first.click()
    seen.page.wait_for_selector("#todo button:has-text('Copied')")
    assert seen.page.evaluate("navigator.clipboard.readText()") == small[1]["todo"][0]["command"]


def test_tables_sort_by_numbers_and_by_words(seen: Seen, small: tuple[Path, dict[str, Any]]) -> None:
    sizes = sorted((image["size"] for image in small[1]["images"]), reverse=True)
    button = seen.page.locator("#images th button", has_text="Size")
    button.click()
    assert button.locator("..").get_attribute("aria-sort") == "descending"
    assert seen.column("images", 6)[0] == f"{sizes[0] / 1e6:.1f} MB"
    button.click()
    assert seen.column("images", 6)[0] == f"{sizes[-1] / 1e6:.1f} MB"
    seen.page.locator("#images th button", has_text="Outcome").click()
    outcomes = [words for words in seen.column("images", 3) if words]
    assert outcomes == sorted(outcomes)


def test_a_filter_shows_what_has_all_of_its_words(seen: Seen, small: tuple[Path, dict[str, Any]]) -> None:
    wanted = [i for i in small[1]["images"] if i["outcome"] == "failed" and "team-7-2/" in i["repository"]]
    seen.page.locator("#filter-images").fill("FAILED team-7-2/")
    assert seen.count("images") == f"1 to {len(wanted)} of {len(wanted)} (of 200)"
    assert {words for words in seen.column("images", 3) if words} == {"failed"}
    seen.page.locator("#filter-images").fill("there is no such thing")
    assert seen.count("images") == "nothing (of 200)"


def test_pages_go_on_and_back(seen: Seen) -> None:
    assert seen.count("images").startswith("1 to 50 of 200")
    first = seen.column("images", 2)
    seen.page.locator("#images button", has_text="Next").click()
    assert seen.count("images").startswith("51 to 100 of 200")
    assert not set(first) & set(seen.column("images", 2))
    seen.page.locator("#images button", has_text="Previous").click()
    assert seen.column("images", 2) == first


def test_only_what_needs_somebody(seen: Seen, small: tuple[Path, dict[str, Any]]) -> None:
    bad = [i for i in small[1]["images"] if i["outcome"] != "done" or i["verdict"] not in (None, "equal", "kept")]
    seen.page.locator("#bad-images").check()
    assert seen.count("images") == f"1 to {len(bad)} of {len(bad)} (of 200)"


def test_a_row_unfolds_and_leads_to_its_workloads_and_grants(seen: Seen, small: tuple[Path, dict[str, Any]]) -> None:
    workload = small[1]["workloads"][0]
    name = workload["images"][0].partition("/")[2]
    seen.page.locator("#filter-images").fill(name)
    button = seen.page.locator("#images td.fold button").first
    button.click()
    assert seen.page.locator("#images td.fold button").first.get_attribute("aria-expanded") == "true"
    image = next(i for i in small[1]["images"] if f"{i['repository']}:{i['tag']}" == name)
    words = seen.page.locator("#images dl").inner_text()
    assert image["sourceDigest"] in words
    assert image["target"] in words
    assert f" explain m.yaml --state m.db {name}" in words
    seen.follow(seen.page.locator("#images dl a", has_text="objects ("))
    assert workload["object"] in seen.column("workloads", 2)
    assert seen.page.locator("#filter-workloads").input_value() == f'image="{name}"'
    seen.follow(seen.page.locator("#images dl a", has_text="grants ("))
    assert seen.column("access", 2) == [image["targetProject"]]


def test_a_class_of_failure_leads_to_its_images(seen: Seen) -> None:
    seen.follow(seen.page.locator("#failures a", has_text="not-found"))
    assert set(seen.column("images", 10)) == {"not-found"}


def test_a_link_to_a_filtered_table_works_from_outside(browser: Any, small: tuple[Path, dict[str, Any]]) -> None:
    found = Seen(browser, small[0])
    found.page.goto(f"{small[0].as_uri()}#images?team-3-2%2F")
    found.page.reload()
    found.page.wait_for_selector("html[data-ready]")
    assert found.page.locator("#filter-images").input_value() == "team-3-2/"
    assert all(name.startswith("team-3-2/") for name in found.column("images", 2))
    found.context.close()


def test_a_link_that_is_no_good_harms_nothing(browser: Any, small: tuple[Path, dict[str, Any]]) -> None:
    found = Seen(browser, small[0])
    found.page.goto(f"{small[0].as_uri()}#images?100%")
    found.page.reload()
    found.page.wait_for_selector("html[data-ready]")
    assert found.page.locator("#filter-images").input_value() == "100%"
    assert found.words == []
    found.context.close()


def test_hostile_words_are_shown_as_they_are(seen: Seen) -> None:
    seen.page.locator("#filter-images").fill("<script>alert(1)</script>")
    assert seen.page.locator("#images tbody tr").count() > 3
    assert HOSTILE[:25] in seen.page.locator("#images tbody").inner_text()
    assert seen.page.locator("#images tbody script").count() == 0


def test_a_page_that_was_tampered_with_runs_no_other_script(browser: Any, small: tuple[Path, dict[str, Any]]) -> None:
    evil = small[0].with_name("evil.html")
    evil.write_text(small[0].read_text().replace("</main>", "<script>document.title = 'owned'</script></main>"))
    found = Seen(browser, evil)
    assert found.page.title() != "owned"
    assert any("Content Security Policy" in words for words in found.words)
    found.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_have_contrast(browser: Any, small: tuple[Path, dict[str, Any]], scheme: str) -> None:
    """At least 4.5 to 1 (WCAG 2.2, 1.4.3), for each colour of text on the page."""
    found = Seen(browser, small[0], color_scheme=scheme)
    ratios = found.page.evaluate(CONTRAST)
    assert len(ratios) > 3
    assert min(ratios.values()) >= 4.5, ratios
    found.context.close()


CONTRAST = """() => {
  const parse = (text) => text.match(/[0-9.]+/g).map(Number);
  const linear = (value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  const behind = (element) => {
    for (; element; element = element.parentElement) {
      const colour = parse(getComputedStyle(element).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const found = {};
  for (const element of document.querySelectorAll("body *")) {
    if (!element.textContent.trim() || element.children.length) continue;
    if (element.closest("script, svg, button:disabled")) continue;
    const [a, b] = [light(parse(getComputedStyle(element).color)), light(behind(element))];
    found[`${element.tagName} ${getComputedStyle(element).color}`] = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  }
  return found;
}"""


def test_a_screen_reader_finds_its_way(seen: Seen) -> None:
    levels = [
        int(tag[1]) for tag in seen.page.evaluate("[...document.querySelectorAll('h1,h2,h3')].map(e => e.tagName)")
    ]
    assert levels[0] == 1
    assert set(levels[1:]) == {2}
    for table in seen.page.locator("table").all():
        assert table.locator("caption").count() == 1
        assert table.locator("th:not([scope])").count() == 0
    named = "(e) => Boolean(e.ariaLabel || e.textContent.trim() || e.labels?.length)"
    assert seen.page.evaluate(f"[...document.querySelectorAll('button, input, a')].every({named})")
    for picture in seen.page.locator("svg").all():
        assert seen.page.locator(f"#{picture.get_attribute('aria-labelledby')}").inner_text()


def test_a_narrow_window_scrolls_only_downwards(browser: Any, small: tuple[Path, dict[str, Any]]) -> None:
    found = Seen(browser, small[0], width=400)
    assert found.page.evaluate("document.documentElement.scrollWidth") <= 400
    found.page.locator("#images td.fold button").first.click()
    box = found.page.locator("#images dl").bounding_box()
    assert box["x"] + box["width"] <= 400
    found.context.close()


def test_print_has_every_row_and_no_buttons(browser: Any, small: tuple[Path, dict[str, Any]]) -> None:
    found = Seen(browser, small[0])
    found.page.emulate_media(media="print")
    found.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert len(found.column("images", 2)) == 200
    assert not found.page.locator("#images .controls").is_visible()
    found.page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert len(found.column("images", 2)) == 50
    found.context.close()


def test_thirty_thousand_rows_stay_usable(browser: Any, tmp_path: Path) -> None:
    path, report = made(tmp_path, 30_000)
    found = Seen(browser, path)
    paint = found.page.evaluate("performance.getEntriesByType('paint')[0].startTime")
    assert paint < 15_000  # 0.2 s on an idle machine
    assert found.count("images") == "1 to 50 of 30,000"
    troubled = sum(image["outcome"] == "failed" for image in report["images"])
    found.page.locator("#images th button", has_text="Size").click()
    found.page.locator("#filter-images").fill("failed,")
    found.page.locator("#filter-images").fill("failed")
    assert int(found.count("images").split(" of ")[1].split(" ")[0].replace(",", "")) >= troubled
    assert found.words == []
    found.context.close()


def test_a_link_finds_what_it_names_and_nothing_like_it(browser: Any, tmp_path: Path) -> None:
    """`shop` is not `workshop`, `:1` is not `:10`, and a class is not a word in somebody's reason."""
    path = make_state(tmp_path, 0)
    names = ["shop/app:1", "shop/app:10", "workshop/app:1", "shop/app2:1"]
    with closing(sqlite3.connect(path)) as db, db:
        for name in names:
            project = name.partition("/")[0]
            db.execute(
                "insert into copies (target, source, source_project, target_project, status, reason, warnings) "
                "values (?, ?, ?, ?, 'failed', 'the auth of unavailable, not-found', '[]')",
                [f"new.fi/{name}", f"old.fi/{name}", project, project],
            )
            db.execute(
                "insert into workloads (folder, project, object, place, images, standing, words, planned_at) "
                "values ('out', ?, ?, '', ?, 'new', '', '')",
                [project, f"Deployment/{name}", json.dumps([f"svc:5000/{name}"])],
            )
            db.execute(
                "insert into findings (folder, project, file, line, object, path, rule, says, mode, before, after, "
                "words, found_at) values ('out', ?, 'a.yaml', 1, ?, 'image', 'image-names', '', 'done', ?, '', '', '')",
                [project, f"Deployment/{name}", f"docker-registry.default.svc:5000/{name}"],
            )
        db.execute("update copies set error_class = 'not-found', error = 'gone' where target like '%/workshop/%'")
        db.execute("update copies set error_class = 'unavailable', error = 'no' where target like '%/shop/app:1'")
    argv = [sys.executable, "-m", "migrate", "report", "m.yaml", "--state", "m.db", "--html", "r.html"]
    subprocess.run(argv, cwd=tmp_path, capture_output=True, check=True)
    found = Seen(browser, tmp_path / "r.html")
    found.follow(found.page.locator("#failures a", has_text="not-found"))
    assert found.column("images", 2) == ["workshop/app:1"]
    found.page.locator("#filter-images").fill('image="shop/app:1"')
    assert found.column("images", 2) == ["shop/app:1"]
    found.page.locator("#images td.fold button").first.click()
    links = found.page.locator("#images dl a").all_inner_texts()
    assert links == ["objects (1)", "what changed there (1)"]
    found.follow(found.page.locator("#images dl a", has_text="objects ("))
    assert found.column("workloads", 2) == ["Deployment/shop/app:1"]
    found.page.locator("#workloads td.fold button").first.click()
    found.follow(found.page.locator("#workloads dl a", has_text="findings (1)"))
    assert found.column("findings", 2) == ["Deployment/shop/app:1"]
    found.page.locator("#filter-projects").fill("workshop")
    found.page.locator("#projects td.fold button").first.click()
    assert found.page.locator("#projects dl a").all_inner_texts() == ["images (1)", "workloads (1)"]
    assert found.words == []
    found.context.close()


def test_a_row_that_is_unfolded_by_key_keeps_the_focus(seen: Seen) -> None:
    button = seen.page.locator("#images td.fold button").nth(3)
    button.focus()
    for expanded in ("true", "false", "true"):
        seen.page.keyboard.press("Enter")
        assert seen.page.evaluate("document.activeElement.ariaExpanded") == expanded


def test_what_a_narrow_window_leaves_out_stands_where_the_row_is_unfolded(
    browser: Any, small: tuple[Path, dict[str, Any]]
) -> None:
    for width, is_there in ((1400, False), (400, True)):
        found = Seen(browser, small[0], width=width)
        found.page.locator("#images td.fold button").first.click()
        assert ("Docker → OCI" in found.page.locator("#images dl").inner_text()) == is_there
        assert found.page.locator("#images th", has_text="Format").is_visible() != is_there
        found.context.close()


def test_pictures_say_of_which_run_they_are(seen: Seen, small: tuple[Path, dict[str, Any]]) -> None:
    assert small[1]["timelineRun"] == 1
    assert seen.page.locator("#timeline-words").inner_text().startswith("Run 1: ")


def test_links_may_be_followed_again_and_back(seen: Seen) -> None:
    link = seen.page.locator("#failures a", has_text="denied")
    everything = seen.count("images")
    seen.page.locator("#bad-images").check()
    for _ in range(2):
        link.click()
        assert seen.page.locator("#filter-images").input_value() == 'class="denied"'
        assert not seen.page.locator("#bad-images").is_checked()
        assert seen.count("images") != everything
        seen.page.locator("#filter-images").fill("")
    link.click()
    seen.page.go_back()
    seen.page.wait_for_function("!location.hash")
    assert seen.page.locator("#filter-images").input_value() == ""


def test_a_filter_looks_at_what_is_shown(seen: Seen, small: tuple[Path, dict[str, Any]]) -> None:
    biggest = max(image["size"] for image in small[1]["images"])
    for words, number in (("explain", 0), ("m.yaml", 0), (f"{biggest / 1e6:.1f} MB", 1)):
        seen.page.locator("#filter-images").fill(words)
        found = seen.count("images")
        assert found.startswith("nothing") if not number else not found.startswith("nothing"), words


def test_what_is_printed_begins_at_the_beginning_and_says_what_is_left_out(browser: Any, tmp_path: Path) -> None:
    path, _ = made(tmp_path, 2_300)
    found = Seen(browser, path)
    found.page.locator("#images button", has_text="Next").click()
    first = found.column("images", 2)[0]
    found.page.emulate_media(media="print")
    found.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    printed = found.column("images", 2)
    assert len(printed) == 2000
    assert first not in printed[:50]
    assert "The other 300 of 2,300 rows are not printed" in found.page.locator("#images .rest").inner_text()
    assert found.page.locator("#todo li").last.is_visible()
    found.page.evaluate("dispatchEvent(new Event('afterprint'))")
    found.page.emulate_media(media="screen")
    assert found.column("images", 2)[0] == first
    assert not found.page.locator("#images .rest").is_visible()
    found.context.close()


def test_keys_stay_where_they_were_at_the_last_page(seen: Seen) -> None:
    following = seen.page.locator("#images button", has_text="Next")
    following.focus()
    for _ in range(3):
        seen.page.keyboard.press("Enter")
    assert seen.page.evaluate("document.activeElement.textContent") == "Previous"
