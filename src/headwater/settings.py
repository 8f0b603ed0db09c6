"""Every knob, its default, and one sentence each.

Read from the environment (``HEADWATER_…``), then from a file (``headwater.toml`` in the working
directory, or the one that ``HEADWATER_CONFIG`` names). Read once, at the door; below, they are values.
"""

import os
import tomllib
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, ByteSize, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from headwater.catalog.dialects import check_url
from headwater.catalog.vault import SHORTEST_SECRET
from headwater.domain.webhook import PAUSES

PREFIX = "HEADWATER_"
#: Names another file than ``FILE``.
CONFIG = "HEADWATER_CONFIG"
#: What commands that ask a server find there; they may stand in the environment of a server as well.
CLIENTS = frozenset({"HEADWATER_URL", "HEADWATER_KEY", "HEADWATER_CRAWLER", "HEADWATER_ENDPOINT"})
FILE = "headwater.toml"
#: DuckDB can work with so much, whatever it reads.
LEAST_QUERY_MEMORY = 256 << 20


def _database_url(url: str) -> str:
    check_url(url)
    return url


def _long_enough(secret: SecretStr) -> SecretStr:
    if len(secret.get_secret_value()) < SHORTEST_SECRET:
        raise ValueError(f"it has fewer than {SHORTEST_SECRET} characters")
    return secret


def _numbers(value: object) -> object:
    return value.strip("[] ").split(",") if isinstance(value, str) else value


class SettingsWrong(ValueError):
    """The settings cannot be used."""


class Settings(BaseSettings):
    """What an operator decides."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    data: Path = Field(
        default=Path("headwater-data"),
        description="Directory of the lake, the embedded database and the keys that the first start makes.",
    )
    database_url: Annotated[str, AfterValidator(_database_url)] | None = Field(
        default=None,
        description="The catalog, `postgresql+psycopg://…`; unset, SQLite in the data directory.",
    )
    secret_key: Annotated[SecretStr, AfterValidator(_long_enough)] | None = Field(
        default=None,
        description="Seals credentials and makes task tokens; unset, the embedded server makes one, `secret.key`.",
    )
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8080, ge=1, le=65535, description="Port to listen on.")
    workers: int = Field(default=1, ge=1, description="Processes that answer on the port; one a core uses all cores.")
    public_url: str | None = Field(
        default=None, description="Where crawlers reach this server; unset, `http://host:port`."
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
    upload_stall: float = Field(
        default=60.0, gt=0, le=3600, description="Seconds for which an upload may send nothing before it is dropped."
    )
    uploads_per_task: int = Field(
        default=32, ge=1, description="Uploads of one task at once, in each worker; more are asked to wait (429)."
    )
    requests_per_minute: int | None = Field(
        default=None, ge=1, description="Requests of one API key a minute; more are asked to wait (429)."
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
    retention_days: float = Field(
        default=30.0,
        gt=0,
        le=36500,
        description="Days for which what a stream no longer shows is kept: deleted tasks can be restored, and "
        "former versions read, so long.",
    )
    event_days: float = Field(
        default=30.0,
        gt=0,
        le=36500,
        description="Days for which events are kept: so long, who followed them can go on where it was.",
    )
    notice_pauses: Annotated[tuple[float, ...], NoDecode, BeforeValidator(_numbers)] = Field(
        default=(2.0, 6.0, 16.0, 36.0),
        description="Seconds between tries to reach a crawler; there is one try more than pauses.",
    )
    retry_pauses: Annotated[
        tuple[Annotated[float, Field(gt=0)], ...], NoDecode, BeforeValidator(_numbers), Field(min_length=1)
    ] = Field(
        default=(60.0, 300.0, 900.0, 3600.0),
        description="Seconds before each automatic retry of a task; the last one holds for all that follow.",
    )
    webhook_pauses: Annotated[tuple[float, ...], NoDecode, BeforeValidator(_numbers)] = Field(
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

    @cached_property
    def catalog_url(self) -> str:
        """The catalog's URL, the embedded one's included."""
        return self.database_url or f"sqlite:///{self.data.resolve() / 'catalog.sqlite'}"

    @property
    def reached_at(self) -> str:
        """Where crawlers reach this server."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.public_url or f"http://{host}:{self.port}"

    @property
    def is_embedded(self) -> bool:
        """Whether the catalog is the SQLite in the data directory, so that the server cares for it."""
        return self.database_url is None

    @classmethod
    def read(cls, **given: Any) -> Self:
        """Return the settings as given, then from the environment, then from the file.

        Raises:
            SettingsWrong: one of them is unknown or cannot be used, or the file cannot be read.
        """
        known = {f"{PREFIX}{name}".upper() for name in cls.model_fields} | {CONFIG} | CLIENTS
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
                "; ".join(
                    f"setting {'.'.join(map(str, fault['loc'][:1]))}: {fault['msg'].removeprefix('Value error, ')}"
                    for fault in faults
                )
            ) from error
        except (tomllib.TOMLDecodeError, OSError) as error:
            raise SettingsWrong(f"the file {os.environ.get(CONFIG, FILE)} cannot be read: {error}") from error

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Look at arguments, then the environment, then the file."""
        del dotenv_settings, file_secret_settings
        file = Path(os.environ.get(CONFIG, FILE))
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, file)
