"""The words that commands have in common: how they explain themselves, their options and arguments."""

from __future__ import annotations

from typing import Annotated, Any, Optional

import typer

from headwater_client.cli import completion

#: Plain text, so that help reads the same in a terminal, a file and the documentation.
_PLAIN: dict[str, Any] = {
    "rich_markup_mode": None,
    "pretty_exceptions_enable": False,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}


def group(help: str, *, add_completion: bool = False, **options: Any) -> typer.Typer:  # noqa: A002 - as typer calls it
    """Return a typer to which commands are added."""
    return typer.Typer(help=help, no_args_is_help=True, add_completion=add_completion, **_PLAIN, **options)


def param(help: str) -> Any:  # noqa: A002 - as typer calls it
    """Return the option by which parameters are given."""
    return typer.Option("--param", "-p", metavar="NAME=VALUE", help=help, show_default=False)


def of_stream(help: str, *short: str) -> Any:  # noqa: A002 - as typer calls it
    """Return the option by which a stream is named, with its short form if it has one."""
    return _named("stream", *short, help=help, known=completion.streams)


def of_crawler(help: str, *short: str) -> Any:  # noqa: A002 - as typer calls it
    """Return the option by which a crawler is named, with its short form if it has one."""
    return _named("crawler", *short, help=help, known=completion.crawlers)


def of_task(help: str) -> Any:  # noqa: A002 - as typer calls it
    """Return the option by which a task is named."""
    return _named("task", help=help, known=completion.tasks)


def of_types(help: str) -> Any:  # noqa: A002 - as typer calls it
    """Return the option by which types of events are named."""
    return typer.Option("--type", "-t", metavar="TYPE", help=help, show_default=False)


def _named(kind: str, *short: str, help: str, known: Any) -> Any:  # noqa: A002 - as typer calls it
    return typer.Option(f"--{kind}", *short, metavar=kind.upper(), help=help, show_default=False, autocompletion=known)


Url = Annotated[
    Optional[str],
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
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Limit = Annotated[int, typer.Option("--limit", "-n", metavar="N", help="At most so many; 0 is all.")]
Params = Annotated[Optional[list[str]], param("Override a parameter of the crawler; repeatable.")]
Version = Annotated[
    Optional[int],
    typer.Option(
        "--version",
        metavar="N",
        min=1,
        help="Of the External, instead of the published or newest one.",
        show_default=False,
    ),
]
AsOf = Annotated[
    Optional[int],
    typer.Option("--as-of", metavar="VERSION", help="As it stood at that stream version.", show_default=False),
]
Without = Annotated[
    Optional[list[str]],
    typer.Option(
        "--without",
        metavar="TASK",
        help="As if that task had not run; repeatable.",
        show_default=False,
        autocompletion=completion.tasks,
    ),
]

Crawler = Annotated[str, typer.Argument(metavar="CRAWLER", help="Its fid or name.", autocompletion=completion.crawlers)]
Stream = Annotated[str, typer.Argument(metavar="STREAM", help="Its fid or name.", autocompletion=completion.streams)]
External = Annotated[
    str, typer.Argument(metavar="EXTERNAL", help="Its fid or name.", autocompletion=completion.externals)
]
Webhook = Annotated[str, typer.Argument(metavar="WEBHOOK", help="Its fid or name.", autocompletion=completion.webhooks)]
Task = Annotated[str, typer.Argument(metavar="TASK", help="Its fid or name.", autocompletion=completion.tasks)]
Tasks = Annotated[
    list[str], typer.Argument(metavar="TASK", help="Their fids or names.", autocompletion=completion.tasks)
]
