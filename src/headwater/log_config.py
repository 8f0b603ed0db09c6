"""Logging: structured lines, as JSON or for a terminal.

A line that cannot be written is dropped without an error: logging must never decide
what happens to a request, a loop or a thread.
"""

import io
import json
import logging
import os
import select
import sys
from collections.abc import Sequence
from threading import RLock
from typing import Any, TextIO, cast

import msgspec
import structlog

# Without local variables, which include keys, tokens and credentials.
_TRACEBACK = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)


#: Bytes that a pipe takes without blocking once it is reported writable (PIPE_BUF).
_CHUNK = 4096
#: Milliseconds for which a line waits for a slow reader of standard error before it is dropped.
_WAIT_MS = 100


class _StandardError:
    """The current standard error; writing to it never raises and never blocks for long."""

    def __init__(self) -> None:
        # Reentrant: a signal handler may log while its thread is writing a line.
        self._lock = RLock()
        self._lost = 0

    def write(self, text: str) -> None:
        with self._lock:
            if self._lost:
                text = f"{self._lost} log lines could not be written and are lost\n{text}"
            try:
                # After a loss, lines do not wait until the stream accepts one again.
                _write(text, wait_ms=0 if self._lost else _WAIT_MS)
            except Exception:  # noqa: BLE001 - full disk, closed stream, reader gone, …
                self._lost += 1
            else:
                self._lost = 0

    def flush(self) -> None:
        """Do nothing: there is no buffer."""


def _write(text: str, *, wait_ms: int) -> None:
    stream = cast("TextIO | None", sys.stderr)
    if stream is None:  # closed when the process was started
        return
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError, AttributeError):  # a stream in memory
        stream.write(text)
        return
    # Bypasses the stream's buffer, which would keep what could not be written and retry with each line.
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    data = text.encode(errors="backslashreplace")
    while data:
        if not poll.poll(wait_ms):
            raise BlockingIOError("nobody reads standard error")
        data = data[os.write(descriptor, data[:_CHUNK]) :]


class _SafeStream(io.TextIOBase):
    """Standard error for everybody who writes to it directly, such as Python's own reports of ignored exceptions.

    A pipe that nobody reads would block such a writer, and with it the event loop.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._safe = _StandardError()

    def write(self, text: str, /) -> int:
        self._safe.write(text)
        return len(text)

    def fileno(self) -> int:
        return self._stream.fileno()

    def isatty(self) -> bool:
        return self._stream.isatty()


def protect_stderr() -> None:
    """Let no write to ``sys.stderr`` raise or block for long from now on, whoever writes; for processes that serve."""
    stream = cast("TextIO | None", sys.stderr)
    try:
        if stream is not None and not isinstance(stream, _SafeStream) and not os.isatty(stream.fileno()):
            sys.stderr = cast("TextIO", _SafeStream(stream))
    except (OSError, ValueError, AttributeError):  # it is closed, or in memory
        return


def _json(line: Any, **_options: Any) -> str:
    try:
        return msgspec.json.encode(line, enc_hook=repr).decode()
    except (TypeError, ValueError, OverflowError):  # lone surrogates, say
        return json.dumps(line, default=repr)


def _is_terminal() -> bool:
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):  # it is closed
        return False


def _never_failing(processors: Sequence[structlog.typing.Processor]) -> structlog.typing.Processor:
    """Return the processors as one that returns a fallback line if any of them fails."""

    def render(logger: Any, method: str, line: structlog.typing.EventDict) -> Any:
        event = line.get("event")
        rendered: Any = line
        try:
            for process in processors:
                rendered = process(logger, method, rendered)
        except structlog.DropEvent:
            raise
        except Exception as error:  # noqa: BLE001 - a repr that raises, a traceback that cannot be rendered, …
            return _json({"event": str(event), "level": method, "not_logged": type(error).__name__})
        return rendered

    return render


def set_up(*, form: str, level: str, **facts: object) -> None:
    """Send all log lines to standard error, including those of libraries, each with ``facts``."""
    as_json = form == "json" or (form == "auto" and not _is_terminal())

    def add_facts(_logger: object, _method: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
        for name, fact in facts.items():
            line.setdefault(name, fact)
        return line

    standard_error = _StandardError()
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
        processors=[_never_failing([*shared, *last])],
        # Directly to the stream: the standard library's logging is three times as expensive.
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", standard_error)),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(standard_error)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    # These repeat our own lines, with URLs that may contain tokens.
    # And Alembic writes a line for each of its plugins and each migration, where ours says from which one to which.
    for library in ("httpx", "httpcore", "uvicorn.access", "alembic"):
        logging.getLogger(library).setLevel(logging.WARNING)
