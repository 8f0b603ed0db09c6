"""``target-headwater``: each stream of Singer becomes a crawler, and each load a run of it."""

from __future__ import annotations

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportIncompatibleMethodOverride=false
# singer-sdk's annotations name no types of members, and its settings of classes are properties.
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, ClassVar, cast

from singer_sdk import Sink, Target

from headwater_client.singer.run import Run
from headwater_client.singer.settings import connected, settings

#: Seconds after which documents are flushed, so that the state can be handed on.
STATE_EVERY = 60
#: Seconds of silence after which the server gives a run up: taps may wait for hours between records.
TIMEOUT = 6 * 3600


class RunSink(Sink):
    """Writes the records of a stream to the run of its crawler."""

    MAX_SIZE_DEFAULT = 100_000

    def __init__(
        self, target: Target, stream_name: str, schema: dict[str, Any], key_properties: Sequence[str] | None
    ) -> None:
        """Go on with the stream's run, or begin one."""
        super().__init__(target, stream_name, schema, key_properties)
        self._run = cast("TargetHeadwater", target).run_of(stream_name, self.original_schema, key_properties or ())

    @cached_property
    def validate_schema(self) -> bool:
        """Return False: the server validates."""
        return False

    @property
    def include_sdc_metadata_properties(self) -> bool:
        """Return True: they say what was deleted, and of which version of its table a record is."""
        return True

    @property
    def current_size(self) -> int:
        """Return the number of records since the last flush."""
        return self._batch_records_read

    def process_record(self, record: dict[str, Any], context: Mapping[str, Any]) -> None:  # noqa: ARG002 - of the SDK
        """Write a record; it is uploaded in the background."""
        self._run.write(record)

    def process_batch(self, context: Mapping[str, Any]) -> None:  # noqa: ARG002 - of the SDK
        """Wait until all records are on the server's disk."""
        self._run.flush()

    def activate_version(self, new_version: int) -> None:
        """Have the run replace the former versions of the table."""
        self._run.activate(new_version)

    def clean_up(self) -> None:
        """Close the run."""
        super().clean_up()
        self._run.end()

    def _parse_timestamps_in_record(self, *_: object, **__: object) -> None:
        """Leave texts as they are: the server stores JSON."""


class TargetHeadwater(Target):
    """Loads streams of Singer into streams of Headwater."""

    name = "target-headwater"
    package_name = "headwater-client"
    default_sink_class = RunSink
    config_jsonschema: ClassVar[dict[str, Any]] = settings(  # pyright: ignore[reportIncompatibleVariableOverride]
        {
            "prefix": {
                "type": "string",
                "default": "",
                "title": "Prefix",
                "description": "Begins the names of streams, crawlers and Externals",
            },
            "state_every": {
                "type": "number",
                "default": STATE_EVERY,
                "title": "State every",
                "description": "Seconds after which documents are flushed, and the state is handed on",
            },
            "timeout": {
                "type": "integer",
                "default": TIMEOUT,
                "title": "Timeout",
                "description": "Seconds of silence after which the server gives a run up, for new crawlers",
            },
        }
    )

    def __init__(self, **options: Any) -> None:
        """Connect to the server that the settings name."""
        super().__init__(**options)
        self._headwater = connected(self.config)
        self._runs: dict[str, Run] = {}
        self._MAX_RECORD_AGE_IN_MINUTES = self.config["state_every"] / 60  # pyright: ignore[reportConstantRedefinition]

    def run_of(self, stream: str, schema: Mapping[str, Any], keys: Sequence[str]) -> Run:
        """Return the run of a stream, which has records of this schema from now on."""
        run = self._runs.get(stream)
        if run is None:
            name = f"{self.config['prefix']}{stream}"
            run = Run(self._headwater, name, schema, keys, timeout=self.config["timeout"])
            self._runs[stream] = run
        else:
            run.change_schema(schema, keys)
        return run

    def process_endofpipe(self) -> None:
        """Close all runs."""
        with self._failing_runs():
            super().process_endofpipe()

    def _process_schema_message(self, message_dict: dict[str, Any]) -> None:
        with self._failing_runs():
            super()._process_schema_message(message_dict)

    def _process_record_message(self, message_dict: dict[str, Any]) -> None:
        with self._failing_runs():
            super()._process_record_message(message_dict)

    def _process_state_message(self, message_dict: dict[str, Any]) -> None:
        super()._process_state_message(message_dict)
        for run in self._runs.values():
            run.note_state()
        with self._failing_runs():
            self._handle_max_record_age()

    @contextmanager
    def _failing_runs(self) -> Generator[None]:
        """Close all runs as failed where one is refused: the load has failed as a whole."""
        try:
            yield
        except BaseException as error:
            for run in self._runs.values():
                run.fail(error)
            raise


main = TargetHeadwater.cli
