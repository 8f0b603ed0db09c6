"""Schedules and gates of crawlers: read from options, and printed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from headwater_client.cli import durations, output
from headwater_client.cli.errors import CliError, ExitCode, harmless

if TYPE_CHECKING:
    from headwater_client.models.objects import Crawler

#: What a gate requires of a run, in words.
_GATES = {
    "min_docs": "at least {:,.0f} documents",
    "max_shrink": "at most {:.0%} fewer documents than the last good run",
    "max_rejected": "at most {:g} rejected lines",
}


def fields(*, cron: str | None, timezone: str | None, every: str | None, jitter: str | None) -> dict[str, Any]:
    """Return the merge patch for a schedule.

    Raises:
        CliError: the options do not go together.
    """
    if cron is not None and every is not None:
        raise CliError("say when: --cron or --every", code=ExitCode.USAGE)
    changes: dict[str, Any] = {}
    if cron is not None:
        changes |= {"cron": cron, "every": None}
    if every is not None:
        changes |= {"every": durations.seconds(every, "--every"), "cron": None, "timezone": None}
    if timezone is not None:
        changes["timezone"] = timezone
    if jitter is not None:
        changes["jitter"] = durations.seconds(jitter, "--jitter")
    return changes


def expected(*, cron: str | None, timezone: str | None, every: str | None, grace: str | None) -> dict[str, Any]:
    """Return the merge patch for when runs are expected.

    Raises:
        CliError: the options do not go together.
    """
    changes = fields(cron=cron, timezone=timezone, every=every, jitter=None)
    return changes if grace is None else {**changes, "grace": durations.seconds(grace, "--grace")}


def answer_expected(crawler: Crawler, *, as_json: bool) -> None:
    """Print when a run of a crawler should have ended well, and since when none has."""
    names = ("expect", "expected_by", "missed_since")
    if as_json:
        output.answer_json({name: crawler.raw.get(name) for name in names})
        return
    found: dict[str, Any] | None = crawler.raw.get("expect")
    who = f"Crawler {crawler.name or crawler.fid}"
    if found is None:
        typer.echo(harmless(f"{who}: no run is expected."))
        return
    when = (
        f"at {found['cron']} ({found.get('timezone') or 'UTC'})" if found.get("cron") else f"every {found['every']} s"
    )
    by = crawler.expected_by
    upcoming = f", by {by.astimezone():%Y-%m-%d %H:%M %Z}" if by else ""
    missed = crawler.missed_since
    late = f"; missed since {missed.astimezone():%Y-%m-%d %H:%M %Z}" if missed else ""
    typer.echo(harmless(f"{who}: a run should end well {when}, {found['grace']} s later at most{upcoming}{late}."))


def answer(crawler: Crawler, *, as_json: bool) -> None:
    """Print when a crawler runs."""
    if as_json:
        output.answer_json({"schedule": crawler.schedule, "next_run_at": crawler.raw.get("next_run_at")})
        return
    typer.echo(harmless(f"Crawler {crawler.name or crawler.fid} runs {described(crawler)}."))


def described(crawler: Crawler) -> str:
    """Return a crawler's schedule in words."""
    found = crawler.schedule
    if found is None:
        return "by hand only"
    every = found.get("every")
    when = f"at {found['cron']} ({found.get('timezone') or 'UTC'})" if found.get("cron") else f"every {every} s"
    jitter = f", delayed by up to {found['jitter']} s" if found.get("jitter") else ""
    if found.get("paused"):
        return f"{when}{jitter}, and is paused"
    upcoming = crawler.next_run_at
    return f"{when}{jitter}" + (f", next at {upcoming.astimezone():%Y-%m-%d %H:%M %Z}" if upcoming else "")


def answer_gates(crawler: Crawler, *, as_json: bool) -> None:
    """Print what a crawler's runs must meet to be published."""
    held = {name: value for name, value in (crawler.gates or {}).items() if value is not None}
    if as_json:
        output.answer_json(crawler.gates)
        return
    needs = [words.format(held[name]) for name, words in _GATES.items() if name in held]
    who = f"Crawler {crawler.name or crawler.fid}"
    typer.echo(harmless(f"{who}: a run needs {', '.join(needs)}." if needs else f"{who}: every run is published."))
