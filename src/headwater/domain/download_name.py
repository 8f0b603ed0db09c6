"""File names of downloads, as ``Content-Disposition`` has them (RFC 6266)."""

import unicodedata
from urllib.parse import quote

#: Bytes of UTF-8 in the caller's part of a file name: file systems allow 255, and browsers append " (1)".
LONGEST = 120


def attachment(name: str, unless: str, ending: str) -> str:
    """Return the header that makes clients save a download as ``{name}{ending}``.

    ``filename`` has an ASCII form for every client; ``filename*`` has the name itself, if that differs.

    Args:
        name: any text; characters that file systems reject become ``-``.
        unless: the fallback if nothing of the name is left; ASCII.
        ending: a suffix such as ``-v12.csv``; ASCII, never shortened.
    """
    whole = _bounded(_cleaned(name, is_ascii=False)) or unless
    plain = _bounded(_cleaned(name, is_ascii=True)) or unless
    header = f'attachment; filename="{plain}{ending}"'
    return header if whole == plain else f"{header}; filename*=UTF-8''{quote(whole + ending, safe='')}"


def _cleaned(name: str, *, is_ascii: bool) -> str:
    letters = "".join(letter if _is_taken(letter, is_ascii=is_ascii) else "-" for letter in name)
    return "-".join(part for part in letters.split("-") if part).strip("-. ")


def _is_taken(letter: str, *, is_ascii: bool) -> bool:
    if letter.isascii():
        return letter.isalnum() or letter in "._"
    # Letters, marks, numbers, punctuation and symbols, but no white space or invisible characters.
    return not is_ascii and unicodedata.category(letter)[0] in "LMNPS"


def _bounded(name: str) -> str:
    return name.encode()[:LONGEST].decode(errors="ignore").strip("-. ")
