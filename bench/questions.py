"""The questions that the read benchmark asks: over HTTP, and in SQL over the same files."""

import base64
import json
import random
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import httpx

from bench.documents import review_id
from bench.measure import Goal, Memory, Result, Way, compared, timed, watched
from bench.plain import PlainSql
from bench.read_data import Laid
from bench.served import Served

#: Documents of a page.
PAGE = 100
#: Pages and documents that are asked for, and counted.
ROUNDS = 40
DRY_RUNS = 6
DELETIONS = 8
EXPORTS = 3


class Reading:
    """The questions about one stream, asked over HTTP and in SQL."""

    def __init__(self, served: Served, laid: Laid, sql: PlainSql) -> None:
        """Ask about a stream."""
        self._served = served
        self._client = served.client
        self._laid = laid
        self._sql = sql
        # The same in every run, so that runs can be compared.
        self._rng = random.Random(laid.layout.name)

    def page(self, question: str, goal: Goal) -> Result:
        """Read pages of 100 behind ids from all over the stream."""
        path = f"/streams/{self._laid.stream}/docs"
        first = self._client.get(path, params={"limit": 1}).raise_for_status().json()["next_cursor"]

        def ask(after: str) -> httpx.Response:
            return self._client.get(path, params={"limit": PAGE, "cursor": _moved(first, after)})

        def read(answer: httpx.Response) -> list[Any]:
            return [[each["id"], each["doc"]] for each in _payload(answer)]

        def read_plain(rows: list[tuple[str, str]]) -> list[Any]:
            return [[doc_id, json.loads(text)] for doc_id, text in rows]

        plain = Way(ask=lambda after: self._sql.page(after, PAGE), read=read_plain)
        return _in_ms(question, goal, self._ids(), Way(ask=ask, read=read), plain)

    def one(self, question: str, goal: Goal) -> Result:
        """Read single documents from all over the stream."""
        path = f"/streams/{self._laid.stream}/docs"
        ours = Way(ask=lambda doc_id: self._client.get(f"{path}/{doc_id}"), read=lambda answer: _payload(answer)["doc"])
        return _in_ms(question, goal, self._ids(), ours, Way(ask=self._sql.one, read=json.loads))

    def dry_run(self, question: str, goal: Goal) -> Result:
        """Ask what deleting a task would do."""

        def ask(task: str) -> httpx.Response:
            return self._client.delete(f"/actions/tasks/{task}", params={"dry_run": "true"})

        def read(answer: httpx.Response) -> tuple[int, int, int]:
            payload = _payload(answer)
            return payload["removed"], payload["restored"], payload["unaffected"]

        if ask(self._laid.tasks[0]).status_code == HTTPStatus.BAD_REQUEST:
            return Result(question=question, goal=goal, ours=())
        ours, plain = Way(ask=ask, read=read), Way(ask=self._sql.without, read=tuple)
        return _in_ms(question, goal, self._some_tasks(DRY_RUNS + 1), ours, plain)

    def delete_and_restore(self, delete: str, restore: str, goal: Goal) -> list[Result]:
        """Delete and restore tasks, one after the other, each time when the stream is counted."""
        times: dict[str, list[float]] = {delete: [], restore: []}
        for task in self._some_tasks(DELETIONS):
            path = f"/actions/tasks/{task}"
            try:
                seconds, answer = timed(self._client.delete, path)
                _payload(answer)
                times[delete].append(1e3 * seconds)
            finally:
                # Whatever happens, the data are left as they were.
                seconds, answer = timed(self._client.post, f"{path}/restore")
            _payload(answer)
            times[restore].append(1e3 * seconds)
            self._served.wait_until_counted(self._laid.stream)
        self._served.wait_until_idle()
        return [Result(question=question, goal=goal, ours=tuple(taken)) for question, taken in times.items()]

    def export(self, question: str, goal: Goal, memory: str, memory_goal: Goal) -> tuple[list[Result], Memory]:
        """Export all current documents, watching the server's memory."""
        ours = Way(ask=lambda _: self._exported(), read=int)
        plain = Way(ask=lambda _: self._sql.export(), read=int)
        with watched(self._served.pid) as seen:
            found = compared(range(EXPORTS + 1), ours, plain)
        docs = self._laid.layout.current
        rates = Result(
            question=question,
            goal=goal,
            ours=tuple(docs / seconds for seconds in found.ours),
            plain=tuple(docs / seconds for seconds in found.plain),
            differing=found.differing,
        )
        return [rates, Result(question=memory, goal=memory_goal, ours=(seen.peak / 1e6,))], seen

    def _exported(self) -> int:
        path = f"/streams/{self._laid.stream}/export"
        with self._client.stream("GET", path, headers={"Accept-Encoding": "identity"}) as answer:
            answer.raise_for_status()
            return sum(piece.count(b"\n") for piece in answer.iter_raw())

    def _ids(self) -> list[str]:
        return [review_id(self._rng.randrange(self._laid.layout.current)) for _ in range(ROUNDS + 1)]

    def _some_tasks(self, count: int) -> list[str]:
        return self._rng.sample(self._laid.tasks, min(count, len(self._laid.tasks)))


def _in_ms(question: str, goal: Goal, subjects: Sequence[str], ours: Way[str], plain: Way[str]) -> Result:
    found = compared(subjects, ours, plain)
    ours_ms, plain_ms = (tuple(1e3 * seconds for seconds in side) for side in (found.ours, found.plain))
    return Result(question=question, goal=goal, ours=ours_ms, plain=plain_ms, differing=found.differing)


def _payload(answer: httpx.Response) -> Any:
    return answer.raise_for_status().json()["payload"]


def _moved(cursor: str, after: str) -> str:
    """Return a cursor of the same stream version, behind another id."""
    _, version = json.loads(base64.urlsafe_b64decode(cursor + "=="))
    return base64.urlsafe_b64encode(json.dumps([after, version]).encode()).decode().rstrip("=")
