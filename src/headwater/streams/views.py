"""Views of a stream: the current one, one of an earlier version, or one without some tasks."""

from dataclasses import dataclass

from headwater.catalog import objects, settled, streams, tasks
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.objects import STREAMS
from headwater.domain.errors import Flaw, RequestInvalid, VersionForgotten
from headwater.domain.stream import Stream, Visibility


@dataclass(frozen=True, kw_only=True)
class View:
    """A view of a stream."""

    #: The stream version; None for the current one.
    as_of: int | None = None
    #: Tasks that are left out.
    without: frozenset[str] = frozenset()


#: The current view.
NOW = View()


def visibility(tx: Transaction, fid: str, view: View) -> tuple[Stream, Visibility]:
    """Return a stream, and the visibility of its segments in a view.

    Raises:
        NotFound: the stream does not exist.
        RequestInvalid: the version does not exist yet, or a task is not of this stream.
        VersionForgotten: the version is purged.
        RunSettled: a task that is left out is settled.
    """
    stream: Stream = objects.get(tx, STREAMS, fid)
    version = stream.stream_version if view.as_of is None else view.as_of
    require_kept(tx, stream, version, name="as_of")
    strangers = tasks.strangers(tx, fid, view.without) if view.without else []
    if strangers:
        detail = f"{strangers[0]!r} is no task of stream {fid}"
        raise RequestInvalid(f"?without: {detail}", flaws=[Flaw(pointer="?without", detail=detail)])
    if view.without:
        settled.require_undoable(tx, stream, view.without)
    return stream, Visibility(version=version, without=view.without)


def require_kept(tx: Transaction, stream: Stream, version: int, *, name: str) -> None:
    """Raise unless a version of a stream can be read; ``name`` is the caller's name for it.

    Raises:
        RequestInvalid: the version does not exist yet.
        VersionForgotten: the version is purged.
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
