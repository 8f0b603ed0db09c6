"""``headwater events``."""

# Annotations are not put off: on Python 3.9 typer does not resolve them.

from datetime import datetime
from typing import Annotated, Optional

import typer

from headwater_client.cli import words
from headwater_client.cli.words import group

app = group("What happens.")

OfStream = Annotated[Optional[str], words.of_stream("Only about that stream.")]
OfCrawler = Annotated[Optional[str], words.of_crawler("Only about that crawler.")]
OfTask = Annotated[Optional[str], words.of_task("Only about that task.")]
Types = Annotated[
    Optional[list[str]], words.of_types("Only of that type, such as task.done, or task for all of tasks; repeatable.")
]
Since = Annotated[
    Optional[datetime],
    typer.Option(
        "--since",
        metavar="MOMENT",
        help="From that moment on, with what is kept; local time, 2026-03-01T12:00:00.",
        show_default=False,
    ),
]
Behind = Annotated[
    Optional[int],
    typer.Option("--behind", metavar="ID", min=0, help="Behind that event; 0 is all that is kept.", show_default=False),
]
NoFollow = Annotated[bool, typer.Option("--no-follow", help="End with what there is, instead of waiting for more.")]


@app.command()
def events(
    *,
    stream: OfStream = None,
    crawler: OfCrawler = None,
    task: OfTask = None,
    type_: Types = None,
    since: Since = None,
    behind: Behind = None,
    no_follow: NoFollow = False,
    url: words.Url = None,
    as_json: words.AsJson = False,
) -> None:
    """Show what happens, as it happens, until Ctrl-C.

    That is each change of a task, stream, crawler or External. Elsewhere than on a terminal, each is a line of JSON.
    """
    from headwater_client.cli import access, happenings, names, running  # noqa: PLC0415 - help need not wait for it

    with access.opened(access.access(url), patience=running.PATIENCE) as headwater:
        told = headwater.events(
            stream=None if stream is None else names.stream(headwater, stream),
            crawler=None if crawler is None else names.crawler(headwater, crawler),
            task=None if task is None else names.task(headwater, task),
            type=type_,
            since=None if since is None else since.astimezone(),
            last_event_id=behind,
            follow=not no_follow,
        )
        happenings.answer(told, as_json=as_json)
