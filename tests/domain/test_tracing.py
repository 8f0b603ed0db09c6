import asyncio
from contextlib import contextmanager

import pytest

from headwater.domain.tracing import sound, span, traceparent, under

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Notebook:
    """A tracer that notes what it was asked to record."""

    def __init__(self) -> None:
        self.spans: list[tuple] = []

    @contextmanager
    def span(self, name, *, kind, parent, facts):
        self.spans.append((name, kind, parent, dict(facts)))
        yield Noted(len(self.spans))


class Noted:
    def __init__(self, number: int) -> None:
        self.traceparent = f"00-{1:032x}-{number:016x}-01"


@pytest.mark.parametrize(
    ("said", "is_sound"),
    [
        (PARENT, True),
        (PARENT.replace("00-", "cc-", 1), True),
        (None, False),
        ("", False),
        (PARENT.upper(), False),
        (PARENT.replace("00-", "ff-", 1), False),
        (f"00-{'0' * 32}-b7ad6b7169203331-01", False),
        (f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01", False),
        (f"{PARENT}\r\nx: y", False),
    ],
)
def test_what_is_no_traceparent_is_not_passed_on(said, is_sound):
    assert sound(said) == (said if is_sound else None)


def test_without_a_tracer_what_a_caller_said_is_passed_on():
    with under(PARENT), span("upload") as recorded:
        assert recorded is None
        assert traceparent() == PARENT
    assert traceparent() is None


def test_a_span_is_the_parent_of_those_within_it():
    tracer = Notebook()
    with under(PARENT, tracer=tracer), span("upload", {"task": "t"}, kind="server"):
        first = traceparent()
        with span("catalog.write"):
            assert traceparent() != first
        assert traceparent() == first
    assert tracer.spans == [("upload", "server", PARENT, {"task": "t"}), ("catalog.write", "internal", first, {})]


def test_what_a_loop_does_by_itself_is_not_recorded():
    tracer = Notebook()
    with under(None, tracer=tracer):
        with span("catalog.write"):
            pass
        with span("ec POST", kind="client"):
            pass
    assert [name for name, *_ in tracer.spans] == ["ec POST"]


async def test_those_who_work_at_once_have_parents_of_their_own():
    async def work(number: int) -> str | None:
        with under(f"{PARENT[:-2]}{number:02x}"):
            await asyncio.sleep(0)
            return traceparent()

    assert await asyncio.gather(*map(work, range(5))) == [f"{PARENT[:-2]}{number:02x}" for number in range(5)]
