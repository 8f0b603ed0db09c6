"""OAuth logins at ECs: start, fetch the token, renew it, delete it on both sides."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from http import HTTPStatus
from typing import Any, cast

import structlog

from headwater.catalog import credentials, externals, notices, objects, tasks
from headwater.catalog.core.database import Database
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.notices import Notice, NoticeKind
from headwater.catalog.objects import EXTERNALS
from headwater.catalog.vault import Vault, digest_of
from headwater.domain.errors import LoginUnfinished, LoginUnusable, NoLogin, Unavailable
from headwater.domain.external import External
from headwater.domain.ids import new_fid
from headwater.domain.oauth import Credential, Grant, Service, read_grant, service_of
from headwater.domain.redaction import Redactor, secrets_of_headers
from headwater.domain.schema import cut
from headwater.lifecycle.ec.client import LONGEST_ANSWER, Again, EcClient, Refused

log = structlog.get_logger(__name__)

#: Default seconds until a request that the EC could not serve may be repeated, and the maximum.
_AGAIN_AFTER = 5
_AT_MOST_AFTER = 3600
#: Fields in which an EC explains an error to people. All other fields may be secret.
_WORDS = ("detail", "message", "error_description", "error", "title")
_LONGEST_WORDS = 200


def begin(
    tx: Transaction, external: str, uuid: str, *, renewing: str | None, version: int | None, vault: Vault
) -> tuple[Service, str]:
    """Return the login's service and its uuid: that of the credential to be renewed, or the one given.

    Raises:
        NotFound: there is no such External, version or credential.
        NoLogin: the External offers no login.
    """
    service = service_of(externals.to_run(tx, external, version))
    if renewing is not None:
        uuid = vault.unseal(credentials.get(tx, external, renewing).sealed)["uuid"]
    return service, uuid


async def fetch(
    db: Database,
    ec_client: EcClient,
    external: str,
    uuid: str,
    *,
    version: int | None,
    vault: Vault,
    clock: Callable[[], datetime],
) -> tuple[Credential, bool]:
    """Fetch the token of a login from the EC and store it; return its credential, and whether it is new.

    Fetching the same login again renews its credential. If the EC hands out a token only once, a stored token that is
    still valid is returned, so that a client that lost the response can retry.

    Raises:
        NotFound: there is no such External or version.
        NoLogin, LoginUnfinished, LoginUnusable: this login has no token (yet).
        Unavailable: the EC does not respond now.
    """
    service = service_of(await db.read(externals.to_run, external, version))
    headers = vault.unseal_headers(service.headers)
    answer = await ec_client.token(service.token_url(uuid), headers)
    try:
        grant = _without_secrets(_grant(answer, uuid), Redactor([uuid, *secrets_of_headers(headers)]))
    except LoginUnfinished:
        kept = await db.write(credentials.of_login, external, digest_of(uuid))
        if kept is None or kept.is_expired(at=clock()):
            raise
        return kept, False
    kept, is_new = await db.write(_keep, external, uuid, grant, service, vault=vault, at=clock())
    log.info("credential.fetched", credential=kept.fid, external=external, is_new=is_new, expires_at=kept.expires_at)
    return kept, is_new


def forget(tx: Transaction, external: External, credential: Credential, *, vault: Vault, at: datetime) -> None:
    """Delete a credential, and have its EC delete the token.

    Raises:
        InUse: a crawler refers to it.
    """
    credentials.remove(tx, credential)
    kept = vault.unseal(credential.sealed)
    try:
        url = service_of(external).token_url(kept["uuid"])
    except NoLogin:
        url = kept["url"]  # the External no longer offers a login
    notice = Notice(
        fid=new_fid(at),
        task=credential.fid,
        attempt=0,
        kind=NoticeKind.CLEAR,
        sealed_target=vault.seal({"url": url, "headers": vault.unseal_headers(external.definition.headers)}),
        code=0,
        message=None,
        due_at=at,
        created_at=at,
    )
    notices.add(tx, notice)


def forget_all(tx: Transaction, external: External, *, vault: Vault, at: datetime) -> None:
    """Delete all credentials of an External that no crawler uses, and have its EC delete the tokens."""
    for credential in credentials.page(tx, external.fid, after=None, limit=objects.ALL):
        forget(tx, external, credential, vault=vault, at=at)


def _keep(
    tx: Transaction, external: str, uuid: str, grant: Grant, service: Service, *, vault: Vault, at: datetime
) -> tuple[Credential, bool]:
    objects.get(tx, EXTERNALS, external)  # it may have been deleted while its EC was called
    credential = Credential(
        fid=new_fid(at),
        external=external,
        login_digest=digest_of(uuid),
        sealed=vault.seal({"uuid": uuid, "url": service.token_url(uuid), "given": grant.given}),
        user=grant.user,
        reported_name=grant.reported_name,
        email_address=grant.email_address,
        issued_at=grant.issued_at,
        expires_at=grant.expires_at,
        created_at=at,
        renewed_at=at,
    )
    kept, is_new = credentials.store(tx, credential)
    if not kept.is_expired(at=at):
        tasks.let_retry(tx, kept.fid, at=at)
    return kept, is_new


def _grant(answer: bytes | Refused | Again, uuid: str) -> Grant:
    match answer:
        case Again():
            after = int(min(max(answer.after, _AGAIN_AFTER), _AT_MOST_AFTER))
            raise Unavailable(f"{answer.why}; ask for the token of this login again then", retry_after=after)
        case Refused(detail={"status": int(status)}) if status >= HTTPStatus.BAD_REQUEST:
            raise LoginUnfinished(
                f"{answer.why}{_words(answer.detail['answer'], uuid)}; finish the login at the URL that "
                "GET /externals/{fid}/oauth gave with this uuid, or begin a new one"
            )
        case Refused():
            raise LoginUnusable(f"{answer.why}; its developer has to look at GET /token of the OAuth service")
        case _:
            return _read(answer)


def _without_secrets(grant: Grant, redactor: Redactor) -> Grant:
    """Return a grant without request secrets in its public fields; the part that starts tasks stays unchanged."""
    shown = {name: getattr(grant, name) for name in ("user", "reported_name", "email_address")}
    return replace(grant, **{name: text and redactor.text(text) for name, text in shown.items()})


def _read(content: bytes) -> Grant:
    try:
        answer: Any = json.loads(content)
    except (ValueError, RecursionError):
        size = f"more than {LONGEST_ANSWER >> 10} KiB" if len(content) >= LONGEST_ANSWER else "no JSON"
        raise _unusable(size) from None
    if isinstance(answer, dict) and cast("dict[str, Any]", answer).get("success") is False:
        raise LoginUnfinished("the crawler answered that it did not succeed; finish the login, or begin a new one")
    try:
        return read_grant(answer)
    except ValueError as error:
        raise _unusable(str(error)) from None


def _unusable(why: str) -> LoginUnusable:
    return LoginUnusable(
        f"the crawler answered for the token of this login: {why}; its developer has to let GET /token of the OAuth "
        'service answer {"user", "token", "expiry", "issued"}'
    )


def _words(answer: Any, uuid: str) -> str:
    """Return an EC's error text after a colon, without the login's uuid; empty if it has none."""
    fields = cast("dict[str, Any]", answer) if isinstance(answer, dict) else {}
    words = next((fields[name] for name in _WORDS if isinstance(fields.get(name), str) and fields[name]), None)
    return "" if words is None else f": {cut(words.replace(uuid, '…'))[:_LONGEST_WORDS]}"
