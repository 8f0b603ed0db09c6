"""The system: version, stores, disk, queue, health, settings."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.responses import Response

from headwater.catalog import runs, stats
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.objects import STREAMS
from headwater.catalog.stats import CatalogStats
from headwater.console.rendering import render
from headwater.console.routing import Pages
from headwater.console.visits import Visit
from headwater.domain.scope import Scope

pages = Pages()


@dataclass(frozen=True, kw_only=True)
class StreamSize:
    """What a stream keeps."""

    fid: str
    name: str
    #: Versions of documents, also of those that do not show any more, and their size without compression.
    versions: int
    bytes: int


@pages.get("/system", needs=Scope.READ)
async def show_system(visit: Visit) -> Response:
    """Show how the server is."""

    def read(tx: Transaction) -> tuple[CatalogStats, Sequence[StreamSize]]:
        sizes = runs.disk_by_stream(tx)
        names = runs.names(tx, STREAMS, [fid for fid, _, _ in sizes])
        rows = [StreamSize(fid=fid, name=names[fid], versions=docs, bytes=size) for fid, docs, size in sizes]
        return stats.collect(tx), rows

    services = visit.services
    found, sizes = await services.db.read(read)
    failures = await services.failures()
    disk = shutil.disk_usage(services.data)
    return render(
        visit,
        "system.html",
        stats=found,
        sizes=sizes,
        failures={name: str(error) or type(error).__name__ for name, error in failures.items()},
        disk=disk,
        settings=services.settings if visit.allows(Scope.ADMIN) else (),
    )
