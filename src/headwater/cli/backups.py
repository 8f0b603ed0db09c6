"""``headwater backup``, ``restore`` and ``verify``."""

# ruff: noqa: PLC0415 - commands import what they need, so that help need not wait for it

import contextlib
import json
from collections.abc import Generator
from functools import partial
from typing import Annotated

import typer

from headwater.cli.shared import Data, fail, many, now, read_settings

app = typer.Typer()

Target = Annotated[
    str, typer.Argument(metavar="TARGET", help="A directory for backups, or s3://bucket/prefix, gs://…, az://….")
]
#: Of the data directory: files on their way to an object store.
_SCRATCH = "backup"


@app.command()
def backup(
    target: Target,
    data: Data = None,
    keep: Annotated[
        int | None, typer.Option(min=1, help="Delete all but so many, the newest.", show_default="all")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,  # noqa: FBT002 - a flag
) -> None:
    """Back up catalog and documents, beside a running server.

    Only files that earlier backups do not have are copied. The secret key is not backed up: keep it elsewhere.
    """
    from headwater import bootstrap
    from headwater.backup.archive import Archive
    from headwater.backup.places import place_at
    from headwater.backup.save import save

    settings = read_settings(data=data)
    with _backup_errors():
        archive = Archive(place_at(target, settings.data / _SCRATCH))
        settings.require_elsewhere(target.rstrip("/"))
        with archive.locked(), bootstrap.opened_store_to_back_up(settings) as store:
            saved = save(archive, store, url=settings.catalog_url, at=now())
            if keep is not None:
                archive.forget(keep)
    manifest = saved.manifest
    size = sum(file.size for file in manifest.files)
    if as_json:
        made = {"backup": manifest.name, "files": len(manifest.files), "new_files": saved.new_files}
        typer.echo(json.dumps(made | {"bytes": size, "new_bytes": saved.new_bytes}))
        return
    typer.echo(
        f"Backup {manifest.name}: {many(len(manifest.files), 'file')} of {size:,} bytes, "
        f"{saved.new_files} of them new; the catalog has {manifest.catalog.size:,} bytes."
    )
    if settings.secret_key is None:
        typer.echo(f"Keep {settings.data / 'secret.key'} elsewhere: without it, credentials are lost.")


@app.command()
def restore(
    target: Target,
    data: Data = None,
    name: Annotated[str | None, typer.Option("--backup", help="Its name.", show_default="the newest")] = None,
    listed: Annotated[bool, typer.Option("--list", help="Only list the backups.")] = False,  # noqa: FBT002 - a flag
) -> None:
    """Restore a backup into an empty data directory.

    The server must not run.
    """
    from headwater import bootstrap
    from headwater.backup.archive import Archive
    from headwater.backup.places import place_at
    from headwater.backup.restore import restore as put_back

    settings = read_settings(data=data)
    with _backup_errors():
        archive = Archive(place_at(target, settings.data / _SCRATCH))
        if listed:
            for each in archive.names():
                typer.echo(each)
            return
        manifest = archive.manifest(name)
        opened = partial(bootstrap.opened_store, settings, None)
        put_back(archive, manifest, settings.data, url=settings.catalog_url, opened=opened)
        bootstrap.record_lake_place(settings)
    lake = "" if settings.lake_url is None else f", its documents to {settings.lake_url}"
    typer.echo(f"Backup {manifest.name} of {manifest.at} is restored to {settings.data}{lake}.")
    if settings.secret_key is None:
        typer.echo(f"Put its secret.key into {settings.data} before the server starts.")


@app.command()
def verify(
    data: Data = None,
    rate: Annotated[str, typer.Option(metavar="SIZE", help="Bytes to read a second: 50MB, 0 = unlimited.")] = "0",
    resume: Annotated[bool, typer.Option(help="Go on where an interrupted run was.")] = False,  # noqa: FBT002 - a flag
    repair: Annotated[  # noqa: FBT002 - a flag
        bool, typer.Option("--repair", help="Do what the report names as repair; keeps aside what it removes.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,  # noqa: FBT002 - a flag
) -> None:
    """Verify catalog and documents against each other.

    The server may run meanwhile. The exit code is 1 if something is wrong.
    """
    from pydantic import ByteSize, TypeAdapter, ValidationError

    from headwater import bootstrap
    from headwater.backup import verify as verification

    settings = read_settings(data=data)
    try:
        pace = verification.Pace(int(TypeAdapter(ByteSize).validate_python(rate)) or None)
        bootstrap.prepare_catalog(settings)
    except ValidationError:
        fail(f"--rate {rate!r} is no size: give one such as 50MB, or 0")
    except bootstrap.NotReady as error:
        fail(str(error))
    try:
        with bootstrap.opened_catalog(settings) as db, bootstrap.opened_store(settings, db) as store:
            report = verification.Verification(db, store, settings.data, pace=pace, at=now()).run(resume=resume)
            done = verification.repair(db, store, settings.data, report, at=now()) if repair else []
    except bootstrap.NotReady as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.strerror or error}; go on with --resume")
    if as_json:
        typer.echo(json.dumps(report.as_json() | {"repaired": len(done)}, indent=2))
    else:
        for finding in report.findings:
            remedy = (
                "" if finding.repair is None else f" ({'done' if finding in done else '--repair'}: {finding.repair})"
            )
            typer.echo(f"{finding.kind}  {finding.where}: {finding.detail}{remedy}")
        what = f"{many(report.files, 'file')} of {report.bytes:,} bytes, {many(report.documents, 'document')}"
        typer.echo(f"Verified {what}: {many(len(report.findings), 'finding')}.")
    if not report.is_sound:
        raise typer.Exit(1)


@contextlib.contextmanager
def _backup_errors() -> Generator[None]:
    from headwater.backup.places import BackupWrong
    from headwater.bootstrap import NotReady
    from headwater.catalog.core.migrate import DatabaseAway
    from headwater.catalog.core.snapshot import SnapshotFailed

    try:
        yield
    except (BackupWrong, SnapshotFailed, NotReady, DatabaseAway, ValueError) as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename or 'the backup'}: {error.strerror or error}")
