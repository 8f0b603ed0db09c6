"""TLS of the server's own port: a certificate and its key, read again when their files change."""

import contextlib
import ssl
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)


class TlsWrong(Exception):
    """The certificate or its key cannot be used."""


class Certificate:
    """A certificate with its key, as the TLS context of new connections."""

    def __init__(self, cert: Path, key: Path) -> None:
        """Read both files.

        Raises:
            TlsWrong: they cannot be used.
        """
        self._cert = cert
        self._key = key
        self._seen = self._stamp()
        self.context = self._read()

    def refresh(self) -> None:
        """Read the files again if they have changed; if they cannot be used, go on with the former ones."""
        stamp = self._stamp()
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            self.context = self._read()
        except TlsWrong as error:
            # Perhaps only one of the two files is written yet: the other one changes the stamp again.
            log.error("tls.not_reloaded", reason=str(error))  # noqa: TRY400 - the reason says it all
        else:
            log.info("tls.reloaded", cert=str(self._cert))

    def _stamp(self) -> tuple[object, ...]:
        stats: list[object] = []
        for file in (self._cert, self._key):
            with contextlib.suppress(OSError):
                stat = file.stat()
                stats.append((file, stat.st_mtime_ns, stat.st_size, stat.st_ino))
        return tuple(stats)

    def _read(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(self._cert, self._key, password=_no_password)
        except (OSError, ValueError) as error:
            # An SSLError is an OSError, too.
            reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
            raise TlsWrong(f"tls_cert {self._cert} and tls_key {self._key} cannot be used: {reason}") from error
        return context


def _no_password() -> bytes:
    # Otherwise OpenSSL would ask for it at the terminal.
    raise ValueError("the key is encrypted; decrypt it for the server")
