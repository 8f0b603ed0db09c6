"""Log lines: an event and its facts, as JSON or for a terminal."""

import json
import logging
import sys
from typing import Any, TextIO, cast

import msgspec
import structlog

# Without the frames' variables: keys, tokens and credentials are among them.
_TRACEBACK = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)


class _StandardError:
    """Whatever standard error is when a line is written."""

    def write(self, text: str) -> None:
        sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def _json(line: Any, **_options: Any) -> str:
    try:
        return msgspec.json.encode(line, enc_hook=repr).decode()
    except (TypeError, ValueError, OverflowError):  # half a surrogate pair, say
        return json.dumps(line, default=repr)


def set_up(*, form: str, level: str, **facts: object) -> None:
    """Send every log line to standard error, those of libraries too, each with ``facts``."""
    as_json = form == "json" or (form == "auto" and not sys.stderr.isatty())

    def add_facts(_logger: object, _method: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
        for name, fact in facts.items():
            line.setdefault(name, fact)
        return line

    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        add_facts,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[structlog.typing.Processor] = (
        [structlog.processors.ExceptionRenderer(_TRACEBACK), structlog.processors.JSONRenderer(_json)]
        if as_json
        else [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    )
    structlog.configure(
        processors=[*shared, *last],
        # Straight to the stream: through the standard library a line costs three times as much.
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", _StandardError())),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    # These say what our own lines say, with URLs that may hold tokens.
    for library in ("httpx", "httpcore", "uvicorn.access"):
        logging.getLogger(library).setLevel(logging.WARNING)
