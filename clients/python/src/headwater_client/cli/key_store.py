"""Where ``headwater keys`` finds keys: at a server, or in a data directory on this machine.

The latter is the server's own code, where it is installed: an entry point of the group ``headwater.local`` that is
called with the data directory and returns a store with the methods of ``RemoteKeys``, but for the secret's ``key`` in
mappings as the API has them.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Protocol

import typer

from headwater_client.cli import access, durations, lookup, output
from headwater_client.cli.bulk import moment as moment_of
from headwater_client.cli.errors import CliError, ExitCode, harmless
from headwater_client.cli.logins import Logins
from headwater_client.cli.output import Column
from headwater_client.models.results import Key, MadeKey

if TYPE_CHECKING:
    from headwater_client.headwater import Headwater

GROUP = "headwater.local"


class Store(Protocol):
    """Keys that can be managed."""

    def create(self, name: str, limits: Mapping[str, Any]) -> MadeKey: ...  # noqa: D102 - named for what they do
    def listed(self) -> Iterable[Key]: ...  # noqa: D102
    def find(self, ref: str) -> Key: ...  # noqa: D102
    def change(self, key: Key, fields: Mapping[str, Any]) -> Key: ...  # noqa: D102
    def rotate(self, key: Key, overlap: int) -> MadeKey: ...  # noqa: D102
    def revoke(self, key: Key) -> None: ...  # noqa: D102
    def limits(self, streams: Sequence[str] | None, crawlers: Sequence[str] | None) -> dict[str, Any]: ...  # noqa: D102


class RemoteKeys:
    """The keys of a server."""

    def __init__(self, headwater: Headwater) -> None:
        """Use a client of the server."""
        self._headwater = headwater

    def create(self, name: str, limits: Mapping[str, Any]) -> MadeKey:
        """Create a key."""
        return self._headwater.keys.create(name, **limits)

    def listed(self) -> Iterable[Key]:
        """Return all keys, newest first."""
        return self._headwater.keys.list()

    def find(self, ref: str) -> Key:
        """Return the key of that fid, start of a fid, or name."""
        return lookup.key(self._headwater, ref)

    def change(self, key: Key, fields: Mapping[str, Any]) -> Key:
        """Change a key."""
        return self._headwater.keys.update(key, fields, if_version=key.version)

    def rotate(self, key: Key, overlap: int) -> MadeKey:
        """Give a key a new secret."""
        return self._headwater.keys.rotate(key, overlap=overlap, if_version=key.version)

    def revoke(self, key: Key) -> None:
        """Revoke a key."""
        self._headwater.keys.revoke(key)

    def limits(self, streams: Sequence[str] | None, crawlers: Sequence[str] | None) -> dict[str, Any]:
        """Return the fids of the streams and crawlers that a key is limited to."""
        found: dict[str, Any] = {}
        if streams:
            found["streams"] = [lookup.stream(self._headwater, ref).fid for ref in streams]
        if crawlers:
            found["crawlers"] = [lookup.crawler(self._headwater, ref).fid for ref in crawlers]
        return found


class LocalKeys:
    """The keys of a data directory, by the server's code."""

    def __init__(self, local: Any) -> None:
        """Use what the entry point has returned."""
        self._local = local

    def create(self, name: str, limits: Mapping[str, Any]) -> MadeKey:
        """Create a key."""
        return MadeKey.made(self._local.create(name, dict(limits)))

    def listed(self) -> Iterable[Key]:
        """Return all keys, newest first."""
        return map(Key.read, self._local.listed())

    def find(self, ref: str) -> Key:
        """Return the key of that fid, start of a fid, or name."""
        keys = list(self.listed())
        found = [key for key in keys if ref in {key.fid, key.name}] or [key for key in keys if key.fid.startswith(ref)]
        if not found:
            raise CliError(f"there is no key {ref!r}", code=ExitCode.NOT_FOUND)
        if len(found) > 1:
            fids = ", ".join(key.fid for key in found)
            raise CliError(f"several keys are {ref!r}, so name it by its fid: {fids}", code=ExitCode.USAGE)
        return found[0]

    def change(self, key: Key, fields: Mapping[str, Any]) -> Key:
        """Refuse: a running server checks what goes together."""
        raise CliError(f"key {key.fid} is changed at its server; {', '.join(fields)} cannot be changed in a directory")

    def rotate(self, key: Key, overlap: int) -> MadeKey:
        """Give a key a new secret."""
        return MadeKey.made(self._local.rotate(key.fid, overlap))

    def revoke(self, key: Key) -> None:
        """Revoke a key."""
        self._local.revoke(key.fid)

    def limits(self, streams: Sequence[str] | None, crawlers: Sequence[str] | None) -> dict[str, Any]:
        """Return the given fids: without a server, there is no looking up of names."""
        given = {"streams": streams, "crawlers": crawlers}
        return {name: list(fids) for name, fids in given.items() if fids}

    def make_admin(self) -> tuple[str, str]:
        """Make a new admin key; return its file and itself."""
        return self._local.make_admin()


