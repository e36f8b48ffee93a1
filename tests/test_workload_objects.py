"""What stands in rewritten files, as it is sent to the API."""

from pathlib import Path

import pytest

from migrate.workloads.objects import read_objects

HEAD = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0644", 420), ("0o644", 420), ("420", 420), ("0", 0), ("-1", -1), ("+5", "+5"), ("0x1F", 31),
        ("0.5", 0.5), ("1e3", 1000.0), (".5", 0.5), ("yes", True), ("No", False), ("off", False), ("true", True),
        ("'yes'", "yes"), ('"0644"', "0644"), ("null", None), ("~", None), ("2020-01-01", "2020-01-01"),
        ("12:30", "12:30"), ("1Gi", "1Gi"), ("500m", "500m"), ("1.2.3", "1.2.3"), ("08", "08"), ("!!str 5", "5"),
        ("|\n  a\n  b\n", "a\nb\n"),
    ],
)  # fmt: skip
def test_a_scalar_is_sent_as_oc_would_send_it(tmp_path: Path, text: str, value: object) -> None:
    (tmp_path / "a.yaml").write_text(f"{HEAD}x: {text}\n")
    (item,) = read_objects(tmp_path, "p").items
    assert item.document["x"] == value
    assert type(item.document["x"]) is type(value)


def test_lists_anchors_and_merges_are_opened(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "kind: List\napiVersion: v1\nitems:\n- apiVersion: v1\n  kind: ConfigMap\n  metadata: {name: a}\n"
        "  data: &d {x: y}\n- apiVersion: v1\n  kind: ConfigMap\n  metadata: {name: b}\n  data: {<<: *d, z: w}\n"
    )
    found = read_objects(tmp_path, "p")
    assert [item.document["data"] for item in found.items] == [{"x": "y"}, {"x": "y", "z": "w"}]
    assert all(item.document["metadata"]["namespace"] == "p" for item in found.items)


def test_a_template_is_one_object_and_comes_last(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "apiVersion: template.openshift.io/v1\nkind: Template\nmetadata: {name: t}\n"
        "objects: [{apiVersion: v1, kind: Service, metadata: {name: s}}]\n---\n" + HEAD
    )
    assert [item.label for item in read_objects(tmp_path, "p").items] == ["ConfigMap/c", "Template/t"]
