"""Where things stand as a Prometheus textfile, for node_exporter's textfile collector: what an operator alarms on."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

from migrate.report.status import Standing


def write_metrics(path: Path, standing: Standing, manifest: str, project: str = "") -> None:
    """Write the file, whole or not at all.

    Args:
        path: such as /var/lib/node_exporter/textfile_collector/my-app.prom.
        standing: how things are.
        manifest: the label that tells migrations apart.
        project: the one that was asked for; empty for all.

    Raises:
        OSError: it cannot be written.
    """
    registry = CollectorRegistry()
    labels = {"manifest": manifest, "project": project}

    def gauge(name: str, words: str, values: Mapping[str, float], label: str = "") -> None:
        names = [*labels, *([label] if label else [])]
        made = Gauge(f"rahti_migrate_{name}", words, names, registry=registry)
        for value, number in values.items():
            made.labels(**labels, **({label: value} if label else {})).set(number)

    gauge("tags", "Target tags by status.", standing.counts, "status")
    gauge("verified_tags", "Target tags by what verify said of them.", standing.verdicts, "verdict")
    gauge("failed_tags", "Target tags that failed, conflict or are refused, by class.", standing.classes, "class")
    gauge("sent_bytes", "Bytes that were sent for what is at the target.", {"": standing.sent})
    gauge("running", "Whether a process is at work.", {"": float(bool(standing.writer))})
    gauge("last_attempt_timestamp_seconds", "When the last copy ended.", {"": _seconds(standing.last_attempt)})
    _last_run(gauge, standing.last_run or {})
    write_to_textfile(str(path), registry)


def _last_run(gauge: Any, run: Mapping[str, Any]) -> None:
    gauge("run_start_timestamp_seconds", "When the last run began.", {"": _seconds(run.get("started_at"))})
    gauge("run_end_timestamp_seconds", "When the last run ended; 0 while it runs.", {"": _seconds(run.get("ended_at"))})
    code = run.get("exit_code")
    gauge(
        "run_exit_code", "Its exit code; -1 while it runs, or where it was cut off.", {"": -1 if code is None else code}
    )


def _seconds(time: str | None) -> float:
    return datetime.fromisoformat(time).timestamp() if time else 0.0
