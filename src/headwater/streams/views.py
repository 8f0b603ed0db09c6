"""What a reader asks to see of a stream: as it is, as it stood, or as if some tasks had not run."""

from dataclasses import dataclass

from headwater.catalog import objects, streams, tasks
from headwater.catalog.objects import STREAMS
from headwater.catalog.transaction import Transaction
from headwater.domain.errors import Flaw, RequestInvalid, VersionForgotten
from headwater.domain.stream import Stream, Visibility


@dataclass(frozen=True, kw_only=True)
class View:
    """How a stream is looked at."""

    #: The stream version at which it is looked at; None for the present one.
    as_of: int | None = None
    #: Tasks that are looked past.
    without: frozenset[str] = frozenset()


#: The stream as it is.
NOW = View()


def visibility(tx: Transaction, fid: str, view: View) -> tuple[Stream, Visibility]:
    """Return a stream, and which of its segments a view of it shows.

    Raises:
        NotFound: there is no such stream.
        RequestInvalid: it has not come to the version yet, or a task is none of its.
        VersionForgotten: what it showed at the version is purged.
    """
    stream: Stream = objects.get(tx, STREAMS, fid)
    version = stream.stream_version if view.as_of is None else view.as_of
    require_kept(tx, stream, version, name="as_of")
    strangers = tasks.strangers(tx, fid, view.without) if view.without else []
    if strangers:
        detail = f"{strangers[0]!r} is no task of stream {fid}"
        raise RequestInvalid(f"?without: {detail}", flaws=[Flaw(pointer="?without", detail=detail)])
    return stream, Visibility(version=version, without=view.without)


def require_kept(tx: Transaction, stream: Stream, version: int, *, name: str) -> None:
    """Raise unless a stream can be shown as it was at a version, which the caller named so.

    Raises:
        RequestInvalid: it has not come to the version yet.
        VersionForgotten: what it showed then is purged.
    """
    if version > stream.stream_version:
        detail = f"the stream is at version {stream.stream_version}; there is no version {version} yet"
        raise RequestInvalid(f"?{name}: {detail}", flaws=[Flaw(pointer=f"?{name}", detail=detail)])
    if not stream.remembers(version):
        since = streams.began_at(tx, stream.fid, stream.purged_version)
        moment = "" if since is None else f" ({since:%Y-%m-%dT%H:%M:%SZ})"
        detail = (
            f"what the stream showed at version {version} is purged; ask for version {stream.purged_version}{moment} "
            "or a later one"
        )
        raise VersionForgotten(f"?{name}: {detail}", flaws=[Flaw(pointer=f"?{name}", detail=detail)])
