"""Options and arguments shared by commands."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from headwater_client.cli import completion
from headwater_client.cli.moments import moment

#: Plain text, so that help reads the same in a terminal, a file and the documentation.
_PLAIN: dict[str, Any] = {
    "rich_markup_mode": None,
    "pretty_exceptions_enable": False,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}


def group(help: str, *, add_completion: bool = False, **options: Any) -> typer.Typer:  # noqa: A002 - as typer calls it
    """Return a typer app with the common settings."""
    return typer.Typer(help=help, no_args_is_help=True, add_completion=add_completion, **_PLAIN, **options)


def param(help: str) -> Any:  # noqa: A002 - as typer calls it
    """Return the option for parameters."""
    return typer.Option("--param", "-p", metavar="NAME=VALUE", help=help, show_default=False)


def of_stream(help: str, *short: str) -> Any:  # noqa: A002 - as typer calls it
    """Return the option for a stream, with its short form if any."""
    return _named("stream", *short, help=help, known=completion.streams)


def of_crawler(help: str, *short: str) -> Any:  # noqa: A002 - as typer calls it
    """Return the option for a crawler, with its short form if any."""
    return _named("crawler", *short, help=help, known=completion.crawlers)


def of_task(help: str) -> Any:  # noqa: A002 - as typer calls it
    """Return the option for a task."""
    return _named("task", help=help, known=completion.tasks)


def point_in_time(name: str, help: str) -> Any:  # noqa: A002 - as typer calls it
    """Return an option for a point in time, or for how long ago it was."""
    return typer.Option(name, metavar="MOMENT", parser=moment, help=help, show_default=False)


def of_types(help: str) -> Any:  # noqa: A002 - as typer calls it
    """Return the option for event types."""
    return typer.Option("--type", "-t", metavar="TYPE", help=help, show_default=False)


def _named(kind: str, *short: str, help: str, known: Any) -> Any:  # noqa: A002 - as typer calls it
    return typer.Option(f"--{kind}", *short, metavar=kind.upper(), help=help, show_default=False, autocompletion=known)


class Publish(StrEnum):
    """When documents show."""

    LIVE = "live"
    ON_SUCCESS = "on_success"


class Mode(StrEnum):
    """What a run does to the documents of earlier runs."""

    MERGE = "merge"
    SNAPSHOT = "snapshot"


RunMode = Annotated[
    Mode | None,
    typer.Option(
        "--mode",
        help="merge adds and changes; of snapshot, the stream shows nothing else once it is done.",
        show_default=False,
    ),
]
RunScope = Annotated[
    list[str] | None,
    typer.Option(
        "--scope",
        metavar="CONDITION",
        help="Of a snapshot: hide only such documents, such as shop=north; repeatable.",
        show_default=False,
    ),
]
Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        help="Where Headwater is; otherwise HEADWATER_URL, the login, http://127.0.0.1:8080.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON on a terminal, too.")]
#: Of commands whose line is the same everywhere.
InJson = Annotated[bool, typer.Option("--json", help="Answer in JSON instead of a line.")]
NewName = Annotated[str | None, typer.Option("--name", metavar="NAME", help="Its new name.", show_default=False)]
Patch = Annotated[
    str | None,
    typer.Option("--patch", metavar="FILE", help="A JSON merge patch of its fields; - is stdin.", show_default=False),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Limit = Annotated[int, typer.Option("--limit", "-n", metavar="N", help="Maximum rows; 0 = unlimited.")]
Params = Annotated[list[str] | None, param("Override a parameter of the crawler; repeatable.")]
Version = Annotated[
    int | None,
    typer.Option(
        "--version",
        metavar="N",
        min=1,
        help="Of the External, instead of the published or newest one.",
        show_default=False,
    ),
]
AsOf = Annotated[
    int | None,
    typer.Option("--as-of", metavar="VERSION", help="As it stood at that stream version.", show_default=False),
]
Without = Annotated[
    list[str] | None,
    typer.Option(
        "--without",
        metavar="TASK",
        help="As if that task had not run; repeatable.",
        show_default=False,
        autocompletion=completion.tasks,
    ),
]

OfLogin = Annotated[
    str | None,
    typer.Option("--credential-fid", metavar="FID", help="Of a login at an External with OAuth.", show_default=False),
]
PasswordStdin = Annotated[bool, typer.Option("--password-stdin", help="Read the password of --credential from stdin.")]
Crawler = Annotated[
    str,
    typer.Argument(metavar="CRAWLER", help="Its fid, its start, or its name.", autocompletion=completion.crawlers),
]
Stream = Annotated[
    str,
    typer.Argument(metavar="STREAM", help="Its fid, its start, or its name.", autocompletion=completion.streams),
]
External = Annotated[
    str,
    typer.Argument(metavar="EXTERNAL", help="Its fid, its start, or its name.", autocompletion=completion.externals),
]
Webhook = Annotated[
    str,
    typer.Argument(metavar="WEBHOOK", help="Its fid, its start, or its name.", autocompletion=completion.webhooks),
]
Task = Annotated[
    str, typer.Argument(metavar="TASK", help="Its fid, its start, or its name.", autocompletion=completion.tasks)
]
Tasks = Annotated[
    list[str],
    typer.Argument(metavar="TASK", help="Their fids, or the starts of them.", autocompletion=completion.tasks),
]
