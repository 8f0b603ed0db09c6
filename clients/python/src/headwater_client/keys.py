"""Calls for API keys; they need a key with the scope ``admin``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from headwater_client import resource
from headwater_client.models.results import Key, MadeKey
from headwater_client.requests import Call, D, Pages, Ref, Resource, endpoint, fid_of, given, paginated, reading

#: A key or its fid.
KeyRef = Key | str


class Keys(Resource[D]):
    """``hw.keys``."""

    @endpoint
    def create(
        self,
        name: str,
        *,
        scopes: Sequence[str] = ("read",),
        streams: Sequence[Ref] | None = None,
        crawlers: Sequence[Ref] | None = None,
        expires_at: datetime | str | None = None,
    ) -> Call[MadeKey]:
        """Create a key; only this response contains ``key`` itself.

        Args:
            name: whose key it is, or what for.
            scopes: ``read``, ``write``, ``admin``; each includes the ones before it.
            streams: only these, with their crawlers and tasks.
            crawlers: only these, with their streams and tasks.
            expires_at: from when on it is refused.
        """
        limits = {
            "streams": None if streams is None else [fid_of(each) for each in streams],
            "crawlers": None if crawlers is None else [fid_of(each) for each in crawlers],
            "expires_at": expires_at.isoformat() if isinstance(expires_at, datetime) else expires_at,
        }
        body = {"name": name, "scopes": list(scopes), **given(**limits)}
        return Call("POST", "/keys", reading(MadeKey.made), json=body)

    @endpoint
    def get(self, key: KeyRef) -> Call[Key]:
        """Read a key, without its secret."""
        return Call("GET", _path(key), reading(Key.read), is_harmless=True)

    @paginated
    def list(self, *, name: str | None = None, fid: str | None = None) -> Pages[Key]:
        """Iterate over keys, newest first, revoked and expired ones too; ``fid`` is the start of one."""
        return Pages("/keys", Key.read, given(name=name, fid=fid, limit=resource.PAGE))

    @endpoint
    def update(self, key: KeyRef, fields: Mapping[str, Any], *, if_version: int | None = None) -> Call[Key]:
        """Merge fields into a key (RFC 7396: null removes): those of ``create``."""
        headers = resource.if_match(if_version)
        is_harmless = if_version is None
        return Call("PATCH", _path(key), reading(Key.read), json=dict(fields), headers=headers, is_harmless=is_harmless)

    @endpoint
    def rotate(self, key: KeyRef, *, overlap: int | None = None, if_version: int | None = None) -> Call[MadeKey]:
        """Give a key a new secret; the former one works for ``overlap`` seconds more, by default a day."""
        body = given(overlap=overlap)
        return Call(
            "POST",
            f"/actions{_path(key)}/rotate",
            reading(MadeKey.made),
            json=body,
            headers=resource.if_match(if_version),
        )

    @endpoint
    def revoke(self, key: KeyRef) -> Call[None]:
        """Revoke a key, effective at once."""
        return Call("DELETE", _path(key), lambda _: None, is_harmless=True)


def _path(key: KeyRef) -> str:
    return f"/keys/{fid_of(key.fid if isinstance(key, Key) else key)}"
