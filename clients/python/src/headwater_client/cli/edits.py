"""Changes and deletions of objects: what the commands of all types share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import typer

from headwater_client.cli import editor, output, prompts
from headwater_client.cli.errors import CliError, ExitCode, harmless
from headwater_client.cli.register import read_json
from headwater_client.errors import InUse

if TYPE_CHECKING:
    from headwater_client.models.objects import Object

#: The fields that are opened in the editor.
OF_CRAWLER = ("meta", "params", "schedule", "timeout", "publish", "mode", "scope", "gates", "retries")


def given(name: str | None, patch: str | None) -> dict[str, Any]:
    """Return the merge patch of the options that all objects have.

    Raises:
        CliError: the file is not a JSON object.
    """
    fields: Any = {} if patch is None else read_json(patch)
    if not isinstance(fields, dict):
        raise CliError(f"{patch} holds no JSON object", code=ExitCode.USAGE)
    found = cast("dict[str, Any]", fields)
    return found if name is None else {**found, "meta": {**(found.get("meta") or {}), "name": name}}


def writable(found: Object, names: Sequence[str]) -> dict[str, Any]:
    """Return those fields of an object."""
    return {name: found.raw[name] for name in names if name in found.raw}


def by_hand(found: Object, names: Sequence[str]) -> dict[str, Any]:
    """Let a person edit fields of an object, and return the merge patch.

    Raises:
        CliError: that cannot be done, or nothing was changed.
    """
    before = writable(found, names)
    return _something(editor.difference(before, editor.edited(before)))


def differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that a person has changed; null for those that were removed.

    Raises:
        CliError: nothing was changed.
    """
    names = [*before, *(name for name in after if name not in before)]
    return _something({name: after.get(name) for name in names if before.get(name) != after.get(name)})


def _something(changes: dict[str, Any]) -> dict[str, Any]:
    if not changes:
        raise CliError("nothing was changed")
    return changes


def answer(changed: Object, kind: str, fields: Mapping[str, Any], *, as_json: bool) -> None:
    """Print an object that was changed."""
    if as_json:
        output.answer_json(changed.raw)
        return
    named = harmless(f"{kind} {changed.fid} ({changed.name or ''})")
    typer.echo(f"{named} is changed: {', '.join(sorted(fields))}.")


def delete(shelf: Any, found: Object, kind: str, more: str, *, cascade: bool, yes: bool) -> None:
    """Delete an object, after a confirmation.

    Raises:
        CliError: it was not confirmed, or something depends on it.
    """
    prompts.agreed(harmless(f"Nothing brings {kind} {found.name or found.fid}{more} back. Delete it?"), yes=yes)
    try:
        shelf.delete(found, cascade=cascade)
    except InUse as error:
        raise CliError(f"{str(error).partition(';')[0]}: --cascade deletes it too") from error
    typer.echo(f"{kind[:1].upper()}{kind[1:]} {found.fid} is deleted.")
