"""Authorization of calls to this server."""

from __future__ import annotations

import hmac
import inspect
from collections.abc import Awaitable, Callable

from starlette.requests import Request

#: Decides whether a request is accepted.
Authorize = Callable[[Request], bool | Awaitable[bool]]


class Guard:
    """Accepts requests that carry the secret and satisfy the author's ``authorize`` function."""

    def __init__(self, secret: str | None, authorize: Authorize | None) -> None:
        """Require each, if given.

        Raises:
            ValueError: the secret is empty, or cannot be sent in a header.
        """
        if secret is not None and not (secret.strip() and secret.isascii() and secret.isprintable()):
            raise ValueError("a secret is of printable ASCII, and not empty")
        self._secret = secret
        self._authorize = authorize

    @property
    def headers(self) -> dict[str, str]:
        """Headers that Headwater must send with each request."""
        return {} if self._secret is None else {"Authorization": f"Bearer {self._secret}"}

    @property
    def is_open(self) -> bool:
        """Whether all requests are accepted."""
        return self._secret is None and self._authorize is None

    async def lets_pass(self, request: Request) -> bool:
        """Return whether a request is accepted."""
        for name, value in self.headers.items():
            # Constant-time comparison, against timing attacks.
            if not hmac.compare_digest(request.headers.get(name, "").encode(), value.encode()):
                return False
        if self._authorize is None:
            return True
        answer = self._authorize(request)
        return bool(await answer if inspect.isawaitable(answer) else answer)
