"""Calls for Externals (registered crawler definitions) and their OAuth logins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headwater_client import resource
from headwater_client.models.objects import Check, Credential, External, ExternalVersion, Login
from headwater_client.requests import Call, D, Pages, Ref, Resource, endpoint, fid_of, given, paginated, reading

#: Fields in camelCase on the wire.
_WIRE = {"doc_id_field": "docIdField", "delete_marker": "deleteMarker", "oauth_parameters": "oauthParameters"}
#: Timeout in seconds of a schema check, which responds once all documents are checked.
_CHECKED_WITHIN = 3600.0

#: Writable fields of an External, as named on the wire.
WRITABLE = (
    *("endpoint", "credential", "oauth", "oauthParameters", "schema", "docIdField", "deleteMarker"),
    *("headers", "parameters", "analysis", "meta"),
)


class Externals(Resource[D]):
    """``hw.externals``.

    Fields are ``endpoint``, ``credential``, ``oauth``, ``oauth_parameters``, ``schema``, ``doc_id_field``,
    ``delete_marker`` (``field`` and ``value``), ``headers``, ``parameters``, ``analysis`` and ``meta``.
    """

    @endpoint
    def create(
        self, name: str | None = None, *, meta: Mapping[str, Any] | None = None, unique: bool = False, **fields: Any
    ) -> Call[External]:
        """Register an External; without an ``endpoint`` it is a push External, whose script uploads by itself.

        With ``unique``, ``InUse`` is raised if another one has its name.
        """
        body = {**on_wire(fields), "meta": resource.meta_of(name, meta)}
        return Call("POST", "/externals", reading(External.read), json=body, params=given(unique=unique or None))

    @endpoint
    def get(self, external: Ref, *, version: int | None = None) -> Call[External]:
        """Read an External, its current version or an earlier one."""
        return resource.getting(External, "externals", external, given(version=version))

    @paginated
    def versions(self, external: Ref) -> Pages[ExternalVersion]:
        """Iterate over the versions of an External, newest first."""
        return Pages(f"/externals/{fid_of(external)}/versions", ExternalVersion.read, {"limit": resource.PAGE})

    @endpoint
    def publish(self, external: Ref, version: int | None, *, if_version: int | None = None) -> Call[External]:
        """Set the version of an External that crawlers run with; None is always the newest.

        Args:
            external: the External.
            version: the version to publish.
            if_version: only if the External is still at this version (optimistic concurrency).
        """
        headers = resource.if_match(if_version)
        path = f"/actions/externals/{fid_of(external)}/publish"
        return Call("POST", path, reading(External.read), json={"version": version}, headers=headers, is_harmless=True)

    @endpoint
    def check(
        self, external: Ref, schema: Mapping[str, Any] | bool | None, *, doc_id_field: str | None = None
    ) -> Call[Check]:
        """Check which current documents of an External's crawlers a schema would reject; nothing is stored.

        Args:
            external: the External whose crawlers' documents are checked.
            schema: a JSON Schema.
            doc_id_field: another ``doc_id_field`` to try.
        """
        body = {"schema": schema, **given(docIdField=doc_id_field)}
        path = f"/actions/externals/{fid_of(external)}/check"
        return Call("POST", path, reading(Check.read), json=body, is_harmless=True, retry_for=_CHECKED_WITHIN)

    @endpoint
    def login(
        self,
        external: Ref,
        *,
        reset: bool = False,
        renewing: Credential | str | None = None,
        version: int | None = None,
    ) -> Call[Login]:
        """Start a login at an External's server: a person opens its ``url``, then ``fetch_token`` fetches the token.

        Args:
            external: an External with ``credential`` ``oauth``.
            reset: make the server log out the current user first.
            renewing: the credential to renew; otherwise a new one is created.
            version: version of the External, if not the one in use.
        """
        credential = None if renewing is None else _named(renewing)
        params = given(reset="true" if reset else None, credential=credential, version=version)
        return Call("GET", f"{_oauth(external)}", reading(Login.read), params=params, is_harmless=True)

    @endpoint
    def fetch_token(self, external: Ref, login: Login | str, *, version: int | None = None) -> Call[Credential]:
        """Fetch the token of a login, by its uuid. Headwater stores it as a credential; fetching again renews it.

        Raises:
            LoginUnfinished: the person has not logged in yet.
        """
        body = {"uuid": login.uuid if isinstance(login, Login) else login}
        path = f"/actions{_oauth(external)}/token"
        return Call("POST", path, reading(Credential.read), params=given(version=version), json=body, is_harmless=True)

    @paginated
    def credentials(self, external: Ref) -> Pages[Credential]:
        """Iterate over the credentials from logins at an External's server, newest first."""
        return Pages(f"{_oauth(external)}/credentials", Credential.read, {"limit": resource.PAGE})

    @endpoint
    def credential(self, external: Ref, credential: Credential | str) -> Call[Credential]:
        """Read a credential."""
        path = f"{_oauth(external)}/credentials/{_named(credential)}"
        return Call("GET", path, reading(Credential.read), is_harmless=True)

    @endpoint
    def delete_credential(self, external: Ref, credential: Credential | str) -> Call[None]:
        """Delete a credential that no crawler uses, here and at the External's server."""
        return Call("DELETE", f"{_oauth(external)}/credentials/{_named(credential)}", lambda _: None)

    @paginated
    def list(self, *, name: str | None = None, fid: str | None = None) -> Pages[External]:
        """Iterate over Externals, newest first; ``fid`` is the start of one."""
        return resource.listing(External, "externals", given(name=name, fid=fid))

    @endpoint
    def update(
        self,
        external: Ref,
        fields: Mapping[str, Any],
        *,
        if_version: int | None = None,
        to_server: bool = False,
    ) -> Call[External]:
        """Merge fields into an External (RFC 7396: null removes), which creates a new version.

        Args:
            external: the External.
            fields: the new values.
            if_version: only if the External is still at this version (optimistic concurrency).
            to_server: give a push External that crawlers use an ``endpoint``; their runs are then started there.
        """
        return _change("PATCH", external, fields, if_version=if_version, to_server=to_server)

    @endpoint
    def replace(
        self,
        external: Ref,
        fields: Mapping[str, Any],
        *,
        if_version: int | None = None,
        to_server: bool = False,
    ) -> Call[External]:
        """Overwrite an External's fields; omitted fields are reset to their defaults.

        Args:
            external: the External.
            fields: the new values.
            if_version: only if the External is still at this version (optimistic concurrency).
            to_server: give a push External that crawlers use an ``endpoint``; their runs are then started there.
        """
        return _change("PUT", external, fields, if_version=if_version, to_server=to_server)

    @endpoint
    def delete(self, external: Ref, *, cascade: bool = False) -> Call[None]:
        """Delete an External; with ``cascade`` also its crawlers, with their tasks and documents."""
        return resource.deleting("externals", external, cascade=cascade)


def _change(
    method: str, external: Ref, fields: Mapping[str, Any], *, if_version: int | None, to_server: bool
) -> Call[External]:
    params = {"to_server": "true"} if to_server else {}
    wire = on_wire(fields)
    return resource.writing(External, method, "externals", external, fields=wire, if_version=if_version, params=params)


def _oauth(external: Ref) -> str:
    return f"/externals/{fid_of(external)}/oauth"


def _named(credential: Credential | str) -> str:
    return fid_of(credential.fid if isinstance(credential, Credential) else credential)


def on_wire(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return an External's fields with their names on the wire."""
    return {_WIRE.get(name, name): value for name, value in fields.items()}
