"""What must hold of a stream with three tasks, said as plainly as can be: dictionaries, and a list of uploads."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from headwater.domain.stream import Counts
from headwater.domain.task import Mode, Publish
from headwater.lake.diff import Moves

TASKS = range(3)


@dataclass(frozen=True, kw_only=True)
class Shown:
    """The version of a document that shows: which upload it came with, and its place in it."""

    id: str
    task: int
    upload: int
    place: int
    #: None in a deletion.
    doc: dict | None


@dataclass(frozen=True)
class Deletion:
    """A line that deletes a document at its place in an upload."""

    id: str


@dataclass(frozen=True)
class Rejected:
    """A document at its place in an upload that was kept aside."""

    doc: dict


#: What a stream shows, by id.
Showing = dict[str, Shown]
#: The same, and every version of a document that is visible, also beneath newer ones.
State = tuple[Showing, list[Shown]]


class Model:
    """A stream as its change sets say."""

    def __init__(self, publish: Publish) -> None:
        self.publish = publish
        #: (task, attempt, documents) from the lowest layer to the highest; None where one is gone.
        self.uploads: list[tuple[int, int, list[dict | Deletion | Rejected | None]]] = []
        #: No value may be higher: in the External now, and in the one of each task.
        self.most = 3
        self.most_of = [3, 3, 3]
        self.attempt = [0, 0, 0]
        self.mode = [Mode.MERGE, Mode.MERGE, Mode.MERGE]
        #: The documents that the task's floors hide: those with no higher value; None: all.
        self.scope: list[int | None] = [None, None, None]
        #: (task, attempt, upload): what snapshot runs have put beneath that upload, to hide all that is below.
        self.floors: list[tuple[int, int, int]] = []
        self.state = ["none", "none", "none"]
        self.deleted = [False, False, False]
        #: The stream version that removed each task's documents; None if nothing showed.
        self.removed_by: list[int | None] = [None, None, None]
        #: The attempts of each task whose documents show unless it is deleted.
        self.shows: list[set[int]] = [set(), set(), set()]
        #: What the current attempt of each task did to the stream.
        self.did: list[tuple[Showing, Showing]] = [({}, {}), ({}, {}), ({}, {})]
        #: The stream version that it last made.
        self.made = [0, 0, 0]
        #: Whether a gate kept out what the current attempt of each task brought, and a person let it in.
        self.withheld = [False, False, False]
        self.let_in = [False, False, False]
        #: The stream version at which it replaced former attempts' documents, which are purged with that version.
        self.replaced: list[int | None] = [None, None, None]
        #: Those attempts.
        self.former: list[set[int]] = [set(), set(), set()]
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
        newest = {version.id: version for version in self.versions_of_docs(without=without, but=but)}
        floors = [
            (upload, scope)
            for task, attempt, upload in self.floors
            if (scope := self.scope[task]) is not None and self._is_in(task, attempt, without=without, but=but)
        ]
        return {
            doc_id: version
            for doc_id, version in newest.items()
            if version.doc is not None
            and not any(version.upload < upload and version.doc["v"] <= scope for upload, scope in floors)
        }

    def _is_in(self, task: int, attempt: int, *, without: Iterable[int], but: tuple[int, int] | None) -> bool:
        is_shown = not self.deleted[task] and attempt in self.shows[task]
        return is_shown and task not in without and (task, attempt) != but

    def versions_of_docs(self, *, without: Iterable[int] = (), but: tuple[int, int] | None = None) -> list[Shown]:
        """Every version of a document that is visible, also beneath newer ones; lowest layers first."""

        floors = [
            upload
            for task, attempt, upload in self.floors
            if self.scope[task] is None and self._is_in(task, attempt, without=without, but=but)
        ]
        return [
            Shown(id=id_of(doc), task=task, upload=upload, place=place, doc=doc if isinstance(doc, dict) else None)
            for upload, (task, attempt, docs) in enumerate(self.uploads)
            if upload >= max(floors, default=0) and self._is_in(task, attempt, without=without, but=but)
            for place, doc in enumerate(docs)
            if isinstance(doc, dict | Deletion)
        ]

    def seen(self) -> State:
        """What shows now, and what is visible."""
        return self.shown(), self.versions_of_docs()

    def held(self, task: int, attempt: int) -> bool:
        """Whether there is anything of an attempt."""
        has_floor = any((one, other) == (task, attempt) for one, other, _ in self.floors)
        return has_floor or bool(self.brought(task, attempt))

    def begin(self, task: int, mode: Mode, scope: int | None) -> None:
        if not self.attempt[task]:
            self.mode[task], self.scope[task] = mode, scope
        self.attempt[task] += 1
        self.state[task] = "open"
        self.withheld[task] = self.let_in[task] = False
        self.did[task] = ({}, {})
        self.made[task] = 0
        self.replaced[task] = None
        self.former[task] = set()
        self.most_of[task] = self.most

    def upload(self, task: int, docs: list[dict]) -> None:
        judged = [
            Deletion(doc["$delete"]) if "$delete" in doc else doc if doc["v"] <= self.most_of[task] else Rejected(doc)
            for doc in docs
        ]
        self.uploads.append((task, self.attempt[task], judged))
        if self.publish is Publish.LIVE and self.brought(task, self.attempt[task]):
            self.shows[task].add(self.attempt[task])
            if not all(isinstance(doc, Rejected) for doc in judged):
                self._did(task, self.shown(but=(task, self.attempt[task])))

    def brought(self, task: int, attempt: int) -> list[dict | Deletion]:
        """What an attempt brought, without what was kept aside."""
        return [
            doc
            for one, other, docs in self.uploads
            if (one, other) == (task, attempt)
            for doc in docs
            if isinstance(doc, dict | Deletion)
        ]

    def rejects(self, task: int, attempt: int) -> list[dict]:
        """What was kept aside of an attempt of a task."""
        of_it = [docs for one, other, docs in self.uploads if (one, other) == (task, attempt)]
        return [doc.doc for docs in of_it for doc in docs if isinstance(doc, Rejected)]

    def forget_rejects(self, task: int, attempt: int) -> None:
        for one, other, docs in self.uploads:
            if (one, other) == (task, attempt):
                docs[:] = [None if isinstance(doc, Rejected) else doc for doc in docs]

    def _take_place(self, task: int) -> None:
        """Forget what was kept aside of the attempts whose place the present one takes."""
        for attempt in range(1, self.attempt[task]):
            self.forget_rejects(task, attempt)

    def replay(self, task: int) -> tuple[int, int]:
        """Let in what may come in now, where it would be had it come in at once: how much, and how much is covered."""
        attempt = self.attempt[task]
        joined = covered = 0
        later: set[str] = set()
        # From the last one on: of each, whether the attempt has a newer version is known then.
        for one, other, docs in reversed(self.uploads):
            if (one, other) != (task, attempt):
                continue
            for place in reversed(range(len(docs))):
                doc = docs[place]
                if isinstance(doc, dict | Deletion):
                    later.add(id_of(doc))
                elif doc is not None and doc.doc["v"] <= self.most:
                    is_covered = doc.doc["id"] in later
                    docs[place] = None if is_covered else doc.doc
                    joined, covered = joined + (not is_covered), covered + is_covered
        if joined and self.shows_replays(task):
            self.shows[task].add(attempt)
            self._did_beneath(task)
        return joined, covered

    def shows_replays(self, task: int) -> bool:
        """Whether what joins a task shows at once."""
        return not self.withheld[task] and (self.publish is Publish.LIVE or self.state[task] == "done")

    def close(self, task: int, code: int) -> None:
        self.state[task] = "ended"
        if code != 200:
            return
        self.state[task] = "done"
        self._take_place(task)
        attempt = self.attempt[task]
        before = self.shown(but=(task, attempt))
        former = {other for other in self.shows[task] - {attempt} if self.held(task, other)}
        self.shows[task] = {attempt}
        has_floor = self._floored(task)
        if former or has_floor or (self.brought(task, attempt) and self.publish is Publish.ON_SUCCESS):
            self._did(task, before)
            if former:
                self.replaced[task], self.former[task] = self.made[task], former

    def _floored(self, task: int) -> bool:
        """Put a floor beneath the current attempt of a task, if it is a snapshot run."""
        if self.mode[task] is not Mode.SNAPSHOT:
            return False
        attempt = self.attempt[task]
        own = [upload for upload, (one, other, _) in enumerate(self.uploads) if (one, other) == (task, attempt)]
        self.floors.append((task, attempt, min(own, default=len(self.uploads))))
        return True

    def withhold(self, task: int) -> None:
        """Close a task that fails a gate."""
        self._floored(task)
        self.state[task] = "ended"
        self.withheld[task] = True
        self.shows[task].discard(self.attempt[task])
        if self.brought(task, self.attempt[task]) and self.publish is Publish.LIVE:
            self._did(task, self.shown())

    def let(self, task: int) -> bool:
        """Let a task in that a gate kept out; return whether there was anything to let in."""
        attempt = self.attempt[task]
        former = {other for other in self.shows[task] if self.held(task, other)}
        if not former and not self.held(task, attempt):
            return False
        self.shows[task] = {attempt}
        self.state[task] = "done"
        self.withheld[task], self.let_in[task] = False, True
        self.former[task] = former
        self._take_place(task)
        self._did_beneath(task)
        if former:
            self.replaced[task] = self.made[task]
        return True

    def _did(self, task: int, before: Showing) -> None:
        self.did[task] = (before, self.shown())
        self.made[task] = self.version + 1

    def _did_beneath(self, task: int) -> None:
        """Keep what the current attempt of a task did beneath what later ones brought."""
        attempt, whole, shows = self.attempt[task], self.uploads, self.shows[task]
        floors = self.floors
        own = [upload for upload, (one, other, _) in enumerate(whole) if (one, other) == (task, attempt)]
        if self.brought(task, attempt):
            self.uploads = whole[: max(own) + 1]
            self.floors = [floor for floor in floors if floor[2] <= max(own)]
        elif self.held(task, attempt):
            last = max(place for place, floor in enumerate(floors) if floor[:2] == (task, attempt))
            self.floors = floors[: last + 1]
            self.uploads = whole[: floors[last][2]]
        after = self.shown()
        self.shows[task] = shows - {attempt} | self.former[task]
        self.did[task] = (self.shown(), after)
        self.uploads, self.shows[task], self.floors = whole, shows, floors
        self.made[task] = self.version + 1

    def delete(self, tasks: Iterable[int]) -> None:
        going = [task for task in tasks if not self.deleted[task]]
        shows = any(self.held(one, other) for one in going for other in self.shows[one])
        for task in going:
            own = any(self.held(task, other) for other in self.shows[task])
            together = len(going) > 1 and shows
            self.removed_by[task] = self.version + 1 if own or together else None
            self.deleted[task] = True
            if self.state[task] == "open":
                self.state[task] = "ended"

    def is_purged(self, task: int) -> bool:
        removed = self.removed_by[task]
        never_had_any = self.attempt[task] == 1 and not self.held(task, 1)
        return self.deleted[task] and removed is not None and removed <= self.oldest and not never_had_any

    def restore(self, tasks: Iterable[int]) -> None:
        for task in tasks:
            if self.deleted[task] and not self.is_purged(task):
                self.deleted[task] = False

    def purge(self, version: int) -> None:
        self.oldest = max(self.oldest, version)

    def remembers(self, version: int) -> bool:
        return version == 0 or version >= self.oldest

    def remembers_doing(self, task: int) -> bool:
        """Whether it can still be told what the current attempt of a task did."""
        replaced = self.replaced[task]
        return self.remembers(self.made[task]) and (replaced is None or replaced > self.oldest)


def id_of(doc: dict | Deletion) -> str:
    """The id of a version."""
    return doc["id"] if isinstance(doc, dict) else doc.id


def docs_of(showing: Showing) -> dict[str, dict]:
    """The documents alone."""
    return {doc_id: shown.doc for doc_id, shown in showing.items()}


def moves(before: State, after: State) -> Moves:
    """How many ids are shown by other versions, or are not though other versions of them are visible."""
    showing, shows = before[0], after[0]
    sides = [{(version.id, version.upload, version.place) for version in side} for _, side in (before, after)]
    touched = {doc_id for doc_id, _, _ in sides[0] ^ sides[1]}

    def move(doc_id: str) -> str | None:
        one, other = showing.get(doc_id), shows.get(doc_id)
        if one == other:
            return None if one is None or doc_id not in touched else "unaffected"
        return "added" if one is None else "removed" if other is None else "replaced"

    every = {*showing, *shows, *touched}
    return Moves(**Counter(found for doc_id in every if (found := move(doc_id)) is not None))


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
