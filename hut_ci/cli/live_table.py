"""Progress of several runs: a table that is redrawn on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from hut_ci.record import Event

if TYPE_CHECKING:
    from hut_ci.cli.several import Job


@contextmanager
def live_table(jobs: Sequence[Job], shown: bool) -> Iterator[Callable[[Job, Event], None]]:
    """Where progress goes: a live table on a terminal, lines elsewhere."""
    from hut_ci.cli.progress import PlainLines

    if not shown:
        yield lambda _job, _event: None
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.live import Live

        now: dict[str, Event] = {job.name: Event("start", "starting", slot=job.name) for job in jobs}
        with Live(_table(now), console=Console(stderr=True), refresh_per_second=8, transient=True) as live:

            def update(job: Job, event: Event) -> None:
                now[job.name] = event
                live.update(_table(now))

            yield update
    else:
        printers = {job: PlainLines(job.name) for job in jobs}
        yield lambda job, event: printers[job](event)


def _table(now: dict[str, Event]) -> Any:
    from rich import box
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=True)
    for title, width in (("slot", 10), ("stage", 10), ("", 12)):
        table.add_column(title, width=width)
    table.add_column("now", ratio=1, no_wrap=True)
    for name, event in now.items():
        bar = ProgressBar(100, event.percent or 0, width=12) if event.percent else ""
        table.add_row(Text(name), Text(event.stage), bar, Text(event.text))
    return table
