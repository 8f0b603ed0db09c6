"""Where the demo plays: the screen, and Headwater behind its API."""

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import httpx
from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from examples.packages_crawler.processes import Child, Failed

#: Columns that are used at most, and where there is no terminal to ask.
WIDTH = 100
#: Columns of a call, up to its answer.
CALL_WIDTH = 62

_FID = re.compile(r"([0-9a-f]{32})(\.[\w-]+)?")


class Stage:
    """Shows what is done, and does it over HTTP."""

    def __init__(self, console: Console, client: httpx.Client, children: Sequence[Child]) -> None:
        """Call Headwater through ``client``, as long as all of ``children`` live."""
        self.console = console
        self._client = client
        self._children = children
        self._names: dict[str, str] = {}
        self._acts = 0

    def act(self, title: str, about: str = "") -> None:
        """Begin the next part."""
        self._acts += 1
        headline(self.console, f"{self._acts}  {title}")
        if about:
            self.show(Text(about))

    def show(self, *parts: RenderableType) -> None:
        """Show something, indented."""
        for part in parts:
            self.console.print(Padding(part, (0, 0, 0, 2), expand=False))

    def show_line(self, text: Text) -> None:
        """Show as much of a line as has room."""
        text.truncate(self.console.width - 2, overflow="ellipsis")
        self.show(text)

    def name(self, fid: str, name: str) -> None:
        """Call an object by a name from now on; a fid is hard to tell from another."""
        self._names[fid] = name

    def post(self, path: str, body: Any = None, *, expect: HTTPStatus = HTTPStatus.OK, name: str = "") -> Any:
        """Post a body (bytes, or else what becomes JSON), and show that; return the payload, or the expected problem.

        Raises:
            Failed: the answer is another than the one expected.
        """
        return self._call("POST", path, body, expect, name)

    def patch(self, path: str, body: Any) -> Any:
        """Change an object by a merge patch, and show that.

        Raises:
            Failed: it is not changed.
        """
        return self._call("PATCH", path, body, HTTPStatus.OK, "")

    def get(self, path: str) -> Any:
        """Get an object or a list, and show that.

        Raises:
            Failed: it is not to be had.
        """
        return self._call("GET", path, None, HTTPStatus.OK, "")

    def delete(self, path: str) -> Any:
        """Delete something, and show that.

        Raises:
            Failed: it is still there.
        """
        return self._call("DELETE", path, None, HTTPStatus.OK, "")

    def task(self, fid: str) -> dict[str, Any]:
        """Return a task; nothing is shown, since this is asked many times.

        Raises:
            Failed: it is not to be had.
        """
        return self._ask("GET", f"/tasks/{fid}", None, HTTPStatus.OK).json()["payload"]

    def export(self, stream: str) -> bytes:
        """Get all that a stream shows, as Headwater exports it, and show that it was asked for.

        Raises:
            Failed: it is not to be had.
        """
        path = f"/streams/{stream}/export"
        content = self._ask("GET", path, None, HTTPStatus.OK).content
        self._show_call("GET", path, HTTPStatus.OK)
        return content

    def _call(self, method: str, path: str, body: Any, expect: HTTPStatus, name: str) -> Any:
        answer = self._ask(method, path, body, expect).json()
        result = answer["payload"] if _is_success(expect) else answer
        if name:
            self.name(result["fid"], name)
        self._show_call(method, path, expect)
        return result

    def _show_call(self, method: str, path: str, status: HTTPStatus) -> None:
        line = Text.assemble((f"{method:<7}", "cyan"), _FID.sub(self._named, path))
        line.pad_right(max(2, CALL_WIDTH - len(line)))
        self.show_line(line.append(f"{status:d} {status.phrase}", "green" if _is_success(status) else "red"))

    def _ask(self, method: str, path: str, body: Any, expect: HTTPStatus) -> httpx.Response:
        for child in self._children:
            child.require_alive()
        try:
            if isinstance(body, bytes):
                response = self._client.request(method, path, content=body)
            else:
                response = self._client.request(method, path, json=body)
        except httpx.TransportError as error:
            raise Failed(f"{method} {path}: {error}") from error
        if response.status_code != expect:
            raise Failed(f"{method} {path} answered {response.status_code} instead of {expect}: {response.text}")
        return response

    def _named(self, found: re.Match[str]) -> str:
        fid, token = found.groups()
        return f"{{{self._names.get(fid, fid)}}}{'.{token}' if token else ''}"


def _is_success(status: HTTPStatus) -> bool:
    return status < HTTPStatus.MULTIPLE_CHOICES


def headline(console: Console, title: str) -> None:
    """Print a headline."""
    console.print()
    console.rule(Text(title, "bold"), align="left", style="dim")


def table_of(columns: Mapping[str, str], rows: Sequence[Sequence[object]]) -> Table:
    """Return a table; ``columns`` says of each whether it is ``left`` or ``right``."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for header, side in columns.items():
        table.add_column(header, justify="right" if side == "right" else "left", no_wrap=True, overflow="ellipsis")
    for row in rows:
        table.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
    return table


def told(problem: Mapping[str, Any]) -> Panel:
    """Return an error as a person is shown it."""
    lines = [Text(problem["detail"]), *(Text(f"• {message}") for message in problem["messages"])]
    title = Text(f"{problem['status']} {problem['title']}", "bold red")
    return Panel(Group(*lines), title=title, title_align="left", border_style="red", padding=(0, 1))
