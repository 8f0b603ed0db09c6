"""The command ``headwater``: each of its commands is loaded when it is called.

What else is installed can add some, by entry points of the group ``headwater.commands``: the server does.
"""

# Annotations are not put off: on Python 3.9 typer does not resolve them.

import sys
from collections.abc import Iterable
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points, version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from headwater_client.cli.endings import told
from headwater_client.cli.words import group

#: The commands of this package, and their modules.
OWN = {
    "login": "login",
    "logout": "login",
    "push": "push",
    "tasks": "tasks",
    "streams": "streams",
    "externals": "externals",
    "crawlers": "crawlers",
    "audit": "audit",
    "events": "events",
    "webhooks": "webhooks",
}
#: The entry points by which others add commands, each the name of one, and the typer that has it.
GROUP = "headwater.commands"


class Commands(TyperGroup):
    """The commands, loaded one by one."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands."""
        del ctx
        return [*OWN, *_added()]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Load a command; None if there is none of that name."""
        del ctx
        if cmd_name in OWN:
            return _named(cmd_name, import_module(f"headwater_client.cli.{OWN[cmd_name]}").app)
        added = _added().get(cmd_name)
        return None if added is None else _named(cmd_name, added.load())

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that is called."""
        if self.get_command(ctx, args[0]) is None:
            self.commands = dict.fromkeys(self.list_commands(ctx), self)  # among which what was meant is looked for
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands into the help: those of the server, if it is here, by themselves."""
        for title, names in (("Commands", OWN), ("Commands of the server", _added())):
            if names:
                limit = formatter.width - 6 - max(map(len, names))
                rows = [(name, self.get_command(ctx, name).get_short_help_str(limit)) for name in names]
                with formatter.section(title):
                    formatter.write_dl(rows)

    def make_context(self, *args: Any, **options: Any) -> Any:
        """Look at the words of the command line."""
        with told():
            return super().make_context(*args, **options)

    def invoke(self, ctx: Any) -> Any:
        """Do what they say."""
        with told():
            return super().invoke(ctx)


def _named(name: str, app: typer.Typer) -> Any:
    """Return the command of that name: one of those that ``app`` has, or ``app`` itself."""
    command: Any = typer.main.get_command(app)
    command = getattr(command, "commands", {}).get(name, command)
    command.name = name
    return command


def _added() -> dict[str, EntryPoint]:
    found: Iterable[EntryPoint]
    if sys.version_info >= (3, 10):
        found = entry_points(group=GROUP)
    else:
        found = entry_points().get(GROUP, ())
    return {point.name: point for point in found if point.name not in OWN}


def _tell_version(asked: bool) -> None:
    if asked:
        typer.echo(f"headwater-client {version('headwater-client')}")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", is_eager=True, callback=_tell_version, help="Show the version and exit.")
]

app = group("Headwater, the ingestion backend for external crawlers.", cls=Commands, add_completion=True)


@app.callback()
def headwater(*, version: Version = False) -> None:
    """Headwater, the ingestion backend for external crawlers."""
    del version
