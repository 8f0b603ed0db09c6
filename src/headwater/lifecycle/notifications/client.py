"""Sends messages through Apprise, to some hundred services by their URLs."""

import asyncio
import importlib
import ipaddress
import logging
import socket
import threading
from typing import Any, Self
from urllib.parse import urlsplit

from headwater.domain.errors import Flaw, RequestInvalid
from headwater.domain.redaction import Redactor, secrets_of_url
from headwater.lifecycle.ssrf_guard import not_public

#: Seconds that a message may take; Apprise has timeouts of its own for each connection.
ANSWER_WITHIN = 60.0
#: Services of the computer that Headwater runs on, and of its desktop.
_LOCAL = frozenset({"dbus", "glib", "gnome", "growl", "kde", "macosx", "notification", "qt", "syslog", "windows"})
#: Services that post to any URL.
_ANYWHERE = frozenset({"form", "forms", "json", "jsons", "xml", "xmls"})
_LONGEST_ERROR = 500
_FIX = "https://appriseit.com/services lists the services and their URLs"


class NotificationClient:
    """Sends messages, each in a thread, since Apprise waits for the services."""

    def __init__(self, *, is_private_allowed: bool = False) -> None:
        """Post to private addresses only if they are allowed."""
        self._is_private_allowed = is_private_allowed

    async def shown(self, url: str) -> str:
        """Return an Apprise URL without its secrets.

        Raises:
            RequestInvalid: it is none, or its service is not allowed.
        """
        return await asyncio.to_thread(self._shown, url)

    async def send(self, url: str, title: str, body: str) -> str | None:
        """Send a message; return why it failed, or None."""
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                return await asyncio.to_thread(self._send, url, title, body)
        except TimeoutError:
            return f"it was not sent within {ANSWER_WITHIN:g} seconds"

    def _shown(self, url: str) -> str:
        scheme = url.partition("://")[0].lower()
        if scheme in _LOCAL:
            raise _invalid(f"{scheme}:// is a service of this computer, and is not used; {_FIX}")
        service = _service(url)
        if service is None:
            raise _invalid(f"it is no Apprise URL, slack://… or mailto://…; {_FIX}")
        objection = self._objection(url)
        if objection is not None:
            raise _invalid(objection)
        if scheme in _ANYWHERE:
            parts = urlsplit(url)
            return f"{scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}/…"
        return str(service.url(privacy=True)).partition("?")[0]

    def _send(self, url: str, title: str, body: str) -> str | None:
        service = _service(url)
        if service is None:
            return "it is no Apprise URL any more"
        objection = self._objection(url)
        if objection is not None:
            return objection
        with _Said() as said:
            try:
                is_sent = bool(service.notify(title=title, body=body))
            except Exception as error:  # noqa: BLE001 - whatever a service's code raises
                return _short(f"{type(error).__name__}: {error}", url)
        return None if is_sent else _short("; ".join(said.lines) or "the service refused it", url)

    def _objection(self, url: str) -> str | None:
        """Return why a URL that leads anywhere may not be called."""
        parts = urlsplit(url)
        if self._is_private_allowed or parts.scheme.lower() not in _ANYWHERE:
            return None
        if parts.scheme.lower() not in {"forms", "jsons", "xmls"}:
            return f"{parts.scheme}:// is not encrypted; use {parts.scheme}s://, or set webhook_private_addresses"
        for address in _addresses(parts.hostname or ""):
            objection = not_public(ipaddress.ip_address(address))
            if objection is not None:
                return f"{parts.hostname} is {objection}, which is not called; webhook_private_addresses allows it"
        return None


class _Said(logging.Handler):
    """Collects what Apprise logs in this thread."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread and len(self.lines) < 3:  # noqa: PLR2004 - the first ones say why
            self.lines.append(record.getMessage())

    def __enter__(self) -> Self:
        logging.getLogger("apprise").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("apprise").removeHandler(self)


def _service(url: str) -> Any:
    # Here, since it loads a hundred services, and few servers use any. Its types are known in part.
    apprise: Any = importlib.import_module("apprise")
    # Whatever is wrong with a URL, Apprise logs it, secrets included.
    logger = logging.getLogger("apprise")
    logger.propagate = False
    asset = apprise.AppriseAsset(app_id="Headwater", app_desc="Headwater", app_url="https://headwater.dev")
    return apprise.Apprise.instantiate(url, asset=asset)


def _addresses(host: str) -> list[str]:
    try:
        return [str(found[4][0]) for found in socket.getaddrinfo(host, None)]
    except OSError:
        return []  # unknown, and not reached then


def _short(text: str, url: str) -> str:
    redactor = Redactor([url, *secrets_of_url(url), *filter(None, urlsplit(url).path.split("/"))])
    return redactor.text(text)[:_LONGEST_ERROR]


def _invalid(detail: str) -> RequestInvalid:
    return RequestInvalid(f"/url: {detail}", flaws=[Flaw(pointer="/url", detail=detail)])
