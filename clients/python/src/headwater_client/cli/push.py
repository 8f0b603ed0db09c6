"""``headwater push``."""

# Annotations are not put off: on Python 3.9 typer does not resolve them.

from typing import Annotated, Optional

import typer

from headwater_client.cli import words
from headwater_client.cli.pushing.forms import Form
from headwater_client.cli.words import group

app = group("Upload a file.")

Path = Annotated[
    str, typer.Argument(metavar="FILE", help="NDJSON, JSON or CSV, also compressed by gzip or zstd; - is stdin.")
]
Said = Annotated[
    Optional[Form],
    typer.Option(
        "--format", help="What is in the file, if its name does not tell; of stdin, ndjson.", show_default=False
    ),
]
Delimiter = Annotated[
    Optional[str],
    typer.Option("--delimiter", metavar="CHARACTER", help="Of CSV, such as ';' or 'tab'; otherwise a comma."),
]
New = Annotated[bool, typer.Option("--new", help="Stop an open task first, instead of going on with it.")]
Lenient = Annotated[
    bool, typer.Option("--lenient", help="Leave documents aside that do not match, instead of failing.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only read the file, and say what would be uploaded.")]


@app.command()
def push(
    crawler: words.Crawler,
    file: Path,
    *,
    form: Said = None,
    delimiter: Delimiter = None,
    param: words.Params = None,
    version: words.Version = None,
    lenient: Lenient = False,
    new: New = False,
    dry_run: DryRun = False,
    url: words.Url = None,
    as_json: words.InJson = False,
) -> None:
    """Upload a file's documents as a run of a crawler.

    Starts a task, uploads, and closes the task. If that is interrupted, the same command goes on with what the server
    does not have yet. A document that is refused is told with its line in the file, and the task is closed as failed;
    with --lenient it is kept aside with the task, and 'headwater tasks rejects' shows it.

    Rows of CSV become documents by the names in the header: texts, unless the External's schema says number, integer or
    boolean of a field. Empty cells are left away.
    """
    from headwater_client.cli.pushing import job  # noqa: PLC0415 - help need not wait for it
    from headwater_client.cli.pushing.files import File  # noqa: PLC0415 - likewise

    source = File.named(file, form, delimiter)
    job.push(
        url,
        crawler,
        source,
        param or [],
        version=version,
        lenient=lenient,
        anew=new,
        only_count=dry_run,
        as_json=as_json,
    )
