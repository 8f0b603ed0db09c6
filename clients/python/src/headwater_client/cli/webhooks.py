"""``headwater webhooks``."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer

from headwater_client.cli import options
from headwater_client.cli.errors import ExitCode
from headwater_client.cli.options import group

app = group("Manage webhooks.")


class State(StrEnum):
    """What became of a delivery."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


Target = Annotated[str, typer.Argument(metavar="TARGET", help="The URL to post to.")]
Name = Annotated[str | None, typer.Option("--name", metavar="NAME", help="What it is called.", show_default=False)]
Types = Annotated[list[str] | None, options.of_types("Only events of that type, 'task.done' or 'task.*'; repeatable.")]
OfStream = Annotated[str | None, options.of_stream("Only what is about that stream, by its fid or name.", "-s")]
OfCrawler = Annotated[str | None, options.of_crawler("Only what is about that crawler, by its fid or name.", "-c")]
InState = Annotated[State | None, typer.Option("--state", help="Only those in that state.", show_default=False)]
Deliveries = Annotated[list[str], typer.Argument(metavar="DELIVERY", help="Their ids.")]


@app.command("list")
def list_webhooks(*, limit: options.Limit = 50, url: options.Url = None, as_json: options.AsJson = False) -> None:
    """List webhooks, newest first."""
    from headwater_client.cli import access, output, table  # noqa: PLC0415 - help need not wait for it
    from headwater_client.cli.output import Column  # noqa: PLC0415 - likewise
    from headwater_client.models.objects import Webhook  # noqa: PLC0415 - likewise

    with access.connected(url) as headwater:
        webhooks = output.first(table.first(headwater, "/webhooks", Webhook, limit), limit)
    columns: list[Column[Webhook]] = [
        Column("webhook", lambda webhook: webhook.fid, is_whole=True),
        Column("name", lambda webhook: webhook.name, may_be_empty=True),
        Column("types", lambda webhook: " ".join(webhook.types) or "(all)"),
        Column("url", lambda webhook: webhook.url),
        Column("disabled", lambda webhook: webhook.disabled_reason, may_be_empty=True),
    ]
    output.answer_list(webhooks, columns, "webhooks", as_json=as_json)


@app.command()
def show(webhook: options.Webhook, *, url: options.Url = None, as_json: options.AsJson = False) -> None:
    """Show a webhook; its secret is not shown."""
    from headwater_client.cli import access, lookup, output  # noqa: PLC0415 - help need not wait for it

    with access.connected(url) as headwater:
        output.answer_object(lookup.webhook(headwater, webhook).raw, as_json=as_json)


@app.command()
def create(
    target: Target,
    *,
    name: Name = None,
    type_: Types = None,
    stream: OfStream = None,
    crawler: OfCrawler = None,
    url: options.Url = None,
    as_json: options.AsJson = False,
) -> None:
    """Have events posted to a URL, and show the secret, once."""
    from headwater_client.cli import access, lookup, output  # noqa: PLC0415 - help need not wait for it

    with access.connected(url) as headwater:
        made = headwater.webhooks.create(
            target,
            name,
            types=type_,
            stream=None if stream is None else lookup.stream(headwater, stream),
            crawler=None if crawler is None else lookup.crawler(headwater, crawler),
        )
        if output.is_for_people(as_json=as_json):
            output.answer_made(made, "Webhook", as_json=as_json)
            typer.echo(f"Its secret, which is not shown again: {made.secret}")
        else:
            output.answer_json({**made.raw, "secret": made.secret})


@app.command()
def delete(webhook: options.Webhook, *, yes: options.Yes = False, url: options.Url = None) -> None:
    """Delete a webhook; what waits is not sent any more."""
    from headwater_client.cli import access, lookup  # noqa: PLC0415 - help need not wait for it
    from headwater_client.cli.errors import harmless  # noqa: PLC0415 - likewise
    from headwater_client.cli.prompts import agreed  # noqa: PLC0415 - likewise

    with access.connected(url) as headwater:
        found = lookup.webhook(headwater, webhook)
        agreed(f"Delete webhook {found.fid}, with what is known of its deliveries?", yes=yes)
        headwater.webhooks.delete(found)
        typer.echo(harmless(f"Webhook {found.fid} ({found.name or found.url}) is deleted."))


@app.command()
def deliveries(
    webhook: options.Webhook,
    *,
    state: InState = None,
    limit: options.Limit = 50,
    url: options.Url = None,
    as_json: options.AsJson = False,
) -> None:
    """List what was or is to be sent, newest first."""
    from headwater_client.cli import access, lookup, output, table  # noqa: PLC0415 - likewise
    from headwater_client.cli.output import Column  # noqa: PLC0415 - likewise
    from headwater_client.models.results import Delivery  # noqa: PLC0415 - help need not wait for it

    with access.connected(url) as headwater:
        path = f"/webhooks/{lookup.webhook(headwater, webhook).fid}/deliveries"
        wanted = None if state is None else state.value
        found = output.first(table.first(headwater, path, Delivery, limit, state=wanted), limit)
    columns: list[Column[Delivery]] = [
        Column("delivery", lambda each: each.id, is_whole=True),
        Column("age", lambda each: output.age(each.created_at), is_number=True),
        Column("type", lambda each: each.type),
        Column("state", lambda each: each.state, is_whole=True, is_state=True),
        Column("tries", lambda each: len(each.attempts), is_number=True),
        Column("last error", lambda each: _last_error(each.attempts), may_be_empty=True),
    ]
    output.answer_list(found, columns, "deliveries", as_json=as_json)


@app.command("test")
def send_test(webhook: options.Webhook, *, url: options.Url = None, as_json: options.InJson = False) -> None:
    """Send a test now, and tell what came of it.

    The exit code is 1 if it did not arrive.
    """
    from headwater_client.cli import access, lookup, output  # noqa: PLC0415 - help need not wait for it
    from headwater_client.cli.errors import CliError  # noqa: PLC0415 - likewise

    with access.connected(url) as headwater:
        sent = headwater.webhooks.test(lookup.webhook(headwater, webhook))
        if as_json:
            output.answer_json(sent.raw)
            if sent.state != "delivered":
                raise typer.Exit(ExitCode.FAILED)
        elif sent.state == "delivered":
            attempt = sent.attempts[-1]
            typer.echo(f"Delivered: {attempt['status']} after {attempt['duration_ms']} ms.")
        else:
            raise CliError(f"the test did not arrive: {_last_error(sent.attempts)}")


@app.command()
def replay(deliveries: Deliveries, *, url: options.Url = None) -> None:
    """Send deliveries once more, under the same ids."""
    from headwater_client.cli import access  # noqa: PLC0415 - help need not wait for it

    with access.connected(url) as headwater:
        for delivery in deliveries:
            again = headwater.webhooks.replay(delivery)
            typer.echo(f"Delivery {again.id} ({again.type}) is sent again.")


def _last_error(attempts: Sequence[Mapping[str, Any]]) -> str:
    return attempts[-1]["error"] or "" if attempts else ""
