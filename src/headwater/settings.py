"""Every knob, its default, and one sentence each.

Read from the environment (``HEADWATER_…``), then from a file (``headwater.toml`` in the working
directory, or the one that ``HEADWATER_CONFIG`` names). Read once, at the door; below, they are values.
"""

import os
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, ByteSize, Field, SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from headwater.catalog.database import check_url
from headwater.catalog.vault import SHORTEST_SECRET


def _database_url(url: str) -> str:
    check_url(url)
    return url


class Settings(BaseSettings):
    """What an operator decides."""

    model_config = SettingsConfigDict(env_prefix="HEADWATER_", extra="forbid", frozen=True)

    data: Path = Field(
        default=Path("headwater-data"),
        description="Directory of the lake, the embedded database and the keys that the first start makes.",
    )
    database_url: Annotated[str, AfterValidator(_database_url)] | None = Field(
        default=None,
        description="The catalog, `postgresql+psycopg://…`; unset, SQLite in the data directory.",
    )
    secret_key: Annotated[SecretStr, Field(min_length=SHORTEST_SECRET)] | None = Field(
        default=None,
        description="Seals credentials and makes task tokens; unset, the embedded server makes one, `secret.key`.",
    )
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8080, ge=0, le=65535, description="Port to listen on.")
    public_url: str | None = Field(
        default=None, description="Where crawlers reach this server; unset, `http://host:port`."
    )
    max_upload: ByteSize = Field(default=ByteSize(4 << 30), description="Largest upload, decompressed.")
    max_document: ByteSize = Field(
        default=ByteSize(16 << 20), le=256 << 20, description="Largest document; 256 MiB at most."
    )
    max_request: ByteSize = Field(default=ByteSize(8 << 20), description="Largest body of any other request.")
    upload_threads: int = Field(default=4, ge=1, description="Threads that decode, check and write uploads.")
    query_memory: str = Field(
        default="1GiB", description="Memory for reading streams; beyond it, DuckDB spills to the data directory."
    )
    query_threads: int = Field(
        default_factory=lambda: os.cpu_count() or 1, ge=1, description="Threads for reading streams; unset, one a core."
    )
    notice_pauses: tuple[float, ...] = Field(
        default=(2.0, 6.0, 16.0, 36.0),
        description="Seconds between tries to reach a crawler; there is one try more than pauses.",
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
    def is_embedded(self) -> bool:
        """Whether the catalog is the SQLite in the data directory, so that the server cares for it."""
        return self.database_url is None

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
        file = os.environ.get("HEADWATER_CONFIG", "headwater.toml")
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, Path(file))
