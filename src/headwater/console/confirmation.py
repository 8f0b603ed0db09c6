"""The page, or dialog, that says what an action will do, by its dry run's numbers, before it is done."""

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.responses import Response

from headwater.console.rendering import render
from headwater.console.visits import Visit
from headwater.domain.errors import RequestInvalid
from headwater.lake.diff import Moves


@dataclass(frozen=True, kw_only=True)
class Effect:
    """How many documents something would happen to."""

    count: int
    meaning: str
    #: The class of its colour, and its sign.
    kind: str
    sign: str


@dataclass(frozen=True, kw_only=True)
class ConfirmedPart:
    """What would happen to one of several objects."""

    title: str
    effects: Sequence[Effect] = ()
    #: Why it will stay as it is.
    refused: str | None = None


@dataclass(frozen=True, kw_only=True)
class Confirmation:
    """What is about to be done."""

    title: str
    #: Where the form is sent.
    action: str
    button: str
    back: str
    lines: Sequence[str] = ()
    effects: Sequence[Effect] = ()
    #: The same for each of several objects.
    parts: Sequence[ConfirmedPart] = ()
    #: Hidden fields.
    fields: Sequence[tuple[str, str]] = ()
    #: How it can be undone.
    way_back: str | None = None
    #: A word to type, for what cannot be undone.
    typed: str | None = None


def require_typed(visit: Visit, word: str, *, otherwise: str) -> None:
    """Refuse an action whose form does not have the word that is to be typed; ``otherwise`` is what that leaves.

    Raises:
        RequestInvalid: it does not.
    """
    if visit.form.get("typed").strip() != word:
        raise RequestInvalid(f"the word {word!r} was not typed, so that {otherwise}")


def asked(visit: Visit, ask: Confirmation) -> Response:
    """Return the page, or for htmx the content of the dialog."""
    return render(visit, "parts/confirm.html" if visit.is_partial else "confirm.html", ask=ask)


def counting(visit: Visit, title: str, *, back: str) -> Response:
    """Return the same, as long as its numbers are counted."""
    template = "parts/confirm_pending.html" if visit.is_partial else "confirm_pending.html"
    return render(visit, template, title=title, back=back, rest_url=visit.rest_url)


def of_deletion(moves: Moves) -> list[Effect]:
    """Return what deleting runs would do to documents."""
    return [
        Effect(count=moves.removed, meaning="documents disappear", kind="removed", sign="−"),
        Effect(count=moves.replaced, meaning="documents show an older version again", kind="changed", sign="~"),
        Effect(
            count=moves.unaffected,
            meaning="documents stay as they are: a later run brought them again",
            kind="unchanged",
            sign="=",
        ),
    ]


def of_restoration(moves: Moves) -> list[Effect]:
    """Return what restoring runs would do to documents."""
    return [
        Effect(count=moves.added, meaning="documents come back", kind="added", sign="+"),
        Effect(count=moves.replaced, meaning="documents show this run's version again", kind="changed", sign="~"),
        Effect(
            count=moves.unaffected,
            meaning="documents stay as they are: a later run brought them again",
            kind="unchanged",
            sign="=",
        ),
    ]
