"""A terminal in which a test sits, reads and types."""

import contextlib
import fcntl
import os
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from typing import Self

#: Makes its stdin the terminal of a new session, and becomes the program that it is given. What was started in the
#: background ignores interrupts, and so would all that it starts.
_BEGIN = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.login_tty(0)
os.execvp(sys.argv[1], sys.argv[1:])
"""
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-B0-9]")
_PATIENCE = 20.0


class Terminal:
    """A program that runs in a terminal."""

    def __init__(self, command: Sequence[str], *, columns: int = 80, environment: Mapping[str, str]) -> None:
        self._ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-c", _BEGIN, *command],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**environment, "TERM": "xterm-256color"},
        )
        os.close(theirs)
        self._raw = b""
        self._read_up_to = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._ours)

    @property
    def text(self) -> str:
        """All that was written, without what only moves and colours."""
        return _CONTROL.sub("", self._raw.decode(errors="replace")).replace("\r\n", "\n")

    def frames(self) -> list[str]:
        """What stood on a line at one time or another."""
        return [frame for frame in re.split(r"[\r\n]+", self.text) if frame.strip()]

    def expect(self, words: str) -> str:
        """Wait until something is written, beyond what was waited for before, and return all up to it."""
        until = time.monotonic() + _PATIENCE
        while (found := self.text.find(words, self._read_up_to)) < 0:
            if not self._read(until):
                raise AssertionError(f"{words!r} did not come: {self.text!r}")
        self._read_up_to = found + len(words)
        return self.text[: self._read_up_to]

    def type(self, words: str) -> None:
        os.write(self._ours, words.encode())

    def answer(self, question: str, words: str) -> None:
        """Wait for a question, and answer it; what is typed before its end is lost where it is not shown."""
        self.expect(question)
        self.expect(": ")
        self.type(f"{words}\n")

    def end(self) -> int:
        """Wait for the program's end, and return its code."""
        until = time.monotonic() + _PATIENCE
        while self._read(until):
            pass
        return self.process.wait(_PATIENCE)

    def _read(self, until: float) -> bool:
        """Read what there is, and tell whether there may be more."""
        ready, _, _ = select.select([self._ours], [], [], max(until - time.monotonic(), 0))
        if not ready:
            raise AssertionError(f"nothing more came in time: {self.text!r}")
        with contextlib.suppress(OSError):  # Linux's way to say that nobody is at the other end any more
            piece = os.read(self._ours, 65536)
            self._raw += piece
            return bool(piece)
        return False
