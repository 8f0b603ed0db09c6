"""``headwater crawlers``: the commands that change a crawler."""

# ruff: noqa: PLC0415 - commands import what they need, so that help need not wait for it

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headwater_client.cli import options
from headwater_client.cli.errors import CliError, ExitCode
from headwater_client.cli.options import Publish, group

if TYPE_CHECKING:
    from headwater_client.models.objects import Crawler

app = group("Changes of crawlers.")

Params = Annotated[list[str] | None, options.param("Set a parameter; repeatable.")]
Unset = Annotated[
    list[str] | None,
    typer.Option("--unset", metavar="NAME", help="Remove a parameter; repeatable.", show_default=False),
]
User = Annotated[
    str | None,
    typer.Option(
        "--credential", metavar="USER", help="Log in as that user; asks for the password.", show_default=False
    ),
]
NoCredential = Annotated[bool, typer.Option("--no-credential", help="Remove its credential.")]
When = Annotated[
    Publish | None,
    typer.Option("--publish", help="Show documents as they come, or when a task is done.", show_default=False),
]
Timeout = Annotated[
    str | None,
    typer.Option(
        "--timeout", metavar="TIME", help="Of silence, after which a task times out, such as 1h.", show_default=False
    ),
]
Retries = Annotated[
    int | None,
    typer.Option("--retries", metavar="N", min=0, help="Of a task that failed or timed out.", show_default=False),
]
Cron = Annotated[
    str | None, typer.Option("--cron", metavar="EXPRESSION", help="Such as '30 2 * * *'.", show_default=False)
]
Zone = Annotated[
    str | None,
    typer.Option("--timezone", metavar="ZONE", help="Of --cron, such as Europe/Berlin; else UTC.", show_default=False),
]
Every = Annotated[
    str | None,
    typer.Option("--every", metavar="TIME", help="From one run to the next, such as 6h.", show_default=False),
]
Jitter = Annotated[
    str | None,
    typer.Option("--jitter", metavar="TIME", help="Delay each run by a random time up to this.", show_default=False),
]
Grace = Annotated[
    str | None,
    typer.Option("--grace", metavar="TIME", help="How late a run may end, such as 30m.", show_default=False),
]
Off = Annotated[bool, typer.Option("--off", help="Remove it.")]
MinDocs = Annotated[
    int | None, typer.Option("--min-docs", metavar="N", min=0, help="A run brings at least these.", show_default=False)
]
MaxShrink = Annotated[
    float | None,
    typer.Option(
        "--max-shrink", metavar="SHARE", help="Fewer than the last good run at most; 0 to 1.", show_default=False
    ),
]
MaxRejected = Annotated[
    float | None,
    typer.Option(
        "--max-rejected", metavar="N", help="Rejected lines at most; below 1 a share of all.", show_default=False
    ),
]
Cascade = Annotated[bool, typer.Option("--cascade", help="Its tasks too, with their documents, for good.")]


@app.command()
def edit(
    crawler: options.Crawler,
    *,
    name: options.NewName = None,
    param: Params = None,
    unset: Unset = None,
    credential: User = None,
    credential_fid: options.OfLogin = None,
    no_credential: NoCredential = False,
    password_stdin: options.PasswordStdin = False,
    publish: When = None,
    mode: options.RunMode = None,
    scope: options.RunScope = None,
    timeout: Timeout = None,
    retries: Retries = None,
    patch: options.Patch = None,
    version: options.Version = None,
    url: options.Url = None,
    as_json: options.InJson = False,
) -> None:
    """Change a crawler.

    Without options, its fields are opened in an editor. Running tasks go on with what they were started with.
    """
    from headwater_client.cli import access, credentials, durations, edits, lookup, parameters

    with access.connected(url) as headwater:
        found = lookup.crawler(headwater, crawler)
        external = lookup.to_run(headwater, headwater.externals.get(found.external), version)
        values: dict[str, Any] = {**parameters.values(external.parameters, param or []), **dict.fromkeys(unset or ())}
        fields = edits.given(name, patch)
        if values:
            fields["params"] = values
        if credential is not None or credential_fid is not None:
            fields["credential"] = credentials.named(headwater, external, credential_fid) or credentials.asked(
                external, credential, from_stdin=password_stdin
            )
        elif no_credential:
            fields["credential"] = None
        fields |= {} if publish is None else {"publish": publish.value}
        fields |= {} if mode is None else {"mode": mode.value}
        fields |= {} if scope is None else {"scope": scope}
        fields |= {} if timeout is None else {"timeout": durations.seconds(timeout, "--timeout")}
        fields |= {} if retries is None else {"retries": retries}
        fields = fields or edits.by_hand(found, edits.OF_CRAWLER)
        changed = headwater.crawlers.update(found, fields, if_version=found.version, version=version)
        edits.answer(changed, "Crawler", fields, as_json=as_json)