@contextmanager
def opened(data: str | None, url: str | None) -> Generator[Store]:
    """Open the keys of a directory or a server.

    Without ``data`` it is the server, if one is known: by ``url``, the environment or a login. If none is, and the
    server is installed here, it is its data directory.
    """
    is_server_known = url is not None or access.KEY in os.environ or Logins.read().present is not None
    if data is not None or (not is_server_known and _entry() is not None):
        if data is not None and url is not None:
            raise CliError("say which: --data or --url", code=ExitCode.USAGE)
        with local(data) as store:
            yield store
        return
    with access.connected(url) as headwater:
        yield RemoteKeys(headwater)


@contextmanager
def local(data: str | None) -> Generator[LocalKeys]:
    """Open the keys of a data directory.

    Raises:
        CliError: the server is not installed here, or the directory cannot be used.
    """
    entry = _entry()
    if entry is None:
        raise CliError("a data directory needs the package of the server, which is not installed here")
    yield LocalKeys(entry.load()(data))


def _entry() -> Any:
    return next(iter(entry_points(group=GROUP, name="keys")), None)


def moment(text: str | None) -> str | None:
    """Return when a key expires: at a moment, or after a duration.

    Raises:
        CliError: it is neither.
    """
    if text is None or not text.strip()[:-1].isdigit():
        return moment_of(text, "--expires")
    return (datetime.now(UTC) + timedelta(seconds=durations.seconds(text, "--expires"))).isoformat()


def answer_made(made: MadeKey, *, as_json: bool) -> None:
    """Print a key that was made: about it on stderr, and itself on stdout."""
    if as_json:
        output.answer_json({**made.raw, "key": made.key})
        return
    typer.echo(harmless(f"{made.fid} {made.name} ({', '.join(made.scopes)})"), err=True)
    typer.echo(made.key)


def _day(at: datetime | None) -> str:
    return "" if at is None else f"{at:%Y-%m-%d}"


def _standing(key: Key) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.expires_at is not None and key.expires_at <= datetime.now(UTC) else ""


COLUMNS: list[Column[Key]] = [
    Column("key", lambda key: key.fid, is_whole=True),
    Column("scopes", lambda key: ",".join(key.scopes), is_whole=True),
    Column("state", _standing, is_whole=True, may_be_empty=True, is_state=True),
    Column("used", lambda key: _day(key.last_used_at), is_whole=True, may_be_empty=True, is_minor=True),
    Column("expires", lambda key: _day(key.expires_at), is_whole=True, may_be_empty=True),
    Column(
        "limited",
        lambda key: "yes" if key.streams is not None or key.crawlers is not None else "",
        may_be_empty=True,
        is_minor=True,
    ),
    Column("name", lambda key: key.name),
]
