"""All settings, with their defaults and descriptions.

Read from the environment (``HEADWATER_…``), then from a file (``headwater.toml`` in the working
directory, or the one that ``HEADWATER_CONFIG`` names). They are read once, at startup, and passed on as values.
"""

import os
import tomllib
from difflib import get_close_matches
from functools import cached_property
from importlib.resources.abc import Traversable
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

import structlog
from pydantic import AfterValidator, BeforeValidator, ByteSize, Field, SecretStr, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from headwater.catalog.core.dialects import check_url
from headwater.catalog.vault import SHORTEST_SECRET
from headwater.domain.origin import ANY, is_origin
from headwater.domain.redaction import without_password
from headwater.domain.schedule import LONGEST_STEP, Schedule, check_cron
from headwater.domain.scope import Scope
from headwater.domain.webhook import PAUSES

log = structlog.get_logger(__name__)

PREFIX = "HEADWATER_"
#: Names the file to read instead of ``FILE``.
CONFIG = "HEADWATER_CONFIG"
#: Variables of client commands; they may be set in the environment of a server as well.
CLIENTS = frozenset({"HEADWATER_URL", "HEADWATER_KEY", "HEADWATER_CRAWLER", "HEADWATER_ENDPOINT", "HEADWATER_SYNC_URL"})
FILE = "headwater.toml"
#: Settings renamed in version 0.2: the former name still works in 0.2, with a warning.
RENAMED = {
    "upload_stall": "upload_idle_timeout",
    "notice_pauses": "notice_backoff",
    "retry_pauses": "retry_backoff",
    "webhook_pauses": "webhook_backoff",
}
#: Schemes of the URLs of object stores.
OBJECT_STORES = ("s3", "gs", "az")
#: The shortest time between two backups by the schedule, in seconds.
SHORTEST_BACKUP_STEP = 60
#: The minimum memory with which DuckDB works, whatever it reads.
LEAST_QUERY_MEMORY = 256 << 20


def _database_url(url: str) -> str:
    check_url(url)
    return url


def _long_enough(secret: SecretStr) -> SecretStr:
    if len(secret.get_secret_value()) < SHORTEST_SECRET:
        raise ValueError(f"it has fewer than {SHORTEST_SECRET} characters")
    return secret


def object_store_url(url: str) -> str:
    """Return the URL of a place in an object store, without a slash at its end.

    Raises:
        ValueError: it is none, or it says more than where.
    """
    parts = urlsplit(url)
    if parts.scheme not in OBJECT_STORES or not parts.netloc:
        raise ValueError(
            f"{without_password(url)!r} is no place in an object store: s3://bucket/prefix, gs://…, az://…"
        )
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("it names a bucket and a prefix and nothing else; credentials are in the environment, AWS_…")
    return url.rstrip("/")


def _is_loopback(host: str | None) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host or "").is_loopback
    except ValueError:
        return False


def _origin(text: str) -> str:
    if text != ANY and not is_origin(text):
        raise ValueError(f"{text!r} is no origin: scheme and host without a path, https://shop.example; or *")
    return text


def _texts(value: object) -> object:
    if not isinstance(value, str):
        return value
    return [text for text in (each.strip(" \"'") for each in value.strip("[] ").split(",")) if text]


def _backup_schedule(text: str) -> Schedule:
    """Return the schedule that a text means: seconds, or a cron expression in UTC.

    Raises:
        ValueError: it is neither.
    """
    if not text.strip().isdecimal():
        check_cron(text)
        return Schedule(cron=text, timezone="UTC")
    if not SHORTEST_BACKUP_STEP <= int(text) <= LONGEST_STEP:
        raise ValueError(f"{text} is not between {SHORTEST_BACKUP_STEP} and {LONGEST_STEP} seconds")
    return Schedule(every=int(text))


def _is_backup_schedule(text: str) -> str:
    _backup_schedule(text)
    return text


def _backup_target(text: str) -> str:
    return object_store_url(text) if "://" in text else text


def _text(value: object) -> object:
    return str(value) if isinstance(value, int) else value


def _numbers(value: object) -> object:
    return value.strip("[] ").split(",") if isinstance(value, str) else value


class _FormerNames(PydanticBaseSettingsSource):
    """Environment variables with former names of settings."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return no value: all are read at once."""
        del field
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        given = {name: os.environ.get(f"{PREFIX}{name}".upper()) for name in RENAMED}
        return _with_present_names({name: value for name, value in given.items() if value is not None})


