"""An External: a registered crawler definition."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from headwater.domain.deletion import DeleteMarker
from headwater.domain.errors import Flaw, ParametersInvalid, SchemaInvalid
from headwater.domain.parameter import Parameter, definition_flaws
from headwater.domain.schema import compile_schema
from headwater.domain.schema_cost import schema_cost


class CredentialType(StrEnum):
    """The kind of credential that a crawler needs for its source."""

    BASIC = "basic"
    OAUTH = "oauth"


@dataclass(frozen=True, kw_only=True)
class Definition:
    """The developer's definition of an External; each edit makes a new version."""

    #: Base URL of the EC; None means push: there is no server to call, a script uploads.
    endpoint: str | None = None
    credential: CredentialType | None = None
    #: Base URL of the EC's OAuth service, for ``oauth``; see ``oauth.py``.
    oauth: str | None = None
    #: Passed to the login page.
    oauth_parameters: Any = None
    #: The JSON Schema that each document must match; None accepts any object.
    schema: dict[str, Any] | bool | None = None
    #: The field of a document that contains its id; None derives ids from the content.
    doc_id_field: str | None = None
    #: What marks a document as a deletion; None: only lines ``{"$delete": id}`` delete.
    delete_marker: DeleteMarker | None = None
    #: Sent with each request to the EC; values are encrypted (see ``catalog/vault.py``).
    headers: dict[str, Any]
    parameters: tuple[Parameter, ...]
    #: Stored and passed on; Headwater does not interpret it.
    analysis: dict[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class External:
    """A registered crawler."""

    fid: str
    definition: Definition
    created_at: datetime
    updated_at: datetime
    #: Grows with each edit; sent to the EC, and stored with each task.
    version: int
    meta: dict[str, Any]
    #: The version that crawlers use; None means the newest.
    published: int | None = None

    @property
    def in_use(self) -> int:
        """The version that a new run uses by default."""
        return self.version if self.published is None else self.published

    @property
    def is_push(self) -> bool:
        """Whether its crawler is a script that uploads, and no server that is called."""
        return self.definition.endpoint is None

    @property
    def name(self) -> str:
        """Its display name."""
        return str(self.meta.get("name") or self.fid)


def check_definition(definition: Definition) -> None:
    """Raise unless schema, parameters and login are valid.

    A schema that may take long to compile is not compiled here.

    Raises:
        SchemaInvalid: with a flaw for each error.
    """
    if definition.schema is not None and schema_cost(definition.schema).is_compiled_quickly:
        compile_schema(definition.schema)
    flaws = [
        Flaw(pointer=f"/parameters{flaw.pointer}", keyword=flaw.keyword, detail=flaw.detail)
        for flaw in definition_flaws(definition.parameters)
    ]
    if flaws:
        raise SchemaInvalid(f"the parameters do not hold together: {flaws[0].message}", flaws=flaws)
    flaws = list(_login_flaws(definition))
    if flaws:
        raise SchemaInvalid(f"nobody could log in: {flaws[0].message}", flaws=flaws)


def _login_flaws(definition: Definition) -> Iterator[Flaw]:
    if definition.credential is not CredentialType.OAUTH:
        return
    if definition.oauth is None:
        yield Flaw(pointer="/oauth", detail='the credential is "oauth": expected the URL of the EC\'s OAuth service')
    parameters = definition.oauth_parameters
    if parameters is not None and not isinstance(parameters, dict):
        yield Flaw(pointer="/oauthParameters", detail="expected an object, or null")
        return
    for name in ("uuid", "reset"):
        if name in (parameters or {}):
            yield Flaw(pointer=f"/oauthParameters/{name}", detail="Headwater itself says this with each login")


def check_credential(wanted: CredentialType | None, given: dict[str, Any] | None) -> None:
    """Raise unless a crawler's credential is of the kind that its External requires.

    Raises:
        ParametersInvalid: it is missing, not required, or of the wrong form.
    """
    fault = _credential_fault(wanted, given)
    if fault is not None:
        raise credential_unfit(fault)


def credential_unfit(fault: str) -> ParametersInvalid:
    """Return the error about a crawler's credential."""
    return ParametersInvalid(
        f"the credential does not fit the External: {fault}", flaws=[Flaw(pointer="/credential", detail=fault)]
    )


def named_login(given: dict[str, Any]) -> str | None:
    """Return the fid of the login in a crawler's credential, ``{"fid"}`` or ``{"oauth"}``; None if there is none.

    Fields that are only shown may be sent back.
    """
    names = set(given) - {"type", "expires_at"}
    fid: Any = given[names.pop()] if names in ({"fid"}, {"oauth"}) else None
    return fid if isinstance(fid, str) and given.get("type", CredentialType.OAUTH) == CredentialType.OAUTH else None


def _credential_fault(wanted: CredentialType | None, given: dict[str, Any] | None) -> str | None:
    if wanted is None:
        return None if given is None else "the External takes none"
    if given is None:
        login = "; log in (GET /externals/{fid}/oauth), and name the credential that comes of it"
        return f"the External needs one of type {wanted}{login if wanted is CredentialType.OAUTH else ''}"
    if wanted is CredentialType.OAUTH:
        expected = 'expected {"fid": "…"}, a credential that GET /externals/{fid}/oauth/credentials lists'
        return expected if named_login(given) is None else None
    texts = {"user", "password"}
    if set(given) - {"type"} != texts or not all(isinstance(given[name], str) for name in texts):
        return 'expected {"user": "…", "password": "…"}'
    return None
