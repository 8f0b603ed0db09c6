"""The link graph: which objects are connected."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import insert, literal, select, union

from headwater.catalog import tables
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.objects import KINDS, find
from headwater.domain.errors import Flaw, RequestInvalid


@dataclass(frozen=True, kw_only=True)
class End:
    """One end of a link."""

    #: The plural path name of the object's type, ``streams``.
    type: str
    fid: str


@dataclass(frozen=True, kw_only=True)
class Link:
    """A connection between two objects."""

    start: End
    end: End


def add(tx: Transaction, links: Sequence[Link], *, known: str) -> None:
    """Store links made by a caller; ``known`` is the object that is being created with them.

    Raises:
        RequestInvalid: an end does not exist.
    """
    flaws = [
        Flaw(pointer=f"/meta/links/{place}", detail=f"there is no {end.type.removesuffix('s')} {end.fid!r}")
        for place, link in enumerate(links)
        for end in (link.start, link.end)
        if end.fid != known and (end.type not in KINDS or find(tx, KINDS[end.type], end.fid) is None)
    ]
    if flaws:
        raise RequestInvalid("a link leads to an object that does not exist", flaws=flaws)
    rows = {(link.start.type, link.start.fid, link.end.type, link.end.fid) for link in links}
    if rows:
        names = ("from_type", "from_fid", "to_type", "to_fid")
        tx.execute(insert(tables.links), [dict(zip(names, row, strict=True)) for row in sorted(rows)])


def around(tx: Transaction, fid: str, *, after: int, limit: int) -> list[Link]:
    """Return the links of an object: those made by callers, and those implied by crawlers and tasks."""
    stored = select(tables.links.c.from_type, tables.links.c.from_fid, tables.links.c.to_type, tables.links.c.to_fid)
    crawlers, tasks = tables.crawlers.c, tables.tasks.c
    derived = [
        select(literal(start).label("from_type"), near.label("from_fid"), literal(end).label("to_type"), far).where(
            (near == fid) | (far == fid)
        )
        for start, near, end, far in (
            ("streams", crawlers.stream, "crawlers", crawlers.fid),
            ("externals", crawlers.external, "crawlers", crawlers.fid),
            ("crawlers", tasks.crawler, "tasks", tasks.fid),
        )
    ]
    both = union(stored.where((tables.links.c.from_fid == fid) | (tables.links.c.to_fid == fid)), *derived).subquery()
    wanted = select(both).order_by(both.c.from_fid, both.c.to_fid, both.c.from_type, both.c.to_type)
    return [
        Link(start=End(type=row.from_type, fid=row.from_fid), end=End(type=row.to_type, fid=row.to_fid))
        for row in tx.execute(wanted.offset(after).limit(limit))
    ]
