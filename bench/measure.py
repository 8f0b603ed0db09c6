"""Taking times: two ways to answer a question, in turn, and what was seen of them."""

import contextlib
import statistics
import threading
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import psutil

T = TypeVar("T")

#: A way is asked no more when it has used so many seconds ...
_LONG_ENOUGH = 20.0
#: ... and was asked so often after warming up.
_FEWEST = 3
#: Seconds between two looks at a process's memory.
_LOOK_EVERY = 0.02


@dataclass(frozen=True, kw_only=True)
class Way(Generic[T]):
    """A way to answer a question."""

    #: Answers it for a subject; timed.
    ask: Callable[[T], Any]
    #: Makes of the answer what must be the same whichever way it was asked; not timed.
    read: Callable[[Any], Any]


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Both ways, side by side."""

    #: Seconds.
    ours: tuple[float, ...]
    #: Seconds.
    plain: tuple[float, ...]
    #: Subjects that the two ways answered differently.
    differing: int


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What is to be reached."""

    bound: float
    #: ``ms``, ``MB``, ``docs/s``, ``uploads/s``, or ``x``: so many times as much.
    unit: str
    #: Whether more is better.
    more: bool = False

    def is_met_by(self, value: float) -> bool:
        """Whether a value is good enough."""
        return value >= self.bound if self.more else value < self.bound


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came of a question, all values in the unit of its goal."""

    question: str
    goal: Goal
    #: Headwater's; none if it cannot answer.
    ours: tuple[float, ...]
    #: Those of plain SQL; none if there is nothing to compare with.
    plain: tuple[float, ...] = ()
    #: Rounds whose answers were not the same.
    differing: int = 0

    @property
    def median(self) -> float | None:
        """Headwater's median."""
        return statistics.median(self.ours) if self.ours else None

    @property
    def worst(self) -> float | None:
        """Headwater's worst."""
        return (min if self.goal.more else max)(self.ours, default=None)

    @property
    def plain_median(self) -> float | None:
        """The median of plain SQL."""
        return statistics.median(self.plain) if self.plain else None

    @property
    def ratio(self) -> float | None:
        """How many times as fast as plain SQL Headwater is."""
        ours, plain = self.median, self.plain_median
        if not ours or not plain:
            return None
        return ours / plain if self.goal.more else plain / ours

    @property
    def is_met(self) -> bool | None:
        """Whether the median reaches the goal; None if there is none."""
        return None if self.median is None else self.goal.is_met_by(self.median)


def compared(subjects: Sequence[T], ours: Way[T], plain: Way[T]) -> Compared:
    """Ask both ways about each subject, taking turns at being first; the first subject warms up and is not counted.

    A slow way is asked about fewer subjects, without the other waiting for it.
    """
    times: dict[str, list[float]] = {"ours": [], "plain": []}
    differing = 0
    for place, subject in enumerate(subjects):
        turn = [(times[name], way) for name, way in (("ours", ours), ("plain", plain)) if not _is_over(times[name])]
        answers: list[Any] = []
        for taken, way in turn[:: -1 if place % 2 else 1]:
            seconds, answer = timed(way.ask, subject)
            taken.append(seconds)
            answers.append(way.read(answer))
        differing += len(answers) > 1 and answers[0] != answers[1]
    return Compared(ours=tuple(times["ours"][1:]), plain=tuple(times["plain"][1:]), differing=differing)


def _is_over(times: Sequence[float]) -> bool:
    return len(times) > _FEWEST and sum(times) > _LONG_ENOUGH


def timed(ask: Callable[[T], Any], subject: T) -> tuple[float, Any]:
    """Return the seconds that an answer took, and the answer."""
    began = time.perf_counter()
    answer = ask(subject)
    return time.perf_counter() - began, answer


@dataclass(kw_only=True)
class Memory:
    """Resident memory of a process and its children while they were watched, in bytes.

    Summed up, so that what they share counts more than once.
    """

    before: int = 0
    after: int = 0
    #: The most that was seen in samples.
    sampled: int = 0
    #: The most that the kernel saw of each; 0 where it does not say.
    exact: int = 0

    @property
    def peak(self) -> int:
        """The most that there was."""
        return max(self.sampled, self.exact)


@contextlib.contextmanager
def watched(pid: int) -> Generator[Memory]:
    """Watch the memory of a process of ours and of its children."""
    processes, memory = _family(pid), Memory()
    memory.before = memory.sampled = _resident(processes)
    # Linux forgets the former peak when it is told to.
    for process in processes:
        with contextlib.suppress(OSError):
            Path(f"/proc/{process.pid}/clear_refs").write_text("5")
    over = threading.Event()

    def look() -> None:
        while not over.wait(_LOOK_EVERY):
            memory.sampled = max(memory.sampled, _resident(processes))

    watcher = threading.Thread(target=look, name="memory", daemon=True)
    watcher.start()
    try:
        yield memory
    finally:
        over.set()
        watcher.join()
        memory.after = _resident(processes)
        memory.exact = sum(_high_water(process.pid) for process in processes)


class Neighbours:
    """What other processes use of the cores while something is measured: the less, the more the times are worth."""

    def __init__(self, *ours: int) -> None:
        """Begin; ``ours`` are the processes that belong to the measurement, with their children."""
        self._ours = ours
        self._began = time.monotonic()
        self._before_all = _busy_seconds()
        self._before_ours = cpu_seconds(*ours)

    def cores(self) -> float:
        """Return how many cores they have used since then, on the average."""
        ours = cpu_seconds(*self._ours) - self._before_ours
        return max(0.0, self.cores_of_all() - ours / (time.monotonic() - self._began))

    def cores_of_all(self) -> float:
        """Return how many cores all processes have used since then, ours too."""
        return (_busy_seconds() - self._before_all) / (time.monotonic() - self._began)


@dataclass(kw_only=True)
class Effort:
    """What was spent on something."""

    #: The memory of a process and its children.
    memory: Memory
    #: Seconds that they worked.
    cpu: float = 0.0
    #: Cores that were at work, whoever used them.
    cores: float = 0.0


@contextlib.contextmanager
def effort_of(pid: int) -> Generator[Effort]:
    """Watch what a process of ours and its children spend."""
    with watched(pid) as memory:
        effort = Effort(memory=memory)
        neighbours, worked = Neighbours(), cpu_seconds(pid)
        yield effort
        effort.cpu = cpu_seconds(pid) - worked
        effort.cores = neighbours.cores_of_all()


def cpu_seconds(*pids: int) -> float:
    """Return the time that processes and their children have worked, those that ended meanwhile too."""
    worked = 0.0
    for process in _family(*pids):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            # Whom a process waited for until it ended is in that process's times; who still runs has times of its own.
            worked += times.user + times.system + times.children_user + times.children_system
    return worked


def _family(*pids: int) -> set[psutil.Process]:
    processes = [psutil.Process(pid) for pid in pids]
    return {*processes, *(child for process in processes for child in process.children(recursive=True))}


def _busy_seconds() -> float:
    times = psutil.cpu_times()
    # A guest's time is in the user's already.
    names = [name for name in times._fields if name not in {"idle", "iowait", "guest", "guest_nice"}]
    return sum(getattr(times, name) for name in names)


def _resident(processes: Iterable[psutil.Process]) -> int:
    found = 0
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            found += process.memory_info().rss
    return found


def _high_water(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
    return 0
