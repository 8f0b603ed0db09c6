"""Showing how far pushing has come: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from headwater_client.cli.endings import complain, harmless
from headwater_client.cli.output import many, size
from headwater_client.cli.pushing.course import Course

if TYPE_CHECKING:
    from typing_extensions import Self

#: Seconds between two lines where there is no terminal, and between two looks at the clock where there is one.
LINE_EVERY = 30.0
LOOK_EVERY = 0.1
#: Seconds without a document that arrives, after which somebody may wonder.
SILENCE = 5.0
#: Characters of a file's name.
NAME = 24


class Display:
    """Shows a course while it is under way."""

    def __init__(self, course: Course) -> None:
        """Show ``course``."""
        self._course = course
        self._bar = _Bar(course) if sys.stderr.isatty() else None
        self._due = time.monotonic() + (LOOK_EVERY if self._bar else LINE_EVERY)

    def beat(self) -> None:
        """Show how it stands, if it is time."""
        now = time.monotonic()
        if now < self._due:
            return
        if self._bar is not None:
            self._bar.move()
            self._due = now + LOOK_EVERY
        else:
            self._due = now + LINE_EVERY
            course = self._course
            complain(f"{course.file.name}: {many(course.arrived, 'document')} so far, {size(course.bytes)} read")

    def __enter__(self) -> Self:
        """Begin to show it."""
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Take it away."""
        if self._bar is not None:
            self._bar.stop()


class _Bar:
    def __init__(self, course: Course) -> None:
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
    """What stands beside the bar."""

    def __init__(self, course: Course) -> None:
        """Tell of ``course``."""
        self._course = course
        self._arrived = 0
        self._changed = time.monotonic()

    def text(self, now: float) -> str:
        """Return it, by a clock in seconds."""
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
