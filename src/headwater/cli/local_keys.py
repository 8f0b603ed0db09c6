"""The keys of a data directory on this machine, for ``headwater keys --data`` of the client."""

# ruff: noqa: PLC0415 - commands import what they need, so that help need not wait for it

from dataclasses import asdict, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater.cli.shared import acting_here, fail, now, on_catalog, read_settings
from headwater.domain.scope import Scope

if TYPE_CHECKING:
    from headwater.catalog.core.transaction import Transaction


class LocalKeys:
    """The keys of a data directory, for ``headwater keys --data``; mappings as the API has them."""

    def __init__(self, data: str | None) -> None:
        """Use a data directory; None for the one of the settings."""
        self._data = None if data is None else Path(data)

    def create(self, name: str, limits: dict[str, Any]) -> dict[str, Any]:
        """Create a key."""
        from headwater.catalog import keys

        def create(tx: "Transaction", at: datetime) -> dict[str, Any]:
            expires = limits.get("expires_at")
            key, secret = keys.add(
                tx,
                name=name,
                scopes=tuple(map(Scope, limits["scopes"])),
                at=at,
                expires_at=None if expires is None else datetime.fromisoformat(expires),
                **{kind: tuple(limits[kind]) for kind in ("streams", "crawlers") if kind in limits},
            )
            return _described(key) | {"key": secret}

        return on_catalog(self._data, create, named="create_key")

    def listed(self) -> list[dict[str, Any]]:
        """Return all keys, newest first."""
        from headwater.catalog import keys

        return [_described(key) for key in reversed(on_catalog(self._data, lambda tx, _at: keys.listed(tx)))]

    def rotate(self, fid: str, overlap: int) -> dict[str, Any]:
        """Give a key a new secret."""
        from headwater.catalog import keys

        def rotate(tx: "Transaction", at: datetime) -> dict[str, Any]:
            old = keys.get(tx, fid, lock=True)
            new = replace(old, version=old.version + 1, former_until=at + timedelta(seconds=overlap))
            return _described(new) | {"key": keys.rotate(tx, old, new)}

        return on_catalog(self._data, rotate, named="rotate_key")

    def revoke(self, fid: str) -> None:
        """Revoke a key."""
        from headwater.catalog import keys

        on_catalog(self._data, lambda tx, at: keys.revoke(tx, fid, at=at), named="revoke_key")

    def make_admin(self) -> tuple[str, str]:
        """Make a new admin key and keep it in its file; return both."""
        from headwater import bootstrap
        from headwater.catalog.audit import acting_as
        from headwater.domain.errors import HeadwaterError

        settings = read_settings(data=self._data)
        try:
            with acting_as(acting_here("create_key")):
                file, key = bootstrap.make_admin_key(settings, at=now())
        except (bootstrap.NotReady, HeadwaterError) as error:
            fail(str(error))
        return str(file), key


def _described(key: Any) -> dict[str, Any]:
    described = asdict(key) | {"type": "keys"}
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in described.items()}
