"""Shows the progress of a push: a bar on a terminal, a line every 30 seconds otherwise."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from headwater_client.cli.errors import complain, harmless
from headwater_client.cli.output import many, size
from headwater_client.cli.push.progress import Progress

if TYPE_CHECKING:
    from typing import Self

#: Seconds between lines without a terminal, and between updates of the bar.
LINE_EVERY = 30.0
UPDATE_EVERY = 0.1
#: Seconds without an acknowledged document after which this is shown.
SILENCE = 5.0
#: Maximum characters of a file's name.
NAME = 24


class Display:
    """Shows the progress of a push while it runs."""

    def __init__(self, course: Progress) -> None:
        """Show ``course``."""
        self._course = course
        self._bar = _Bar(course) if sys.stderr.isatty() else None
        self._due = time.monotonic() + (UPDATE_EVERY if self._bar else LINE_EVERY)

    def beat(self) -> None:
        """Update the display, if due."""
        now = time.monotonic()
        if now < self._due:
            return
        if self._bar is not None:
            self._bar.move()
            self._due = now + UPDATE_EVERY
        else:
            self._due = now + LINE_EVERY
            course = self._course
            complain(f"{course.file.name}: {many(course.arrived, 'document')} so far, {size(course.bytes)} read")

    def __enter__(self) -> Self:
        """Start the display."""
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Remove the display."""
        if self._bar is not None:
            self._bar.stop()


class _Bar:
    def __init__(self, course: Progress) -> None:
        from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
        from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn  # noqa: PLC0415 - likewise
        from rich.table import Column  # noqa: PLC0415 - likewise
        from rich.text import Text  # noqa: PLC0415 - likewise

        figures = Figures(course)

        class Beside(ProgressColumn):
            def render(self, task: Any) -> Text:
                del task
                return Text(figures.text(time.monotonic()))

        name = harmless(course.file.name)
        self._course = course
        self._progress = Progress(
            TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
            BarColumn(bar_width=None, table_column=Column(ratio=1)),
            Beside(table_column=Column(no_wrap=True)),
            console=Console(stderr=True),
            transient=True,
            expand=True,
            refresh_per_second=5,
        )
        short = name if len(name) <= NAME else f"{name[: NAME - 1]}…"
        self._task = self._progress.add_task(short, total=course.file.size)

    def start(self) -> None:
        self._progress.start()

    def stop(self) -> None:
        self._progress.stop()

    def move(self) -> None:
        self._progress.update(self._task, completed=self._course.file.read_so_far)


class Figures:
    """The figures beside the bar."""

    def __init__(self, course: Progress) -> None:
        """Show the figures of ``course``."""
        self._course = course
        self._arrived = 0
        self._changed = time.monotonic()

    def text(self, now: float) -> str:
        """Return the figures at a time in seconds."""
        course = self._course
        arrived = course.arrived
        if arrived != self._arrived:
            self._arrived, self._changed = arrived, now
        documents = f"{arrived:,} docs  {size(course.bytes)}"
        if course.documents < course.before:
            return f"{documents}  passing over {course.documents:,} that are there"
        if course.documents > arrived and now - self._changed > SILENCE:
            return f"{documents}  no answer for {now - self._changed:.0f} s, trying on"
        left = course.seconds_left
        return f"{documents}  {course.rate:,.0f}/s" + ("" if left is None else f"  {_clock(left)}")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
