"""Creating and changing crawlers; a crawler is an External with parameters and a credential, for one stream."""

from dataclasses import dataclass, replace
from datetime import datetime
from random import random
from typing import Any

from headwater.catalog import crawlers, credentials, externals, objects
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.objects import CRAWLERS, STREAMS
from headwater.catalog.vault import Vault, keep_redacted
from headwater.domain.crawler import Crawler
from headwater.domain.errors import Flaw, RequestInvalid
from headwater.domain.expectation import Expectation
from headwater.domain.external import CredentialType, External, check_credential, credential_unfit, named_login
from headwater.domain.gates import Gates
from headwater.domain.ids import new_fid
from headwater.domain.parameter import check_parameters
from headwater.domain.schedule import Rng, Schedule, kept_moments, next_run
from headwater.domain.schema import cut
from headwater.domain.task import Mode, Publish


@dataclass(frozen=True, kw_only=True)
class CrawlerConfig:
    """The settings of a crawler that a caller chooses."""

    params: dict[str, Any]
    timeout: int
    publish: Publish
    mode: Mode = Mode.MERGE
    scope: list[str] | None = None
    schedule: Schedule | None
    gates: Gates | None = None
    retries: int = 0
    expect: Expectation | None = None
    meta: dict[str, Any]


#: As a credential: keep the stored one.
KEEP: dict[str, Any] = {}


def create_crawler(
    tx: Transaction,
    external_fid: str,
    stream: str,
    setting: CrawlerConfig,
    *,
    credential: dict[str, Any] | None,
    vault: Vault,
    at: datetime,
    version: int | None = None,
    rng: Rng = random,
) -> Crawler:
    """Create a crawler, validated against ``version`` of its External, by default the published one.

    Raises:
        NotFound: there is no such External, or no such version of it.
        RequestInvalid: there is no such stream, or the External cannot be started automatically.
        ParametersInvalid: parameters or credential do not fit the External.
        StreamTaken: another crawler feeds the stream.
    """
    external = externals.to_run(tx, external_fid, version)
    if objects.find(tx, STREAMS, stream) is None:
        detail = f"there is no stream {stream!r}"
        raise RequestInvalid(detail, flaws=[Flaw(pointer="/meta/links/0/from/fid", detail=detail)])
    credential_fields = _kept_credential(tx, external, credential, vault)
    _require_startable(external, setting)
    crawler = Crawler(
        fid=new_fid(at),
        external=external.fid,
        stream=stream,
        params=_sealed_params(external, setting.params, vault),
        **credential_fields,
        schedule=setting.schedule,
        timeout=setting.timeout,
        publish=setting.publish,
        mode=setting.mode,
        scope=setting.scope,
        gates=setting.gates,
        retries=setting.retries,
        **_planned(setting.schedule, at=at, rng=rng),
        **_expected(setting.expect, at=at),
        created_at=at,
        updated_at=at,
        version=1,
        meta=setting.meta,
    )
    return crawlers.add(tx, crawler)


def change_crawler(
    tx: Transaction,
    old: Crawler,
    setting: CrawlerConfig,
    *,
    credential: dict[str, Any] | None,
    vault: Vault,
    at: datetime,
    version: int | None = None,
    rng: Rng = random,
) -> Crawler:
    """Change a crawler, with the same validation; running tasks are not affected.

    Raises:
        NotFound: there is no such version of its External.
        RequestInvalid: the External cannot be started automatically.
        ParametersInvalid: parameters or credential do not fit the External.
        MovedMeanwhile: it was changed since ``old`` was read.
    """
    external = externals.to_run(tx, old.external, version)
    _require_startable(external, setting)
    credential_fields = {} if credential is KEEP else _kept_credential(tx, external, credential, vault)
    plain = vault.unseal_passwords(keep_redacted(old.params, setting.params))
    # With an unchanged schedule, the next run is already set.
    planned = {} if setting.schedule == old.schedule else _planned(setting.schedule, at=at, rng=rng)
    # Likewise, with an unchanged expectation its deadline is.
    expected = {} if setting.expect == old.expect else _expected(setting.expect, at=at)
    new = replace(
        old,
        params=vault.keep_seals(old.params, _sealed_params(external, plain, vault)),
        schedule=setting.schedule,
        timeout=setting.timeout,
        publish=setting.publish,
        mode=setting.mode,
        scope=setting.scope,
        gates=setting.gates,
        retries=setting.retries,
        meta=setting.meta,
        **credential_fields,
        **planned,
        **expected,
        **objects.edited(at, old.version),
    )
    return objects.save(tx, CRAWLERS, old, new)


def _kept_credential(
    tx: Transaction, external: External, credential: dict[str, Any] | None, vault: Vault
) -> dict[str, Any]:
    """Return the fields of a crawler that hold its credential or refer to one."""
    wanted = external.definition.credential
    check_credential(wanted, credential)
    if credential is None:
        return {"sealed_credential": None, "credential_type": None, "login": None}
    if wanted is not CredentialType.OAUTH:
        return {"sealed_credential": vault.seal(credential), "credential_type": wanted, "login": None}
    fid = named_login(credential) or ""
    # Locked, so that it still exists when this is committed.
    login = credentials.find(tx, fid, lock=True)
    if login is None or login.external != external.fid:
        raise credential_unfit(f"the External has no credential {cut(fid)!r}")
    return {"sealed_credential": None, "credential_type": wanted, "login": login.fid}


def _planned(schedule: Schedule | None, *, at: datetime, rng: Rng) -> dict[str, Any]:
    return kept_moments(next_run(schedule, after=at, last=None, rng=rng))


def _expected(expect: Expectation | None, *, at: datetime) -> dict[str, Any]:
    """Return the fields of a crawler of which runs are expected from now on."""
    by = None if expect is None else expect.deadline(after=at)
    return {"expect": expect, "expected_by": by, "missed_since": None}


def _require_startable(external: External, setting: CrawlerConfig) -> None:
    """Raise if a crawler has a schedule or automatic retries and its External cannot be started by the server."""
    if not external.is_push:
        return
    wanted = {"schedule": setting.schedule is not None, "retries": setting.retries > 0}
    flaws = [
        Flaw(pointer=f"/{name}", detail="the External has no endpoint (push): its script begins each run by itself")
        for name, is_wanted in wanted.items()
        if is_wanted
    ]
    if flaws:
        raise RequestInvalid(f"Headwater cannot start this crawler: {flaws[0].message}", flaws=flaws)


def _sealed_params(external: External, values: dict[str, Any], vault: Vault) -> dict[str, Any]:
    parameters = external.definition.parameters
    check_parameters(parameters, values)
    return vault.seal_passwords(parameters, values)