@app.command()
def pause(crawler: options.Crawler, *, url: options.Url = None, as_json: options.InJson = False) -> None:
    """Start no runs by schedule until it is resumed."""
    _set_paused(crawler, is_paused=True, url=url, as_json=as_json)


@app.command()
def resume(crawler: options.Crawler, *, url: options.Url = None, as_json: options.InJson = False) -> None:
    """Start runs by schedule again.

    Runs that were due meanwhile are not made up for.
    """
    _set_paused(crawler, is_paused=False, url=url, as_json=as_json)


def _set_paused(ref: str, *, is_paused: bool, url: str | None, as_json: bool) -> None:
    from headwater_client.cli import access, lookup, schedules

    with access.connected(url) as headwater:
        found = lookup.crawler(headwater, ref)
        if found.schedule is None:
            raise CliError(f"crawler {found.name or found.fid} has no schedule: 'headwater crawlers schedule' sets one")
        changed = headwater.crawlers.update(found, {"schedule": {"paused": is_paused}})
        schedules.answer(changed, as_json=as_json)


@app.command()
def schedule(
    crawler: options.Crawler,
    *,
    cron: Cron = None,
    timezone: Zone = None,
    every: Every = None,
    jitter: Jitter = None,
    off: Off = False,
    url: options.Url = None,
    as_json: options.InJson = False,
) -> None:
    """Show when a crawler runs automatically, or set it."""
    from headwater_client.cli import schedules

    changes = schedules.fields(cron=cron, timezone=timezone, every=every, jitter=jitter)
    found = _shown_or_set(crawler, "schedule", changes, off=off, url=url)
    schedules.answer(found, as_json=as_json)


@app.command()
def expect(
    crawler: options.Crawler,
    *,
    cron: Cron = None,
    timezone: Zone = None,
    every: Every = None,
    grace: Grace = None,
    off: Off = False,
    url: options.Url = None,
    as_json: options.InJson = False,
) -> None:
    """Show when a run should have ended well, or set it.

    If none has, there is the event crawler.missed, which notifications tell of. It goes for runs that are pushed, too.
    """
    from headwater_client.cli import schedules

    changes = schedules.expected(cron=cron, timezone=timezone, every=every, grace=grace)
    found = _shown_or_set(crawler, "expect", changes, off=off, url=url)
    schedules.answer_expected(found, as_json=as_json)


@app.command()
def gates(
    crawler: options.Crawler,
    *,
    min_docs: MinDocs = None,
    max_shrink: MaxShrink = None,
    max_rejected: MaxRejected = None,
    off: Off = False,
    url: options.Url = None,
    as_json: options.InJson = False,
) -> None:
    """Show the conditions for publishing a crawler's runs, or set them."""
    from headwater_client.cli import schedules
    from headwater_client.requests import given

    changes = given(min_docs=min_docs, max_shrink=max_shrink, max_rejected=max_rejected)
    found = _shown_or_set(crawler, "gates", changes, off=off, url=url)
    schedules.answer_gates(found, as_json=as_json)


def _shown_or_set(ref: str, field: str, changes: Mapping[str, Any], *, off: bool, url: str | None) -> "Crawler":
    """Return a crawler, after setting a field of it if there are changes, or removing it."""
    from headwater_client.cli import access, lookup

    if off and changes:
        raise CliError("--off goes with no other option", code=ExitCode.USAGE)
    with access.connected(url) as headwater:
        found = lookup.crawler(headwater, ref)
        if off or changes:
            return headwater.crawlers.update(found, {field: None if off else changes})
        return found


@app.command()
def delete(
    crawler: options.Crawler, *, cascade: Cascade = False, yes: options.Yes = False, url: options.Url = None
) -> None:
    """Delete a crawler, for good."""
    from headwater_client.cli import access, edits, lookup

    with access.connected(url) as headwater:
        found = lookup.crawler(headwater, crawler)
        more = " with all its tasks and their documents" if cascade else ""
        edits.delete(headwater.crawlers, found, "crawler", more, cascade=cascade, yes=yes)
