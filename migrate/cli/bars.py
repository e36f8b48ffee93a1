"""Bars on a terminal, drawn by rich: one for the whole run, a line for each worker."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, Task, TaskID, TextColumn
from rich.progress_bar import ProgressBar
from rich.text import Text

from migrate.cli.interrupt import drawn, stopping
from migrate.cli.tally import Tally, troubles
from migrate.images.transfer import Event, Started, Stop
from migrate.quantities import format_size

_NAME_WIDTH = 44


@contextmanager
def live(tally: Tally, stop: Stop) -> Iterator["Live"]:
    """Draw a run on stderr while it is on, and that it is stopping; nothing of it stays."""
    columns = (
        TextColumn("{task.description}"),
        _WholeBar(bar_width=24),
        _Words(stop),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        drawn.set()
        try:
            yield Live(tally, bars)
        finally:
            drawn.clear()


class _Words(TextColumn):
    """What stands behind a bar; behind the whole one, that the run is stopping."""

    def __init__(self, stop: Stop) -> None:
        super().__init__("{task.fields[words]}", markup=False)
        self._stop = stop

    def render(self, task: Task) -> Text:
        if task.fields["whole"] and self._stop.soon.is_set():
            return Text(stopping(self._stop))
        return super().render(task)


class _WholeBar(BarColumn):
    """A bar for the whole; workers have their bytes as text."""

    def render(self, task: Task) -> ProgressBar | Text:  # type: ignore[override]
        return super().render(task) if task.fields["whole"] else Text("")


class Live:
    """Bars: one for the whole, one line for what each worker does."""

    def __init__(self, tally: Tally, progress: Progress) -> None:
        self._tally, self._progress = tally, progress
        self._whole = progress.add_task("tags", total=tally.tags, words="", whole=True)
        self._workers: dict[int, TaskID] = {}

    def event(self, event: Event) -> None:
        """Draw that a job began, ended, or is tried again later."""
        self._tally.event(event)
        if isinstance(event, Started):
            name = escape(event.job.name[:_NAME_WIDTH])
            self._workers[event.job.number] = self._progress.add_task(f"  {name}", total=None, words="", whole=False)
        else:
            task = self._workers.pop(event.result.job.number, None)
            if task is not None:
                self._progress.remove_task(task)
        for words in troubles(event, self._tally):
            self._progress.console.print(escape(words), highlight=False)
        self._progress.update(self._whole, completed=self._tally.done, words=self._tally.line())

    def moved(self, job: int, moved: int) -> None:
        """Draw how many bytes a running job has moved; called from any thread."""
        self._tally.moved(job, moved)
        task = self._workers.get(job)
        if task is not None:
            self._progress.update(task, words=format_size(moved))
            self._progress.update(self._whole, words=self._tally.line())
