"""What the form of a crawler says, as the crawler's settings, and what is wrong with it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from headwater.catalog.vault import redact
from headwater.console.visits import Form
from headwater.domain.crawler import LONGEST_TIMEOUT, MOST_RETRIES, TIMEOUT, Crawler
from headwater.domain.errors import HeadwaterError
from headwater.domain.external import CredentialType, External
from headwater.domain.filter import MOST_PARTS, parse_where
from headwater.domain.gates import Gates
from headwater.domain.parameter import Parameter, ParameterType, check_parameters
from headwater.domain.redaction import REDACTED
from headwater.domain.schedule import LONGEST_JITTER, LONGEST_STEP, Schedule, check_cron, check_timezone
from headwater.domain.task import Mode, Publish
from headwater.lifecycle.crawlers import KEEP, CrawlerConfig

T = TypeVar("T")

_CHOICES = {ParameterType.MULTI_BOOL, ParameterType.MULTI_SEARCH}
#: The prefix of the fields of parameters.
PREFIX = "param."


@dataclass
class FormErrors:
    """What is wrong with a form, by the name of its field."""

    found: dict[str, list[str]] = field(default_factory=dict[str, list[str]])

    def add(self, name: str, detail: str) -> None:
        """Note a fault of a field."""
        self.found.setdefault(name, []).append(detail)

    def taken(self, name: str, read: Callable[[], T], unless: T) -> T:
        """Return what a field says; note why where it cannot be read."""
        try:
            return read()
        except ValueError as error:
            self.add(name, str(error))
            return unless


def field_of(pointer: str | None) -> str:
    """Return the field of the form that a pointer of an error means."""
    parts = (pointer or "").strip("/").split("/")
    if parts[0] == "params" and len(parts) > 1:
        return PREFIX + parts[1].replace("~1", "/").replace("~0", "~")
    return parts[0]


def config_of(form: Form, external: External, crawler: Crawler | None, faults: FormErrors) -> CrawlerConfig:
    """Return what a form says, and note its faults."""
    name, description = form.get("name").strip()[:200], form.get("description").strip()[:10_000]
    stored = {} if crawler is None else crawler.meta
    given = {**stored, "name": name, "description": description}
    params = params_of(form, external, crawler)
    _check_params(external, params, crawler, faults)
    return CrawlerConfig(
        params=params,
        timeout=faults.taken("timeout", lambda: _whole(form.get("timeout"), 1, LONGEST_TIMEOUT), TIMEOUT),
        retries=faults.taken("retries", lambda: _whole(form.get("retries") or "0", 0, MOST_RETRIES), 0),
        publish=Publish.ON_SUCCESS if form.get("publish") == Publish.ON_SUCCESS else Publish.LIVE,
        scope=_scope(form, faults),
        mode=Mode.SNAPSHOT if form.get("mode") == Mode.SNAPSHOT else Mode.MERGE,
        schedule=schedule_of(form, faults),
        gates=_gates(form, faults),
        meta={key: value for key, value in given.items() if value != ""},
    )


def _scope(form: Form, faults: FormErrors) -> list[str] | None:
    """Return the conditions, one a line; None if there are none."""
    lines = [line.strip() for line in form.get("scope").splitlines() if line.strip()]
    if len(lines) > MOST_PARTS:
        faults.add("scope", f"{MOST_PARTS} conditions at most")
    for line in lines[:MOST_PARTS]:
        try:
            parse_where(line)
        except HeadwaterError as error:
            faults.add("scope", str(error))
    return lines or None


def params_of(form: Form, external: External, crawler: Crawler | None) -> dict[str, Any]:
    """Return the values of the parameters, in their types; a password that is not given stays the stored one."""
    kept = {} if crawler is None else redact(crawler.params)
    values: dict[str, Any] = {}
    for parameter in external.definition.parameters:
        given = form.all(PREFIX + parameter.name)
        if parameter.type is ParameterType.PASSWORD and not given and kept.get(parameter.name) == REDACTED:
            values[parameter.name] = REDACTED
        elif parameter.type in _CHOICES:
            if given or parameter.req:
                values[parameter.name] = given
        elif parameter.type is ParameterType.BOOL:
            if given:
                values[parameter.name] = given[-1] == "true"
        elif given:
            values[parameter.name] = _typed(parameter, given[-1])
    return values


def _typed(parameter: Parameter, text: str) -> Any:
    if parameter.type is ParameterType.INTEGER:
        try:
            return int(text)
        except ValueError:
            return text  # the check says what is wrong with it
    return text


def _check_params(external: External, params: dict[str, Any], crawler: Crawler | None, faults: FormErrors) -> None:
    # A stored password is not read for this: it was checked when it was given.
    parameters = [
        each for each in external.definition.parameters if params.get(each.name) != REDACTED or crawler is None
    ]
    values = {name: value for name, value in params.items() if crawler is None or value != REDACTED}
    try:
        check_parameters(parameters, values)
    except HeadwaterError as error:
        for flaw in error.flaws:
            faults.add(field_of(flaw.pointer), flaw.detail)


def _whole(text: str, least: int, most: int) -> int:
    try:
        value = int(text)
    except ValueError:
        raise ValueError("a whole number is expected") from None
    if not least <= value <= most:
        raise ValueError(f"from {least:,} to {most:,}")
    return value


def schedule_of(form: Form, faults: FormErrors) -> Schedule | None:
    """Return the schedule that a form says; None if it says none, or a wrong one."""
    when = form.get("when")
    if when == "cron":
        cron, zone = form.get("cron").strip(), form.get("timezone").strip() or "UTC"
        faults.taken("cron", lambda: check_cron(cron), None)
        faults.taken("timezone", lambda: check_timezone(zone), None)
        if {"cron", "timezone"} & faults.found.keys():
            return None
        return Schedule(cron=cron, timezone=zone, jitter=_jitter(form, faults, LONGEST_JITTER), paused="paused" in form)
    if when == "every":
        every = faults.taken("every", lambda: _whole(form.get("every"), 1, LONGEST_STEP), 0)
        if not every:
            return None
        jitter = _jitter(form, faults, min(LONGEST_JITTER, every - 1))
        return Schedule(every=every, jitter=jitter, paused="paused" in form)
    return None


def _jitter(form: Form, faults: FormErrors, most: int) -> int:
    return faults.taken("jitter", lambda: _whole(form.get("jitter") or "0", 0, most), 0)


def _gates(form: Form, faults: FormErrors) -> Gates | None:
    least = form.get("min_docs").strip()
    gates = Gates(
        min_docs=faults.taken("min_docs", lambda: _whole(least, 0, (1 << 31) - 1), 0) if least else None,
        max_shrink=_share(form, "max_shrink", 1, faults),
        max_rejected=_share(form, "max_rejected", (1 << 31) - 1, faults),
    )
    return None if gates.are_open else gates


def _share(form: Form, name: str, most: float, faults: FormErrors) -> float | None:
    text = form.get(name).strip()
    if not text:
        return None

    def read() -> float:
        try:
            value = float(text)
        except ValueError:
            raise ValueError("a number is expected, such as 0.2") from None
        if not 0 <= value <= most:
            raise ValueError(f"from 0 to {most:,}")
        if value > 1 and value != int(value):
            raise ValueError("from 1 on it is a number of lines, and whole")
        return value

    return faults.taken(name, read, None)


def credential_of(form: Form, external: External, *, is_stored: bool) -> dict[str, Any] | None:
    """Return the credential that a form gives; a stored one is kept if it gives none."""
    match external.definition.credential:
        case CredentialType.BASIC:
            user, password = form.get("user"), form.get("password")
            if not user and not password:
                return KEEP if is_stored else None
            return {"user": user, "password": password}
        case CredentialType.OAUTH:
            login = form.get("login")
            return {"fid": login} if login else None
        case None:
            return None
