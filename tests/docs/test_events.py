"""docs/reference/events.md against the events that there are, and what can be asked for."""

import re

from docs_page import Page
from headwater.api.routers import events
from headwater.api.routers.events import COME_BACK, PAGE, EventOut
from headwater.api.sse import KEEP_ALIVE
from headwater.domain.event import TYPES
from headwater.settings import Settings

TEXT = Page.of("docs/reference/events.md").text


def test_every_type_is_told_of_and_every_one_told_of_is_there():
    told = re.findall(r"^\| `(\w+\.\w+)` \|", TEXT.partition("| type |")[2].partition("\n\n")[0], re.MULTILINE)
    assert sorted(told) == sorted(TYPES)


def test_every_parameter_and_field_is_told_of():
    (route,) = events.router.routes
    names = {field.alias for part in (route.dependant, *route.dependant.dependencies) for field in part.query_params}
    assert {"stream", "crawler", "task", "type", "since", "last_event_id", "feed", "limit", "cursor"} == names
    assert [name for name in names if not re.search(rf"\b{name}\b", TEXT)] == []
    assert [name for name in EventOut.model_fields if f'"{name}":' not in TEXT] == []


def test_numbers_are_those_of_the_code():
    words = " ".join(TEXT.split())
    assert f"`limit` is {PAGE} unless given" in words
    assert f"{KEEP_ALIVE:g} seconds of silence" in words
    assert f"retry: {COME_BACK}" in words
    assert f"[`HEADWATER_EVENT_DAYS`](settings.md), {Settings().event_days:g} unless set" in words
