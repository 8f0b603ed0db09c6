"""The command ``headwater``, whose subcommands are imported when called.

Other packages, such as the server, add subcommands by entry points of the group ``headwater.commands``.
"""

from collections.abc import Iterable
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from headwater_client.cli.errors import exit_on_error
from headwater_client.cli.options import group

#: The commands of this package, and their modules.
OWN = {
    "login": "login",
    "logout": "login",
    "push": "push.command",
    "tasks": "tasks",
    "streams": "streams",
    "externals": "externals",
    "crawlers": "crawlers",
    "audit": "audit",
    "events": "events",
    "webhooks": "webhooks",
    "notify": "notify",
    "keys": "keys",
    "sync": "sync",
}
#: Entry point group of commands of other packages: the name of a command, and its typer app.
GROUP = "headwater.commands"


class Commands(TyperGroup):
    """Command group that imports its commands lazily."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands."""
        del ctx
        return [*OWN, *_added()]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import a command; None if there is none of that name."""
        del ctx
        if cmd_name in OWN:
            return _named(cmd_name, import_module(f"headwater_client.cli.{OWN[cmd_name]}").app)
        added = _added().get(cmd_name)
        return None if added is None else _named(cmd_name, added.load())

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command to run."""
        if self.get_command(ctx, args[0]) is None:
            self.commands = dict.fromkeys(self.list_commands(ctx), self)  # for the suggestions of similar names
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands into the help, those of the server in a section of their own."""
        for title, names in (("Commands", OWN), ("Commands of the server", _added())):
            if names:
                limit = formatter.width - 6 - max(map(len, names))
                rows = [(name, self.get_command(ctx, name).get_short_help_str(limit)) for name in names]
                with formatter.section(title):
                    formatter.write_dl(rows)

    def make_context(self, *args: Any, **options: Any) -> Any:
        """Parse the command line."""
        with exit_on_error():
            return super().make_context(*args, **options)

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        with exit_on_error():
            return super().invoke(ctx)


def _named(name: str, app: typer.Typer) -> Any:
    """Return the command of that name: a command of ``app``, or ``app`` itself."""
    command: Any = typer.main.get_command(app)
    command = getattr(command, "commands", {}).get(name, command)
    command.name = name
    return command


def _added() -> dict[str, EntryPoint]:
    found: Iterable[EntryPoint]
    found = entry_points(group=GROUP)
    return {point.name: point for point in found if point.name not in OWN}


def _print_version(asked: bool) -> None:
    if asked:
        from headwater_client.cli import versions  # noqa: PLC0415 - help need not wait for it

        versions.answer()
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option("--version", is_eager=True, callback=_print_version, help="Show the versions of client and server."),
]

app = group("Headwater, the ingestion backend for external crawlers.", cls=Commands, add_completion=True)


@app.callback()
def headwater(*, version: Version = False) -> None:
    """Headwater, the ingestion backend for external crawlers."""
    del version
