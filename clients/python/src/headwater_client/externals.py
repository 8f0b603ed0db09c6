"""Externals: crawlers that somebody wrote, registered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headwater_client import parts
from headwater_client.objects import Check, Credential, External, ExternalVersion, Login
from headwater_client.questions import D, Pages, Part, Question, Ref, call, fid_of, given, reading, walk

#: Fields whose names on the wire are of another habit.
_WIRE = {"doc_id_field": "docIdField", "oauth_parameters": "oauthParameters"}
#: Seconds that all documents take to be checked, at most: the answer comes when they all are.
_CHECKED_WITHIN = 3600.0

#: What of an External can be written, as on the wire; all else is Headwater's to say.
WRITABLE = (
    *("endpoint", "credential", "oauth", "oauthParameters", "schema", "docIdField"),
    *("headers", "parameters", "analysis", "meta"),
)


class Externals(Part[D]):
    """``hw.externals``.

    Fields are ``endpoint``, ``credential``, ``oauth``, ``oauth_parameters``, ``schema``, ``doc_id_field``, ``headers``,
    ``parameters``, ``analysis`` and ``meta``.
    """

    @call
    def create(
        self, name: str | None = None, *, meta: Mapping[str, Any] | None = None, **fields: Any
    ) -> Question[External]:
        """Register a crawler; without an ``endpoint`` it is a script that uploads."""
        body = {**on_wire(fields), "meta": parts.meta_of(name, meta)}
        return Question("POST", "/externals", reading(External.read), json=body)

    @call
    def get(self, external: Ref, *, version: int | None = None) -> Question[External]:
        """Read an External, as it is or as it was described at a version."""
        return parts.getting(External, "externals", external, given(version=version))

    @walk
    def versions(self, external: Ref) -> Pages[ExternalVersion]:
        """Iterate over the versions of an External, newest first."""
        return Pages(f"/externals/{fid_of(external)}/versions", ExternalVersion.read, {"limit": parts.PAGE})

    @call
    def publish(self, external: Ref, version: int | None, *, if_version: int | None = None) -> Question[External]:
        """Let crawlers run with a version of an External from now on; None is always the newest.

        Args:
            external: whose version.
            version: which one.
            if_version: only if the External is still at that version, so that nobody has edited it meanwhile.
        """
        headers = parts.if_match(if_version)
        path = f"/actions/externals/{fid_of(external)}/publish"
        return Question(
            "POST", path, reading(External.read), json={"version": version}, headers=headers, is_harmless=True
        )

    @call
    def check(
        self, external: Ref, schema: Mapping[str, Any] | bool | None, *, doc_id_field: str | None = None
    ) -> Question[Check]:
        """Tell which current documents of an External's crawlers a schema would refuse; nothing is stored.

        Args:
            external: whose crawlers' documents are checked.
            schema: a JSON Schema.
            doc_id_field: to try another one with it.
        """
        body = {"schema": schema, **given(docIdField=doc_id_field)}
        path = f"/actions/externals/{fid_of(external)}/check"
        return Question("POST", path, reading(Check.read), json=body, is_harmless=True, patience=_CHECKED_WITHIN)

    @call
    def login(
        self,
        external: Ref,
        *,
        reset: bool = False,
        renewing: Credential | str | None = None,
        version: int | None = None,
    ) -> Question[Login]:
        """Begin a login at an External's server: a person opens its ``url``, then ``fetch_token`` fetches the token.

        Args:
            external: whose server, with a ``credential`` of ``oauth``.
            reset: let the server forget who was logged in there.
            renewing: the credential that is to be renewed; otherwise there will be a new one.
            version: of the External, where it is not the one in use.
        """
        params = given(reset="true" if reset else None, credential=_named(renewing), version=version)
        return Question("GET", f"{_oauth(external)}", reading(Login.read), params=params, is_harmless=True)

    @call
    def fetch_token(self, external: Ref, login: Login | str, *, version: int | None = None) -> Question[Credential]:
        """Fetch the token of a login, by its uuid; Headwater keeps it, and renews it when it is fetched again.

        Raises:
            LoginUnfinished: the person has not logged in yet.
        """
        body = {"uuid": login.uuid if isinstance(login, Login) else login}
        path = f"/actions{_oauth(external)}/token"
        return Question(
            "POST", path, reading(Credential.read), params=given(version=version), json=body, is_harmless=True
        )

    @walk
    def credentials(self, external: Ref) -> Pages[Credential]:
        """Iterate over the credentials that logins at an External's server came to, newest first."""
        return Pages(f"{_oauth(external)}/credentials", Credential.read, {"limit": parts.PAGE})

    @call
    def credential(self, external: Ref, credential: Credential | str) -> Question[Credential]:
        """Read a credential."""
        path = f"{_oauth(external)}/credentials/{_named(credential)}"
        return Question("GET", path, reading(Credential.read), is_harmless=True)

    @call
    def delete_credential(self, external: Ref, credential: Credential | str) -> Question[None]:
        """Forget a credential that no crawler names, here and at the External's server."""
        return Question("DELETE", f"{_oauth(external)}/credentials/{_named(credential)}", lambda _: None)

    @walk
    def list(self, *, name: str | None = None) -> Pages[External]:
        """Iterate over Externals, newest first."""
        return parts.listing(External, "externals", given(name=name))

    @call
    def update(self, external: Ref, fields: Mapping[str, Any], *, if_version: int | None = None) -> Question[External]:
        """Merge fields into an External (RFC 7396: null removes), which makes a new version of it."""
        return parts.writing(External, "PATCH", "externals", external, fields=on_wire(fields), if_version=if_version)

    @call
    def replace(self, external: Ref, fields: Mapping[str, Any], *, if_version: int | None = None) -> Question[External]:
        """Overwrite an External's fields; those that are not given go back to their defaults."""
        return parts.writing(External, "PUT", "externals", external, fields=on_wire(fields), if_version=if_version)

    @call
    def delete(self, external: Ref, *, cascade: bool = False) -> Question[None]:
        """Delete an External; with ``cascade`` its crawlers too, with their tasks and documents."""
        return parts.deleting("externals", external, cascade=cascade)


def _oauth(external: Ref) -> str:
    return f"/externals/{fid_of(external)}/oauth"


def _named(credential: Credential | str | None) -> str | None:
    return fid_of(credential.fid if isinstance(credential, Credential) else credential) if credential else None


def on_wire(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields of an External under their names on the wire."""
    return {_WIRE.get(name, name): value for name, value in fields.items()}
