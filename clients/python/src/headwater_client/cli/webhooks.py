"""``headwater webhooks``."""

# Annotations are not put off: on Python 3.9 typer does not resolve them.

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Annotated, Any, Optional

import typer

from headwater_client.cli import words
from headwater_client.cli.endings import Code
from headwater_client.cli.words import group

app = group("What happens, posted to others.")


class State(str, Enum):
    """What became of a delivery."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


Target = Annotated[str, typer.Argument(metavar="TARGET", help="The URL to post to.")]
Name = Annotated[Optional[str], typer.Option("--name", metavar="NAME", help="What it is called.", show_default=False)]
Types = Annotated[Optional[list[str]], words.of_types("Only events of that type, 'task.done' or 'task.*'; repeatable.")]
OfStream = Annotated[Optional[str], words.of_stream("Only what is about that stream, by its fid or name.", "-s")]
OfCrawler = Annotated[Optional[str], words.of_crawler("Only what is about that crawler, by its fid or name.", "-c")]
InState = Annotated[Optional[State], typer.Option("--state", help="Only those in that state.", show_default=False)]
Deliveries = Annotated[list[str], typer.Argument(metavar="DELIVERY", help="Their ids.")]


@app.command("list")
def list_webhooks(*, limit: words.Limit = 50, url: words.Url = None, as_json: words.AsJson = False) -> None:
    """List webhooks, newest first."""
    from headwater_client.cli import access, lists, output  # noqa: PLC0415 - help need not wait for it
    from headwater_client.cli.output import Column  # noqa: PLC0415 - likewise
    from headwater_client.objects import Webhook  # noqa: PLC0415 - likewise

    with access.connected(url) as headwater:
        webhooks = output.first(lists.first(headwater, "/webhooks", Webhook, limit), limit)
    columns: list[Column[Webhook]] = [
        Column("webhook", lambda webhook: webhook.fid, is_whole=True),
        Column("name", lambda webhook: webhook.name, may_be_empty=True),
        Column("types", lambda webhook: " ".join(webhook.types) or "(all)"),
        Column("url", lambda webhook: webhook.url),
        Column("disabled", lambda webhook: webhook.disabled_reason, may_be_empty=True),
    ]
    output.answer_list(webhooks, columns, "webhooks", as_json=as_json)


@app.command()
def show(webhook: words.Webhook, *, url: words.Url = None, as_json: words.AsJson = False) -> None:
    """Show a webhook; its secret is not shown."""
    from headwater_client.cli import access, names, output  # noqa: PLC0415 - help need not wait for it

    with access.connected(url) as headwater:
        output.answer_object(names.webhook(headwater, webhook).raw, as_json=as_json)


@app.command()
def create(
    target: Target,
    *,
    name: Name = None,
    type_: Types = None,
    stream: OfStream = None,
    crawler: OfCrawler = None,
    url: words.Url = None,
    as_json: words.AsJson = False,
) -> None:
    """Have events posted to a URL, and show the secret, once."""
    from headwater_client.cli import access, names, output  # noqa: PLC0415 - help need not wait for it

    with access.connected(url) as headwater:
        made = headwater.webhooks.create(
            target,
            name,
            types=type_,
            stream=None if stream is None else names.stream(headwater, stream),
            crawler=None if crawler is None else names.crawler(headwater, crawler),
        )
        if output.is_for_people(as_json=as_json):
            output.answer_made(made, "Webhook", as_json=as_json)
            typer.echo(f"Its secret, which is not shown again: {made.secret}")
        else:
            output.answer_json({**made.raw, "secret": made.secret})


@app.command()
def delete(webhook: words.Webhook, *, yes: words.Yes = False, url: words.Url = None) -> None:
    """Delete a webhook; what waits is not sent any more."""
    from headwater_client.cli import access, names  # noqa: PLC0415 - help need not wait for it
    from headwater_client.cli.asking import agreed  # noqa: PLC0415 - likewise
    from headwater_client.cli.endings import harmless  # noqa: PLC0415 - likewise

    with access.connected(url) as headwater:
        found = names.webhook(headwater, webhook)
        agreed(f"Delete webhook {found.fid}, with what is known of its deliveries?", yes=yes)
        headwater.webhooks.delete(found)
        typer.echo(harmless(f"Webhook {found.fid} ({found.name or found.url}) is deleted."))


@app.command()
def deliveries(
    webhook: words.Webhook,
    *,
    state: InState = None,
    limit: words.Limit = 50,
    url: words.Url = None,
    as_json: words.AsJson = False,
) -> None:
    """List what was or is to be sent, newest first."""
    from headwater_client.answers import Delivery  # noqa: PLC0415 - help need not wait for it
    from headwater_client.cli import access, lists, names, output  # noqa: PLC0415 - likewise
    from headwater_client.cli.output import Column  # noqa: PLC0415 - likewise

    with access.connected(url) as headwater:
        path = f"/webhooks/{names.webhook(headwater, webhook).fid}/deliveries"
        wanted = None if state is None else state.value
        found = output.first(lists.first(headwater, path, Delivery, limit, state=wanted), limit)
    columns: list[Column[Delivery]] = [
        Column("delivery", lambda each: each.id, is_whole=True),
        Column("age", lambda each: output.age(each.created_at), is_number=True),
        Column("type", lambda each: each.type),
        Column("state", lambda each: each.state, is_whole=True),
        Column("tries", lambda each: len(each.attempts), is_number=True),
        Column("last error", lambda each: _last_error(each.attempts), may_be_empty=True),
    ]
    output.answer_list(found, columns, "deliveries", as_json=as_json)


@app.command("test")
def send_test(webhook: words.Webhook, *, url: words.Url = None, as_json: words.InJson = False) -> None:
    """Send a test now, and tell what came of it.

    The exit code is 1 if it did not arrive.
    """
    from headwater_client.cli import access, names, output  # noqa: PLC0415 - help need not wait for it
    from headwater_client.cli.endings import Refusal  # noqa: PLC0415 - likewise

    with access.connected(url) as headwater:
        sent = headwater.webhooks.test(names.webhook(headwater, webhook))
        if as_json:
            output.answer_json(sent.raw)
            if sent.state != "delivered":
                raise typer.Exit(Code.FAILED)
        elif sent.state == "delivered":
            attempt = sent.attempts[-1]
            typer.echo(f"Delivered: {attempt['status']} after {attempt['duration_ms']} ms.")
        else:
            raise Refusal(f"the test did not arrive: {_last_error(sent.attempts)}")


@app.command()
def replay(deliveries: Deliveries, *, url: words.Url = None) -> None:
    """Send deliveries once more, under the same ids."""
    from headwater_client.cli import access  # noqa: PLC0415 - help need not wait for it

    with access.connected(url) as headwater:
        for delivery in deliveries:
            again = headwater.webhooks.replay(delivery)
            typer.echo(f"Delivery {again.id} ({again.type}) is sent again.")


def _last_error(attempts: Sequence[Mapping[str, Any]]) -> str:
    return attempts[-1]["error"] or "" if attempts else ""
