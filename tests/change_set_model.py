"""What must hold of a stream with three tasks, said as plainly as can be: dictionaries, and a list of uploads."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from headwater.domain.stream import Counts
from headwater.domain.task import Publish
from headwater.lake.difference import Moves

TASKS = range(3)


@dataclass(frozen=True, kw_only=True)
class Shown:
    """The version of a document that shows: which upload it came with, and its place in it."""

    task: int
    upload: int
    place: int
    doc: dict


#: What a stream shows, by id.
Showing = dict[str, Shown]


class Model:
    """A stream as its change sets say."""

    def __init__(self, publish: Publish) -> None:
        self.publish = publish
        #: (task, attempt, documents) from the lowest layer to the highest.
        self.uploads: list[tuple[int, int, list[dict]]] = []
        self.attempt = [0, 0, 0]
        self.state = ["none", "none", "none"]
        self.deleted = [False, False, False]
        #: The stream version that removed each task's documents; None if nothing showed.
        self.removed_by: list[int | None] = [None, None, None]
        #: The attempts of each task whose documents show unless it is deleted.
        self.shows: list[set[int]] = [set(), set(), set()]
        #: What the present attempt of each task did to the stream.
        self.did: list[tuple[Showing, Showing]] = [({}, {}), ({}, {}), ({}, {})]
        #: The stream version that it last made.
        self.made = [0, 0, 0]
        #: Whether that replaced former attempts' documents, which are purged with that version.
        self.replaced = [False, False, False]
        #: Whether a gate kept out what the present attempt of each task brought, and a person let it in.
        self.withheld = [False, False, False]
        self.let_in = [False, False, False]
        #: What each stream version showed.
        self.versions: dict[int, Showing] = {0: {}}
        #: The oldest version that is kept.
        self.oldest = 0

    @property
    def version(self) -> int:
        return max(self.versions)

    def open_task(self) -> int | None:
        return next((task for task in TASKS if self.state[task] == "open"), None)

    def begun(self) -> list[int]:
        return [task for task in TASKS if self.attempt[task]]

    def shown(self, *, without: Iterable[int] = (), but: tuple[int, int] | None = None) -> Showing:
        """What shows now; without some tasks, or but for one attempt of a task."""
        return {
            doc["id"]: Shown(task=task, upload=upload, place=place, doc=doc)
            for upload, (task, attempt, docs) in enumerate(self.uploads)
            if not self.deleted[task] and attempt in self.shows[task]
            if task not in without and (task, attempt) != but
            for place, doc in enumerate(docs)
        }

    def begin(self, task: int) -> None:
        self.attempt[task] += 1
        self.state[task] = "open"
        self.withheld[task] = self.let_in[task] = False
        self.did[task] = ({}, {})
        self.made[task] = 0
        self.replaced[task] = False

    def upload(self, task: int, docs: list[dict]) -> None:
        self.uploads.append((task, self.attempt[task], docs))
        if self.publish is Publish.LIVE:
            self.shows[task].add(self.attempt[task])
            self._did(task, self.shown(but=(task, self.attempt[task])))

    def close(self, task: int, code: int) -> None:
        self.state[task] = "ended"
        if code != 200:
            return
        attempt = self.attempt[task]
        before = self.shown(but=(task, attempt))
        former = {one for one, other, _ in self.uploads if one == task and other in self.shows[task] - {attempt}}
        own = any((one, other) == (task, attempt) for one, other, _ in self.uploads)
        self.shows[task] = {attempt}
        if former or (own and self.publish is Publish.ON_SUCCESS):
            self._did(task, before)
            self.replaced[task] = bool(former)

    def brought(self, task: int) -> bool:
        """Whether the present attempt of a task uploaded anything."""
        return any((one, other) == (task, self.attempt[task]) for one, other, _ in self.uploads)

    def withhold(self, task: int) -> None:
        """Close a task that fails a gate."""
        self.state[task] = "ended"
        self.withheld[task] = True
        self.shows[task].discard(self.attempt[task])
        if self.brought(task) and self.publish is Publish.LIVE:
            self._did(task, self.shown())

    def let(self, task: int) -> bool:
        """Let a task in that a gate kept out; return whether there was anything to let in."""
        before, attempt = self.shown(), self.attempt[task]
        former = {one for one, other, _ in self.uploads if one == task and other in self.shows[task]}
        if not former and not self.brought(task):
            return False
        self.shows[task] = {attempt}
        self.withheld[task], self.let_in[task] = False, True
        self._did(task, before)
        self.replaced[task] = bool(former)
        return True

    def _did(self, task: int, before: Showing) -> None:
        self.did[task] = (before, self.shown())
        self.made[task] = self.version + 1

    def delete(self, tasks: Iterable[int]) -> None:
        going = [task for task in tasks if not self.deleted[task]]
        shows = any(one in going and other in self.shows[one] for one, other, _ in self.uploads)
        for task in going:
            own = any(one == task and other in self.shows[task] for one, other, _ in self.uploads)
            together = len(going) > 1 and shows
            self.removed_by[task] = self.version + 1 if own or together else None
            self.deleted[task] = True
            if self.state[task] == "open":
                self.state[task] = "ended"

    def is_purged(self, task: int) -> bool:
        removed = self.removed_by[task]
        return self.deleted[task] and removed is not None and removed <= self.oldest

    def restore(self, tasks: Iterable[int]) -> None:
        for task in tasks:
            if self.deleted[task] and not self.is_purged(task):
                self.deleted[task] = False

    def purge(self, version: int) -> None:
        self.oldest = max(self.oldest, version)

    def remembers(self, version: int) -> bool:
        return version == 0 or version >= self.oldest

    def remembers_doing(self, task: int) -> bool:
        """Whether it can still be told what the present attempt of a task did."""
        return self.remembers(self.made[task] - self.replaced[task])


def docs_of(showing: Showing) -> dict[str, dict]:
    """The documents alone."""
    return {doc_id: shown.doc for doc_id, shown in showing.items()}


def moves(before: Showing, after: Showing, *, touched: Iterable[str]) -> Moves:
    """How many of the ids that are touched are shown by other versions."""

    def move(doc_id: str) -> str | None:
        one, other = before.get(doc_id), after.get(doc_id)
        if one == other:
            return None if one is None else "unaffected"
        return "added" if one is None else "removed" if other is None else "replaced"

    return Moves(**Counter(found for doc_id in set(touched) if (found := move(doc_id)) is not None))


def operations(before: Showing, after: Showing) -> dict[str, str]:
    """What becomes of each document that another version shows."""
    operation: dict[str, str] = {}
    for doc_id in before.keys() | after.keys():
        one, other = before.get(doc_id), after.get(doc_id)
        if one == other:
            continue
        if one is None or other is None:
            operation[doc_id] = "added" if one is None else "removed"
        else:
            operation[doc_id] = "unchanged" if one.doc == other.doc else "changed"
    return operation


def counts(before: Showing, after: Showing) -> Counts:
    """What becomes of documents."""
    return Counts(**Counter(operations(before, after).values()))
