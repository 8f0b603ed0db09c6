"""``headwater events``."""

from datetime import datetime
from typing import Annotated

import typer

from headwater_client.cli import options
from headwater_client.cli.options import group

app = group("What happens.")

OfStream = Annotated[str | None, options.of_stream("Only about that stream.")]
OfCrawler = Annotated[str | None, options.of_crawler("Only about that crawler.")]
OfTask = Annotated[str | None, options.of_task("Only about that task.")]
Types = Annotated[
    list[str] | None, options.of_types("Only of that type, such as task.done, or task for all of tasks; repeatable.")
]
Since = Annotated[
    datetime | None,
    typer.Option(
        "--since",
        metavar="MOMENT",
        help="From that moment on, with what is kept; local time, 2026-03-01T12:00:00.",
        show_default=False,
    ),
]
Behind = Annotated[
    int | None,
    typer.Option(
        "--behind", metavar="ID", min=0, help="Start after this event; 0 = oldest retained.", show_default=False
    ),
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
    url: options.Url = None,
    as_json: options.AsJson = False,
) -> None:
    """Show what happens, as it happens, until Ctrl-C.

    That is each change of a task, stream, crawler or External. When piped, each is a line of JSON.
    """
    from headwater_client.cli import access, event_feed, follow, lookup  # noqa: PLC0415 - help need not wait for it

    with access.opened(access.access(url), retry_for=follow.RETRY_FOR) as headwater:
        found = headwater.events(
            stream=None if stream is None else lookup.stream(headwater, stream),
            crawler=None if crawler is None else lookup.crawler(headwater, crawler),
            task=None if task is None else lookup.task(headwater, task),
            type=type_,
            since=None if since is None else since.astimezone(),
            last_event_id=behind,
            follow=not no_follow,
        )
        event_feed.answer(found, as_json=as_json)
