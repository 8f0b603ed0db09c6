"""``headwater notify``."""

from typing import Annotated

import typer

from headwater_client.cli import options
from headwater_client.cli.options import group

app = group("Tell people of runs that went wrong.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="What it is called.")]
Target = Annotated[str, typer.Argument(metavar="TARGET", help="An Apprise URL: slack://…, mailto://…, and others.")]
Notification = Annotated[str, typer.Argument(metavar="NOTIFICATION", help="Its fid or name.")]
Events = Annotated[
    list[str] | None,
    options.of_types("Only events of that type, 'task.failed'; repeatable. Otherwise all that went wrong."),
]
OfStreams = Annotated[list[str] | None, options.of_stream("Only of that stream, by its fid or name; repeatable.", "-s")]
OfCrawlers = Annotated[
    list[str] | None, options.of_crawler("Only of that crawler, by its fid or name; repeatable.", "-c")
]
MaxRejected = Annotated[
    float | None,
    typer.Option("--max-rejected", metavar="SHARE", help="And more rejected lines, 0.05.", show_default=False),
]
MaxShrink = Annotated[
    float | None,
    typer.Option("--max-shrink", metavar="SHARE", help="And fewer documents than usual, 0.3.", show_default=False),
]
Group = Annotated[
    int | None,
    typer.Option(
        "--group", metavar="SECONDS", help="Collect news so long for one message; otherwise 60.", show_default=False
    ),
]


@app.command("list")
def list_notifications(*, limit: options.Limit = 50, url: options.Url = None, as_json: options.AsJson = False) -> None:
    """List notifications, newest first."""
    from headwater_client.cli import access, output, table  # noqa: PLC0415 - help need not wait for it
    from headwater_client.cli.output import Column  # noqa: PLC0415 - likewise
    from headwater_client.models.objects import Notification as Found  # noqa: PLC0415 - likewise

    with access.connected(url) as headwater:
        found = output.first(table.first(headwater, "/notifications", Found, limit), limit)
    columns: list[Column[Found]] = [
        Column("notification", lambda each: each.fid, is_whole=True),
        Column("name", lambda each: each.name, may_be_empty=True),
        Column("to", lambda each: each.url),
        Column("sent", lambda each: output.age(each.last_sent_at), is_number=True, may_be_empty=True),
        Column("last error", lambda each: each.last_error, may_be_empty=True),
    ]
    output.answer_list(found, columns, "notifications", as_json=as_json)


@app.command()
def create(
    name: Name,
    target: Target,
    *,
    type_: Events = None,
    stream: OfStreams = None,
    crawler: OfCrawlers = None,
    max_rejected: MaxRejected = None,
    max_shrink: MaxShrink = None,
    group_: Group = None,
    url: options.Url = None,
    as_json: options.AsJson = False,
) -> None:
    """Tell people by a service. 'test' says whether it works."""
    from headwater_client.cli import access, lookup, output  # noqa: PLC0415 - help need not wait for it

    with access.connected(url) as headwater:
        made = headwater.notifications.create(
            target,
            name,
            events=type_,
            streams=[lookup.stream(headwater, each) for each in stream or []],
            crawlers=[lookup.crawler(headwater, each) for each in crawler or []],
            conditions={"max_rejected": max_rejected, "max_shrink": max_shrink},
            group_seconds=group_,
        )
        output.answer_made(made, "Notification", as_json=as_json)


@app.command()
def delete(notification: Notification, *, yes: options.Yes = False, url: options.Url = None) -> None:
    """Delete a notification."""
    from headwater_client.cli import access, lookup  # noqa: PLC0415 - help need not wait for it
    from headwater_client.cli.errors import harmless  # noqa: PLC0415 - likewise
    from headwater_client.cli.prompts import agreed  # noqa: PLC0415 - likewise

    with access.connected(url) as headwater:
        found = lookup.notification(headwater, notification)
        agreed(f"Delete notification {found.fid}?", yes=yes)
        headwater.notifications.delete(found)
        typer.echo(harmless(f"Notification {found.fid} ({found.name or found.url}) is deleted."))


@app.command("test")
def send_test(notification: Notification, *, url: options.Url = None, as_json: options.InJson = False) -> None:
    """Send a test message now, and tell whether the service took it.

    The exit code is 1 if it did not.
    """
    from headwater_client.cli import access, lookup, output  # noqa: PLC0415 - help need not wait for it
    from headwater_client.cli.errors import CliError, ExitCode  # noqa: PLC0415 - likewise

    with access.connected(url) as headwater:
        result = headwater.notifications.test(lookup.notification(headwater, notification))
        if as_json:
            output.answer_json(result.raw)
            if not result.sent:
                raise typer.Exit(ExitCode.FAILED)
        elif result.sent:
            typer.echo("Sent.")
        else:
            raise CliError(f"the test was not sent: {result.error}")
