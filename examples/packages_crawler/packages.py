"""The source: the Python packages that are installed on this machine, as documents."""

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from importlib.metadata import Distribution, distributions
from typing import Any

_SEPARATORS = re.compile(r"[-_.]+")
_EXTRA = re.compile(r"\bextra\s*==")


def chosen(params: Mapping[str, Any]) -> list[Distribution]:
    """Return the packages that the parameters ask for, in order of their names."""
    installed: dict[str, Distribution] = {}
    for package in distributions():
        name = package.metadata.get("Name")
        if name:  # what a broken installation left behind has none
            # A package may be installed twice; the first on the path is the one that Python imports.
            installed.setdefault(normalized(name), package)
    most = params.get("max_files")
    return [
        package
        for name, package in sorted(installed.items())
        if fnmatchcase(name, params["name"])
        and params["min_files"] <= len(package.files or ())
        and (most is None or len(package.files or ()) <= most)
    ]


def document(package: Distribution, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the stream is to show of a package."""
    return {
        "name": normalized(package.metadata["Name"]),
        "version": package.version,
        "summary": package.metadata.get("Summary"),
        "licence": licence(package),
        "requires": [each for each in package.requires or () if params["extras"] or not _EXTRA.search(each)],
        "files": files(package, paths=params["detail"] == "full"),
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