class _File(TomlConfigSettingsSource):
    """The settings file, in which settings may have their former names."""

    def _read_file(self, file_path: Path | Traversable) -> dict[str, Any]:
        return _with_present_names(super()._read_file(file_path))


def _with_present_names(given: dict[str, Any]) -> dict[str, Any]:
    """Return settings by their present names, and warn about former ones; a present name wins."""
    former = {name: given[name] for name in given.keys() & RENAMED.keys()}
    for name in former:
        log.warning("settings.renamed", former_name=name, name=RENAMED[name])
    renamed = {RENAMED[name]: value for name, value in former.items()}
    return renamed | {name: value for name, value in given.items() if name not in RENAMED}


class SettingsWrong(ValueError):
    """The settings are invalid."""


class Settings(BaseSettings):
    """The settings of a server."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    data: Path = Field(
        default=Path("headwater-data"),
        description="Directory of the lake, the embedded database and the keys that the first start makes.",
    )
    database_url: Annotated[str, AfterValidator(_database_url)] | None = Field(
        default=None,
        description="The catalog, `postgresql+psycopg://…`; unset, SQLite in the data directory.",
    )
    lake_url: Annotated[str, AfterValidator(object_store_url)] | None = Field(
        default=None,
        description="The lake in an object store, `s3://bucket/prefix`, `gs://…` or `az://…`; unset, it is in the data "
        "directory. Credentials and endpoint are read from the environment, `AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL` …",
    )
    lake_cache: ByteSize = Field(
        default=ByteSize(10 << 30),
        ge=64 << 20,
        description="Bytes of the disk for copies of the files of an object store, shared by the workers; the least "
        "recently used go first.",
    )
    lake_read_role: str | None = Field(
        default=None,
        description="ARN of a role that may read the lake in S3: engines that read streams as Iceberg tables get "
        "credentials of it for one stream, for an hour, and read the files from the store.",
    )
    secret_key: Annotated[SecretStr, AfterValidator(_long_enough)] | None = Field(
        default=None,
        description="Seals credentials and makes task tokens; unset, the embedded server makes one, `secret.key`.",
    )
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8080, ge=1, le=65535, description="Port to listen on.")
    workers: int = Field(
        default=1, ge=1, description="Processes that answer on the port; set to the number of CPU cores."
    )
    public_url: str | None = Field(
        default=None,
        description="Where crawlers and people reach this server, with the path below which a proxy serves it, if any; "
        "unset, `http://host:port`.",
    )
    cors_origins: Annotated[tuple[Annotated[str, AfterValidator(_origin)], ...], NoDecode, BeforeValidator(_texts)] = (
        Field(
            default=(),
            description="Origins whose web pages may call the API, `https://shop.example`, or `*`; endpoints with a "
            "task's token are open to all.",
        )
    )
    max_upload: ByteSize = Field(default=ByteSize(4 << 30), description="Largest upload, decompressed.")
    max_document: ByteSize = Field(
        default=ByteSize(16 << 20), le=256 << 20, description="Largest document; 256 MiB at most."
    )
    max_inlined: ByteSize = Field(
        default=ByteSize(64 << 10),
        le=1 << 20,
        description="Largest upload, decompressed, that is kept in the database until it is merged; 0: each is a file.",
    )
    max_request: ByteSize = Field(default=ByteSize(8 << 20), description="Largest body of any other request.")
    upload_memory: ByteSize = Field(
        default=ByteSize(512 << 20),
        ge=64 << 20,
        description="Documents of uploads under way that are held in memory, shared by the workers; beyond it, they "
        "are written sooner and read slower.",
    )
    upload_idle_timeout: float = Field(
        default=60.0, gt=0, le=3600, description="Seconds for which an upload may send nothing before it is dropped."
    )
    uploads_per_task: int = Field(
        default=32, ge=1, description="Uploads of one task at once, in each worker; more are asked to wait (429)."
    )
    max_task_log: ByteSize = Field(
        default=ByteSize(256 << 20), description="Largest log of one attempt of a task; beyond it, lines are dropped."
    )
    max_task_log_lines: int = Field(
        default=2_000_000, ge=0, description="Most lines of such a log; beyond it, lines are dropped."
    )
    requests_per_minute: int | None = Field(
        default=None, ge=1, description="Requests of one API key a minute; more are asked to wait (429)."
    )
    failed_logins_per_minute: int | None = Field(
        default=60,
        ge=1,
        description="Wrong keys and tokens a minute from one address; beyond it, it is asked to wait (429), but for "
        "keys that have been in use.",
    )
    trusted_proxies: str = Field(
        default="127.0.0.1,::1",
        description="Addresses and networks of proxies, separated by commas, whose `X-Forwarded-For` and "
        "`X-Forwarded-Proto` are believed; `*` for all.",
    )
    tls_cert: Path | None = Field(
        default=None,
        description="Certificate with its chain, PEM; with `tls_key` the server answers by TLS, and reads both again "
        "when they change.",
    )
    tls_key: Path | None = Field(default=None, description="Private key of `tls_cert`, PEM.")
    oidc_issuer: str | None = Field(
        default=None,
        description="OpenID Connect provider at which people sign in to the console, `https://login.example.org`.",
    )
    oidc_client_id: str | None = Field(default=None, description="What the provider knows Headwater by.")
    oidc_client_secret: SecretStr | None = Field(default=None, description="Its secret, if the provider wants one.")
    oidc_claim: str = Field(
        default="groups", description="Claim of the provider's ID token that decides what somebody may do."
    )
    oidc_scopes: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_texts)] = Field(
        default=(),
        description="Values of `oidc_claim` and their scopes, `ops=admin, crawls=write, *=read`; `*` is everybody who "
        "can sign in.",
    )
    max_connections: int = Field(
        default=1024,
        ge=1,
        description="Connections at once, in each worker; fewer where file descriptors do not suffice. Beyond "
        "it, those that are idle are closed.",
    )
    max_header: ByteSize = Field(
        default=ByteSize(64 << 10),
        ge=4 << 10,
        le=1 << 20,
        description="Largest line and header fields of a request together.",
    )
    header_timeout: float = Field(
        default=20.0, gt=0, le=3600, description="Seconds within which the header of a request must arrive."
    )
    request_timeout: float = Field(
        default=60.0,
        gt=0,
        le=3600,
        description="Seconds within which the body of a request other than an upload must arrive.",
    )
    keep_alive_timeout: float = Field(
        default=75.0, gt=0, le=3600, description="Seconds for which a connection may be idle between two requests."
    )
    response_stall: float = Field(
        default=300.0,
        gt=0,
        le=86400,
        description="Seconds for which a client may read nothing of an answer before the connection is closed.",
    )
    metrics_crawlers: int = Field(
        default=50,
        ge=0,
        le=10_000,
        description="The oldest crawlers, so many, have labels of their own in `/metrics`; the others are `other`.",
    )
    shared_data: bool = Field(
        default=False,
        description="Whether several servers may use one data directory with its embedded database at once.",
    )
    upload_threads: int = Field(
        default=4, ge=1, description="Threads that decode, check and write uploads, in each worker."
    )
    query_memory: ByteSize = Field(
        default=ByteSize(1 << 30),
        ge=LEAST_QUERY_MEMORY,
        description="Memory for reading streams, shared by the workers; beyond it, DuckDB spills to the disk.",
    )
    query_threads: int = Field(
        default_factory=lambda: os.cpu_count() or 1, ge=1, description="Threads for reading streams; unset, one a core."
    )
    disk_reserve: ByteSize = Field(
        default=ByteSize(256 << 20),
        description="Bytes that uploads leave free on the disk, a tenth of it at most, so that there is room to delete "
        "and purge; below it, uploads are refused (507).",
    )
    retention_days: float = Field(
        default=30.0,
        gt=0,
        le=36500,
        description="Days for which what a stream no longer shows is kept: deleted tasks can be restored, and "
        "former versions read, so long.",
    )
    verify_hours: float = Field(
        default=24.0,
        gt=0,
        le=8760,
        description="Hours after which a process verifies the digest of a segment's file again when it is read; "
        "before its first read, and after each change of the file, it does so anyway.",
    )
    backup_to: Annotated[str, AfterValidator(_backup_target)] | None = Field(
        default=None,
        description="Directory or place in an object store (`s3://bucket/prefix`) for backups by a schedule, as "
        "`headwater backup` takes it; unset, none are made.",
    )
    backup_every: Annotated[str, BeforeValidator(_text), AfterValidator(_is_backup_schedule)] = Field(
        default="86400",
        description="When they are made: seconds from one to the next, or a cron expression in UTC, `30 2 * * *`.",
    )
    backup_keep: int | None = Field(
        default=None, ge=1, description="Backups that are kept, the newest; unset, all are."
    )
    scrub_days: float = Field(
        default=30.0,
        ge=0,
        le=3650,
        description="Days within which all files in the data directory are verified in the background, as by "
        "`headwater verify`; 0: they are not.",
    )
    event_days: float = Field(
        default=30.0,
        gt=0,
        le=36500,
        description="Days for which events are kept: so long, who followed them can go on where it was.",
    )
    receipt_days: float = Field(
        default=30.0,
        gt=0,
        le=36500,
        description="Days after the end of a task for which a repeated upload is recognized by its Idempotency-Key.",
    )
    attempt_days: float = Field(
        default=365.0,
        gt=0,
        le=36500,
        description="Days for which the records of former attempts of tasks are kept.",
    )
    audit_days: float = Field(
        default=730.0,
        ge=1,
        le=36500,
        description="Days for which entries of the audit are kept; younger ones cannot be deleted.",
    )
    notice_backoff: Annotated[tuple[float, ...], NoDecode, BeforeValidator(_numbers)] = Field(
        default=(2.0, 6.0, 16.0, 36.0),
        description="Seconds between tries to reach a crawler; there is one try more than pauses.",
    )
    retry_backoff: Annotated[
        tuple[Annotated[float, Field(gt=0)], ...], NoDecode, BeforeValidator(_numbers), Field(min_length=1)
    ] = Field(
        default=(60.0, 300.0, 900.0, 3600.0),
        description="Seconds before each automatic retry of a task; the last one holds for all that follow.",
    )
    crawler_private_addresses: bool | None = Field(
        default=None,
        description="Whether crawlers, and their OAuth services, may be at private and loopback addresses; unset, they "
        "may if the server itself is reached on this machine only (`host`, and `public_url` if it is set).",
    )
    webhook_backoff: Annotated[tuple[float, ...], NoDecode, BeforeValidator(_numbers)] = Field(
        default=PAUSES,
        description="Seconds between tries to deliver to a webhook; there is one try more than pauses.",
    )
    webhook_timeout: float = Field(
        default=20.0, gt=0, le=30, description="Seconds within which the receiver of a webhook has to answer."
    )
    webhook_private_addresses: bool = Field(
        default=False,
        description="Whether webhooks may lead to private, loopback and link-local addresses, and to plain http.",
    )
    otlp_endpoint: str | None = Field(
        default=None,
        description="Where traces are sent, an OpenTelemetry collector, `http://host:4318`; unset, none are made.",
    )
    log_format: Literal["auto", "json", "console"] = Field(
        default="auto", description="`auto` is `console` on a terminal and `json` elsewhere."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least level that is logged."
    )

    @model_validator(mode="after")
    def _both_of_tls(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key go together")
        return self

    @model_validator(mode="after")
    def _role_of_s3(self) -> Self:
        if self.lake_read_role is not None and not (self.lake_url or "").startswith("s3://"):
            raise ValueError("lake_read_role needs a lake in S3: lake_url, s3://bucket/prefix")
        return self

    @model_validator(mode="after")
    def _backups_elsewhere(self) -> Self:
        if self.backup_to is not None:
            try:
                self.require_elsewhere(self.backup_to)
            except ValueError as error:
                raise ValueError(f"backup_to: {error}") from None
        return self

    def require_elsewhere(self, backups: str) -> None:
        """Raise unless a place for backups is another one than those of the catalog and the lake.

        Raises:
            ValueError: it is in one of them.
        """
        if "://" in backups:
            if self.lake_url is not None and f"{backups}/".startswith(f"{self.lake_url}/"):
                raise ValueError(f"{backups} is in the lake; choose another bucket, if possible")
        elif Path(backups).resolve().is_relative_to(self.data.resolve()):
            raise ValueError(f"{backups} is in the data directory; choose another disk, if possible")

    @model_validator(mode="after")
    def _all_of_oidc(self) -> Self:
        if self.oidc_issuer is None:
            return self
        issuer = urlsplit(self.oidc_issuer)
        if not issuer.hostname or (issuer.scheme != "https" and not _is_loopback(issuer.hostname)):
            raise ValueError("oidc_issuer has to be an https URL")
        if not self.oidc_client_id or not self.oidc_scopes:
            raise ValueError("oidc_issuer needs oidc_client_id and oidc_scopes, such as ops=admin, *=read")
        for each in self.oidc_scopes:
            value, _, scope = each.rpartition("=")
            if not value or scope not in set(Scope):
                raise ValueError(f"oidc_scopes: {each!r} is not a value and a scope, such as ops=admin")
        return self

    @property
    def backup_schedule(self) -> Schedule:
        """``backup_every`` as a schedule."""
        return _backup_schedule(self.backup_every)

    @property
    def scopes_by_claim(self) -> dict[str, Scope]:
        """``oidc_scopes`` as a table."""
        pairs = (each.rpartition("=") for each in self.oidc_scopes)
        return {value: Scope(scope) for value, _, scope in pairs}

    @cached_property
    def catalog_url(self) -> str:
        """The URL of the catalog, embedded or not."""
        return self.database_url or f"sqlite:///{self.data.resolve() / 'catalog.sqlite'}"

    @property
    def reached_at(self) -> str:
        """The base URL that crawlers use."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.public_url or f"{'http' if self.tls_cert is None else 'https'}://{host}:{self.port}"

    @property
    def calls_private_crawlers(self) -> bool:
        """Whether crawlers at private addresses may be called."""
        if self.crawler_private_addresses is not None:
            return self.crawler_private_addresses
        return _is_loopback(self.host) and (self.public_url is None or _is_loopback(urlsplit(self.public_url).hostname))

    @property
    def is_embedded(self) -> bool:
        """Whether the catalog is the SQLite database in the data directory, which the server manages itself."""
        return self.database_url is None

    def described(self) -> list[tuple[str, str, str, bool]]:
        """Return each setting's name, its value without secrets, its description, and whether it is the default."""
        described: list[tuple[str, str, str, bool]] = []
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            # Secrets print as asterisks; a database's URL may hold a password.
            shown = without_password(value) if name == "database_url" else value
            is_default = name not in self.model_fields_set
            described.append((name, "" if shown is None else str(shown), field.description or "", is_default))
        return described

    @classmethod
    def read(cls, **given: Any) -> Self:
        """Read the settings: arguments take precedence over the environment, and that over the file.

        Raises:
            SettingsWrong: a setting is unknown or invalid, or the file cannot be read.
        """
        known = {f"{PREFIX}{name}".upper() for name in [*cls.model_fields, *RENAMED]} | {CONFIG} | CLIENTS
        strangers = sorted(name for name in os.environ if name.upper().startswith(PREFIX) and name not in known)
        if strangers:
            raise SettingsWrong(f"there is no setting {', '.join(strangers)}; docs/reference/settings.md lists them")
        if CONFIG in os.environ and not Path(os.environ[CONFIG]).exists():
            raise SettingsWrong(f"{CONFIG} names {os.environ[CONFIG]}, which does not exist")
        try:
            return cls(**given)
        except ValidationError as error:
            faults = error.errors(include_input=False, include_url=False)
            raise SettingsWrong(
                "; ".join(cls._described(fault["type"], fault["loc"], fault["msg"]) for fault in faults)
            ) from error
        except (tomllib.TOMLDecodeError, OSError) as error:
            raise SettingsWrong(f"the file {os.environ.get(CONFIG, FILE)} cannot be read: {error}") from error

    @classmethod
    def _described(cls, kind: str, loc: tuple[int | str, ...], message: str) -> str:
        message = message.removeprefix("Value error, ")
        if not loc:
            return message
        name = str(loc[0])
        if kind != "extra_forbidden":
            return f"setting {name}: {message}"
        # Only the file can name a setting that there is not: variables were checked before.
        near = get_close_matches(name, cls.model_fields, n=1)
        meant = f"; {near[0]} may be meant" if near else ""
        file = os.environ.get(CONFIG, FILE)
        return f"there is no setting {name}, in {file}{meant}; docs/reference/settings.md lists them"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources: arguments, then the environment, then the file."""
        del dotenv_settings, file_secret_settings
        file = Path(os.environ.get(CONFIG, FILE))
        return init_settings, env_settings, _FormerNames(settings_cls), _File(settings_cls, file)
