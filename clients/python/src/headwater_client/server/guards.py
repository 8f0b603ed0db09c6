"""Who may call this server."""

from __future__ import annotations

import hmac
import inspect
from collections.abc import Awaitable, Callable
from typing import Union

from starlette.requests import Request

#: Looks at a request, and tells whether it may be made.
Authorize = Callable[[Request], Union[bool, Awaitable[bool]]]


class Guard:
    """Lets those requests pass that carry the secret, and that the crawler's author lets pass."""

    def __init__(self, secret: str | None, authorize: Authorize | None) -> None:
        """Ask for both, where they are given.

        Raises:
            ValueError: the secret is none, or cannot be in a header.
        """
        if secret is not None and not (secret.strip() and secret.isascii() and secret.isprintable()):
            raise ValueError("a secret is of printable ASCII, and not empty")
        self._secret = secret
        self._authorize = authorize

    @property
    def headers(self) -> dict[str, str]:
        """What Headwater must send with each request."""
        return {} if self._secret is None else {"Authorization": f"Bearer {self._secret}"}

    @property
    def is_open(self) -> bool:
        """Whether it lets everybody pass."""
        return self._secret is None and self._authorize is None

    async def lets_pass(self, request: Request) -> bool:
        """Tell whether a request may be made."""
        for name, value in self.headers.items():
            # In constant time: how long it takes would tell how much of a guess is right.
            if not hmac.compare_digest(request.headers.get(name, "").encode(), value.encode()):
                return False
        if self._authorize is None:
            return True
        answer = self._authorize(request)
        return bool(await answer if inspect.isawaitable(answer) else answer)
