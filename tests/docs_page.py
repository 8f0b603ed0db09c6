"""What of a page of the documentation is run, and what it says of the outcome."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[1]

#: Languages whose blocks are run, unless a mark says why not.
RUN = ("bash", "python", "js")
#: Languages whose blocks are looked at.
DATA = {"", "csv", "html", "http", "ini", "json", "text", "toml", "xml", "yaml"}

_MARK = re.compile(r"<!-- not run: (\S.*?) -->\s*", re.DOTALL)
#: The first line of a file that is to be saved: a comment with nothing but a name that has an ending.
_NAMED = re.compile(r"(?:#|//) ([\w./-]*\w\.\w+)\n")
#: Behind a command: the statuses that it is answered with; ``…`` for more of 2xx, ``, until …`` where it is sent anew.
_PROMISE = re.compile(r"# (\d{3}(?: \d{3})*)( …)?(, until [^\n]+)?$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Block:
    """A block of code."""

    language: str
    text: str
    #: Why it is not run, if the page says so.
    reason: str | None

    @property
    def name(self) -> str | None:
        """The file as which it is to be saved, if it is one."""
        named = _NAMED.match(self.text) if self.reason is None else None
        return named[1] if named else None


@dataclass(kw_only=True)
class Step:
    """Commands, or a part of a program, in the order of the page; or a file that is saved there."""

    language: str
    text: str
    #: The file as which it is to be saved; None if it is run.
    name: str | None = None
    #: What the page shows that it puts out.
    output: str = ""


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page: its bash blocks, files and programs, each with the output that a text block behind it shows."""

    text: str
    blocks: list[Block] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "blocks", _blocks(self.text))

    @classmethod
    def of(cls, path: str, *, section: str | None = None) -> "Page":
        """Return a page, or that section of it whose heading is given."""
        text = (ROOT / path).read_text()
        return cls(text=text if section is None else text.partition(f"\n## {section}\n")[2].partition("\n## ")[0])

    def story(self) -> list[Step]:
        """Return what is done in the shell: its bash blocks, and the files that are saved between them."""
        return [step for step in self._steps() if step.name is not None or step.language == "bash"]

    def program(self, language: str) -> list[Step]:
        """Return the blocks that are a program in that language, all of them together."""
        return [step for step in self._steps() if step.name is None and step.language == language]

    def outputs(self) -> list[str]:
        """Return what the page says that its blocks put out: those in bash, then those of its programs."""
        commands = [step for step in self.story() if step.name is None]
        return [step.output for step in (*commands, *self.program("python"), *self.program("js"))]

    def promised(self) -> re.Pattern[str]:
        """Return what matches the statuses that the comments promise, in order, a blank behind each."""
        commands = [step.text for step in self.story() if step.name is None]
        found = [promise for text in commands for promise in _PROMISE.findall(text)]
        return re.compile(
            "".join(
                f"(?:{codes} ){'+' if until else ''}{r'(?:2[0-9]{2} )*' if more else ''}"
                for codes, more, until in found
            )
        )

    def untold(self) -> list[str]:
        """Return the blocks that are neither run, nor data, nor marked, by their first lines."""
        unknown = [block for block in self.blocks if block.reason is None and block.language not in {*RUN, *DATA}]
        return [
            f"{block.language}: {block.text.partition(chr(10))[0]}"
            for block in unknown
            if block.name is None and not block.language.startswith("{")
        ]

    def _steps(self) -> list[Step]:
        steps: list[Step] = []
        shown: Step | None = None  # whose output a text block would be
        for block in self.blocks:
            if block.reason is not None:
                shown = None
            elif block.name is not None:
                steps.append(Step(language=block.language, text=block.text, name=block.name))
                shown = None
            elif block.language in RUN:
                shown = Step(language=block.language, text=block.text)
                steps.append(shown)
            elif block.language == "text" and shown is not None:
                shown.output, shown = block.text, None
        return steps


def _blocks(text: str) -> list[Block]:
    blocks: list[Block] = []
    mark = None
    for token in MarkdownIt().parse(text):
        if token.type == "fence":
            language = token.info.partition(" ")[0]
            blocks.append(Block(language=language, text=token.content, reason=mark and mark[1]))
        mark = _MARK.fullmatch(token.content) if token.type == "html_block" else None
    return blocks
