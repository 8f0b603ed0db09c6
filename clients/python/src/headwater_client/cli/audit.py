"""``headwater audit``."""

from typing import Annotated

import typer

from headwater_client.cli import options
from headwater_client.cli.options import group

app = group("Who did what to which object.")

Key = Annotated[
    str | None,
    typer.Option("--key", metavar="FID", help="Only what was done with that API key.", show_default=False),
]
Action = Annotated[
    str | None,
    typer.Option("--action", metavar="NAME", help="Only that action, such as delete_task.", show_default=False),
]
Type = Annotated[
    str | None,
    typer.Option("--type", metavar="NAME", help="Only objects of that type, such as streams.", show_default=False),
]
About = Annotated[str | None, typer.Option("--object", metavar="FID", help="Only that object.", show_default=False)]
Since = Annotated[
    str | None,
    typer.Option("--since", metavar="MOMENT", help="Then or later, such as 2026-03-01T00:00Z.", show_default=False),
]
Until = Annotated[str | None, typer.Option("--until", metavar="MOMENT", help="Before then.", show_default=False)]


@app.command()
def audit(
    *,
    key: Key = None,
    action: Action = None,
    type_: Type = None,
    about: About = None,
    since: Since = None,
    until: Until = None,
    limit: options.Limit = 50,
    url: options.Url = None,
    as_json: options.AsJson = False,
) -> None:
    """List who did what to which object, newest first."""
    from headwater_client.cli import access, output, table  # noqa: PLC0415 - likewise
    from headwater_client.cli.output import Column  # noqa: PLC0415 - likewise
    from headwater_client.models.results import AuditEntry  # noqa: PLC0415 - help need not wait for it

    wanted = {"key": key, "action": action, "type": type_, "object": about, "since": since, "until": until}
    with access.connected(url) as headwater:
        entries = output.first(table.first(headwater, "/audit", AuditEntry, limit, **wanted), limit)
    columns: list[Column[AuditEntry]] = [
        Column("age", lambda entry: output.age(entry.at), is_number=True),
        Column("who", lambda entry: entry.name),
        Column("action", lambda entry: entry.action, is_whole=True),
        Column("object", lambda entry: (entry.object or {}).get("fid"), is_whole=True),
        Column("detail", lambda entry: ", ".join(f"{name}={_short(value)}" for name, value in entry.detail.items())),
    ]
    output.answer_list(entries, columns, "entries", as_json=as_json)


def _short(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
