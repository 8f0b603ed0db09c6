"""The form of a crawler: parameters by its External's description, schedule, gates, and what else it may be told."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from starlette.responses import Response

from headwater.catalog import credentials, externals, objects, runs
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.objects import CRAWLERS, STREAMS
from headwater.catalog.vault import redact
from headwater.console.crawler_values import PREFIX, FormErrors, config_of, credential_of, field_of, schedule_of
from headwater.console.pages.crawlers import coming, in_words, zone_of
from headwater.console.pages.streams import new_stream
from headwater.console.rendering import render
from headwater.console.routing import Pages
from headwater.console.visits import Form, Visit
from headwater.domain.crawler import TIMEOUT, Crawler
from headwater.domain.errors import HeadwaterError
from headwater.domain.external import CredentialType, External
from headwater.domain.oauth import Credential
from headwater.domain.parameter import Option, Parameter, ParameterType
from headwater.domain.redaction import REDACTED
from headwater.domain.schedule import Schedule
from headwater.domain.stream import Stream
from headwater.domain.task import Publish
from headwater.lifecycle import crawlers as crawler_actions

pages = Pages()

#: Streams that are offered to a new crawler.
OFFERED = 200


@dataclass(frozen=True, kw_only=True)
class ParameterField:
    """A parameter as a field of the form."""

    parameter: Parameter
    name: str
    label: str
    #: What is shown: the texts that were given, or the stored value. Passwords never are.
    values: Sequence[str]
    options: Sequence[tuple[str, str]]
    #: Whether a password is stored, which stays unless another one is given.
    is_kept: bool
    wrong: Sequence[str]
    #: Rules against other parameters, in words.
    rules: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class CrawlerForm:
    """Everything that the form shows."""

    external: External
    crawler: Crawler | None
    values: Mapping[str, str]
    fields: Sequence[ParameterField]
    faults: Mapping[str, Sequence[str]]
    streams: Sequence[tuple[str, str]]
    logins: Sequence[Credential]
    schedule: str | None
    coming: Sequence[datetime]
    #: That these are told in; None for the reader's.
    zone: str | None


@dataclass(frozen=True, kw_only=True)
class _Known:
    external: External
    crawler: Crawler | None
    streams: Sequence[Stream]
    logins: Sequence[Credential]


@pages.get("/externals/{fid}/crawler")
async def new_crawler(visit: Visit) -> Response:
    """Show the form of a new crawler of an External."""
    known = await visit.services.db.read(_known_of_external, visit.fid)
    return _shown(visit, known, _stored(known), FormErrors())


@pages.get("/crawlers/{fid}/edit")
async def edit_crawler(visit: Visit) -> Response:
    """Show the form of a crawler."""
    known = await visit.services.db.read(_known_of_crawler, visit.fid)
    return _shown(visit, known, _stored(known), FormErrors())


@pages.post("/externals/{fid}/check-form", action="check_form", about="externals")
async def check_new(visit: Visit) -> Response:
    """Return the faults of what was typed so far; nothing is changed."""
    known = await visit.services.db.read(_known_of_external, visit.fid)
    return _checked(visit, known)


@pages.post("/crawlers/{fid}/check-form", action="check_form", about="crawlers")
async def check_present(visit: Visit) -> Response:
    """Return the faults of what was typed so far; nothing is changed."""
    known = await visit.services.db.read(_known_of_crawler, visit.fid)
    return _checked(visit, known)


def _checked(visit: Visit, known: _Known) -> Response:
    faults = FormErrors()
    config = config_of(visit.form, known.external, known.crawler, faults)
    form = _form(visit, known, visit.form, faults, config.schedule)
    return render(visit, "parts/form_faults.html", form=form)


@pages.post("/externals/{fid}/crawler", action="create_crawler", about="externals")
async def create(visit: Visit) -> Response:
    """Create a crawler, with a new stream if none is chosen."""
    services = visit.services
    known = await services.db.read(_known_of_external, visit.fid)
    faults = FormErrors()
    config = config_of(visit.form, known.external, None, faults)
    credential = credential_of(visit.form, known.external, is_stored=False)

    def store(tx: Transaction, at: datetime) -> Crawler:
        stream = visit.form.get("stream")
        if not stream:
            name = visit.form.get("stream_name").strip()[:200] or str(config.meta.get("name") or "")
            stream = objects.add(tx, STREAMS, new_stream(name, at)).fid
        return crawler_actions.create_crawler(
            tx, visit.fid, stream, config, credential=credential, vault=services.vault, at=at, rng=services.rng
        )

    return await _stored_or_shown(visit, known, faults, store)


@pages.post("/crawlers/{fid}/edit", action="patch_crawler", about="crawlers")
async def change(visit: Visit) -> Response:
    """Change a crawler."""
    services = visit.services
    known = await services.db.read(_known_of_crawler, visit.fid)
    faults = FormErrors()
    config = config_of(visit.form, known.external, known.crawler, faults)
    is_stored = known.crawler is not None and known.crawler.credential_type is not None
    credential = credential_of(visit.form, known.external, is_stored=is_stored)

    def store(tx: Transaction, at: datetime) -> Crawler:
        old = objects.get(tx, CRAWLERS, visit.fid, lock=True)
        return crawler_actions.change_crawler(
            tx, old, config, credential=credential, vault=services.vault, at=at, rng=services.rng
        )

    return await _stored_or_shown(visit, known, faults, store)


async def _stored_or_shown(
    visit: Visit, known: _Known, faults: FormErrors, store: Callable[[Transaction, datetime], Crawler]
) -> Response:
    if not faults.found:
        try:
            made = await visit.services.db.write(store, visit.services.clock())
        except HeadwaterError as error:
            for flaw in error.flaws or ():
                faults.add(field_of(flaw.pointer), flaw.detail)
            if not error.flaws:
                faults.add("", error.detail)
        else:
            return visit.go(f"/console/crawlers/{made.fid}", notice="Saved.")
    return _shown(visit, known, visit.form, faults, status=400)


def _known_of_external(tx: Transaction, fid: str) -> _Known:
    external = externals.to_run(tx, fid)
    taken = {crawler.stream for crawler in runs.crawlers(tx)}
    free = [
        stream for stream in objects.page(tx, STREAMS, where={}, after=None, limit=OFFERED) if stream.fid not in taken
    ]
    return _Known(external=external, crawler=None, streams=free, logins=_logins(tx, external))


def _known_of_crawler(tx: Transaction, fid: str) -> _Known:
    crawler = objects.get(tx, CRAWLERS, fid)
    external = externals.to_run(tx, crawler.external)
    return _Known(external=external, crawler=crawler, streams=(), logins=_logins(tx, external))


def _logins(tx: Transaction, external: External) -> list[Credential]:
    if external.definition.credential is not CredentialType.OAUTH:
        return []
    return credentials.page(tx, external.fid, after=None, limit=100)


def _stored(known: _Known) -> Form:
    """Return what is stored, as the fields of the form."""
    crawler = known.crawler
    if crawler is None:
        return Form([("timeout", str(TIMEOUT)), ("retries", "0"), ("publish", str(Publish.LIVE)), *_defaults(known)])
    schedule, gates = crawler.schedule, crawler.gates
    pairs: list[tuple[str, str]] = [
        ("name", str(crawler.meta.get("name") or "")),
        ("description", str(crawler.meta.get("description") or "")),
        ("timeout", str(crawler.timeout)),
        ("retries", str(crawler.retries)),
        ("publish", str(crawler.publish)),
        ("mode", str(crawler.mode)),
        ("scope", "\n".join(crawler.scope or ())),
        ("login", crawler.login or ""),
    ]
    if schedule is not None:
        pairs += [
            ("when", "cron" if schedule.cron else "every"),
            ("cron", schedule.cron or ""),
            ("timezone", schedule.timezone or ""),
            ("every", str(schedule.every or "")),
            ("jitter", str(schedule.jitter or "")),
            *([("paused", "on")] if schedule.paused else []),
        ]
    if gates is not None:
        named = (("min_docs", gates.min_docs), ("max_shrink", gates.max_shrink), ("max_rejected", gates.max_rejected))
        pairs += [(name, f"{value:g}") for name, value in named if value is not None]
    for name, value in redact(crawler.params).items():
        pairs += [(PREFIX + name, text) for text in _texts(value)]
    return Form(pairs)


def _defaults(known: _Known) -> list[tuple[str, str]]:
    return [
        (PREFIX + parameter.name, text)
        for parameter in known.external.definition.parameters
        if parameter.default is not None
        for text in _texts(parameter.default)
    ]


def _texts(value: Any) -> list[str]:
    if value is None or value == REDACTED:
        return []
    if isinstance(value, list):
        return [str(each) for each in cast("list[Any]", value)]
    return [str(value).lower() if isinstance(value, bool) else str(value)]


def _shown(visit: Visit, known: _Known, given: Form, faults: FormErrors, *, status: int = 200) -> Response:
    schedule = schedule_of(given, FormErrors())
    form = _form(visit, known, given, faults, schedule)
    return render(visit, "crawler_form.html", status=status, form=form)


def _form(visit: Visit, known: _Known, given: Form, faults: FormErrors, schedule: Schedule | None) -> CrawlerForm:
    kept = {} if known.crawler is None else redact(known.crawler.params)
    return CrawlerForm(
        external=known.external,
        crawler=known.crawler,
        values={name: value for name, value in given.pairs if not name.startswith(PREFIX) and name != "password"},
        fields=[_field(parameter, given, kept, faults) for parameter in known.external.definition.parameters],
        faults=faults.found,
        streams=[(stream.fid, runs.name_of(stream.fid, stream.meta)) for stream in known.streams],
        logins=known.logins,
        schedule=in_words(schedule),
        coming=coming(schedule, visit.at),
        zone=zone_of(schedule),
    )


def _field(parameter: Parameter, given: Form, kept: Mapping[str, Any], faults: FormErrors) -> ParameterField:
    name = PREFIX + parameter.name
    is_password = parameter.type is ParameterType.PASSWORD
    return ParameterField(
        parameter=parameter,
        name=name,
        label=parameter.display_name or parameter.name,
        values=[] if is_password else given.all(name),
        options=[_option(option) for option in parameter.options or ()],
        is_kept=is_password and kept.get(parameter.name) == REDACTED,
        wrong=faults.found.get(name, []),
        rules=[each.message or f"{each.rule} {each.target}" for each in parameter.restrictions],
    )


def _option(option: str | Option) -> tuple[str, str]:
    return (option, option) if isinstance(option, str) else (option.value, option.label or option.value)
