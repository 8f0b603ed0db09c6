"""Bodies as scripts and web pages send them: JSON whatever its content type is, or the fields of a form."""

import json
import re
from collections.abc import Callable, Coroutine
from typing import Any, cast
from urllib.parse import parse_qsl

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.types import Message

from headwater.domain.errors import RequestInvalid
from headwater.domain.json_limits import DEEPEST

#: What jQuery's ``$.post`` and ``curl -d`` send unless they are told otherwise, JSON included.
FORM = "application/x-www-form-urlencoded"
#: Fields of one form.
MOST_FIELDS = 10_000

_NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_INTEGER = re.compile(r"-?[0-9]{1,10}")


class AnyMediaType(APIRoute):
    """A route that takes JSON of any content type but ``multipart``, and forms, as if they had been sent as JSON."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler of the route."""
        handler = super().get_route_handler()
        if not self.dependant.body_params:
            return handler

        async def handle(request: Request) -> Response:
            return await handler(await _as_json(request))

        return handle


async def _as_json(request: Request) -> Request:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type.startswith("multipart/") or "content-encoding" in request.headers:
        return request
    body = await request.body()
    # Of ``curl -d '{"code": 200}'`` the content type is that of a form, too.
    if media_type == FORM and not body.lstrip().startswith((b"{", b"[")):
        body = json.dumps(form_value(body)).encode()
    others = [(name, value) for name, value in request.scope["headers"] if name != b"content-type"]
    scope = {**request.scope, "headers": [*others, (b"content-type", b"application/json")]}

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return Request(scope, receive)


def form_value(body: bytes) -> dict[str, Any]:
    """Return the fields of a form as JSON, nested by the brackets of their names, as jQuery writes them.

    Of a field that is given twice the last value counts. ``code`` is a number, other values are texts.

    Raises:
        RequestInvalid: the body is no form in UTF-8.
    """
    try:
        fields = parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS)
    except ValueError as error:
        raise RequestInvalid(f"the body is not a form in UTF-8, percent-encoded: {error}") from error
    found: dict[str, Any] = {}
    for name, value in fields:
        _put(found, _steps(name), value)
    whole = {name: _with_arrays(value) for name, value in found.items()}
    code = whole.get("code")
    return whole | {"code": int(code)} if isinstance(code, str) and _INTEGER.fullmatch(code) else whole


def _steps(name: str) -> list[str]:
    """Return the steps of a field's name: ``a[b][]`` is ``a``, ``b`` and an empty one, which appends."""
    named = _NAME.fullmatch(name)
    if named is None:
        return [name]
    steps = [named[1], *re.findall(r"\[([^\[\]]*)\]", named[2])]
    if len(steps) > DEEPEST:
        raise RequestInvalid(f"the field {name[:40]!r}… is nested more than {DEEPEST} levels deep")
    return steps


def _put(target: dict[str, Any], steps: list[str], value: str) -> None:
    *path, last = steps
    for step in path:
        inner = target.get(step or str(len(target)))
        if not isinstance(inner, dict):
            inner = target[step or str(len(target))] = {}
        target = cast("dict[str, Any]", inner)
    target[last or str(len(target))] = value


def _with_arrays(value: Any) -> Any:
    """Return a value with arrays for the objects whose names are 0, 1, 2 and so on, as jQuery writes arrays."""
    if not isinstance(value, dict):
        return value
    members = {name: _with_arrays(each) for name, each in cast("dict[str, Any]", value).items()}
    is_array = bool(members) and all(name == str(place) for place, name in enumerate(members))
    return list(members.values()) if is_array else members
