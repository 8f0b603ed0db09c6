"""``headwater push``."""

from typing import Annotated

import typer

from headwater_client.cli import options
from headwater_client.cli.options import group
from headwater_client.cli.push.formats import Format

app = group("Upload a file.")

Path = Annotated[
    str, typer.Argument(metavar="FILE", help="NDJSON, JSON or CSV, also compressed by gzip or zstd; - is stdin.")
]
Said = Annotated[
    Format | None,
    typer.Option(
        "--format", help="What is in the file, if its name does not tell; of stdin, ndjson.", show_default=False
    ),
]
Delimiter = Annotated[
    str | None,
    typer.Option("--delimiter", metavar="CHARACTER", help="Of CSV, such as ';' or 'tab'; recognized unless given."),
]
New = Annotated[bool, typer.Option("--new", help="Stop an open task first, instead of going on with it.")]
Lenient = Annotated[
    bool, typer.Option("--lenient", help="Leave documents aside that do not match, instead of failing.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only read the file, and say what would be uploaded.")]


@app.command()
def push(
    crawler: options.Crawler,
    file: Path,
    *,
    form: Said = None,
    delimiter: Delimiter = None,
    param: options.Params = None,
    version: options.Version = None,
    mode: options.RunMode = None,
    scope: options.RunScope = None,
    lenient: Lenient = False,
    new: New = False,
    dry_run: DryRun = False,
    url: options.Url = None,
    as_json: options.InJson = False,
) -> None:
    """Upload a file's documents as a run of a crawler.

    Starts a task, uploads, and closes the task. If that is interrupted, the same command goes on with what the server
    does not have yet. A document that is refused is told with its line in the file, and the task is closed as failed;
    with --lenient it is kept aside with the task, and 'headwater tasks rejects' shows it.

    Rows of CSV become documents by the names in the header. A cell is a text, unless the External's schema wants a
    number, integer, boolean, array or object there. Empty cells and empty rows are omitted.
    """
    from headwater_client.cli.push import job  # noqa: PLC0415 - help need not wait for it
    from headwater_client.cli.push.files import File  # noqa: PLC0415 - likewise

    source = File.named(file, form, delimiter)
    job.push(
        url,
        crawler,
        source,
        param or [],
        version=version,
        mode=None if mode is None else mode.value,
        scope=scope,
        lenient=lenient,
        anew=new,
        only_count=dry_run,
        as_json=as_json,
    )
