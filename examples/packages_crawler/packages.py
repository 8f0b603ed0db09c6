"""The source: the Python packages that are installed on this machine, as documents."""

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.metadata import Distribution, distributions
from typing import Annotated, Any, Literal

from headwater_client.server import Parameter

_SEPARATORS = re.compile(r"[-_.]+")
_EXTRA = re.compile(r"\bextra\s*==")

_BETWEEN = {
    "rule": "gte",
    "target": "min_files",
    "message": "must be at least min_files, or no package is between them",
}


@dataclass(frozen=True)
class Params:
    """Which packages, and what of them."""

    name: Annotated[
        str,
        Parameter(
            description="Only packages whose name matches this shell pattern, such as pytest*.",
            max=100,
            regex="^[a-z0-9*?-]+$",
        ),
    ] = "*"
    min_files: Annotated[int, Parameter(display_name="Least number of files", min=0)] = 0
    max_files: Annotated[
        int | None,
        Parameter(
            display_name="Greatest number of files",
            description="No limit when it is not given.",
            min=0,
            restrictions=[_BETWEEN],
        ),
    ] = None
    extras: Annotated[bool, Parameter(display_name="Requirements of extras, too")] = False
    detail: Annotated[
        Literal["brief", "full"],
        Parameter(
            display_name="What is told of files",
            labels={"brief": "Their number and size", "full": "Their paths, too"},
        ),
    ] = "brief"
    pause: Annotated[
        int,
        Parameter(
            display_name="Milliseconds between two packages",
            description="Kindness to the source.",
            min=0,
            max=60_000,
        ),
    ] = 0


def _name(package: Distribution) -> str | None:
    try:
        return package.metadata.get("Name")
    except FileNotFoundError:  # what finds packages may be replaced: the library importlib_metadata does so
        return None


def chosen(params: Params) -> list[Distribution]:
    """Return the packages that the parameters ask for, in order of their names."""
    installed: dict[str, Distribution] = {}
    for package in distributions():
        if name := _name(package):  # what a broken installation left behind has none
            # A package may be installed twice; the first on the path is the one that Python imports.
            installed.setdefault(normalized(name), package)
    most = params.max_files
    return [
        package
        for name, package in sorted(installed.items())
        if fnmatchcase(name, params.name)
        and params.min_files <= len(package.files or ())
        and (most is None or len(package.files or ()) <= most)
    ]


def document(package: Distribution, params: Params) -> dict[str, Any]:
    """Return what the stream is to show of a package."""
    return {
        "name": normalized(package.metadata["Name"]),
        "version": package.version,
        "summary": package.metadata.get("Summary"),
        "licence": licence(package),
        "requires": [each for each in package.requires or () if params.extras or not _EXTRA.search(each)],
        "files": files(package, paths=params.detail == "full"),
    }


def normalized(name: str) -> str:
    """Return the one spelling of a package's name (PEP 503)."""
    return _SEPARATORS.sub("-", name).lower()


def licence(package: Distribution) -> str | None:
    """Return a package's licence: the expression, or else the older fields that come nearest to one."""
    expression, text = package.metadata.get("License-Expression"), package.metadata.get("License")
    if expression:
        return expression
    if text and "\n" not in text:  # some put the whole licence there
        return text
    classifiers = package.metadata.get_all("Classifier") or []
    named = [each.rpartition(" :: ")[2] for each in classifiers if each.startswith("License ::")]
    return ", ".join(named) or None


def files(package: Distribution, *, paths: bool) -> dict[str, Any] | None:
    """Return number and size of a package's files, and their ``paths``; None where nobody wrote them down."""
    listed = package.files
    if listed is None:
        return None
    counted = {"count": len(listed), "bytes": sum(file.size or 0 for file in listed)}
    return counted | {"paths": sorted(map(str, listed))} if paths else counted
