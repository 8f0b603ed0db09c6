"""Numbers, times and sizes as the pages show them."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from markupsafe import Markup

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_STEP = 1000
_SHORT = 100
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
#: Numbers from here on are shortened where space is short.
_LONG = 100_000


def number(value: float | None) -> str:
    """Return a number with its thousands grouped; a dash for None."""
    return "–" if value is None else f"{value:,}"


def short(value: int) -> str:
    """Return a number for narrow places: 1,310, 2.1 M."""
    if abs(value) < _LONG:
        return number(value)
    for limit, unit in ((1_000_000_000, "G"), (1_000_000, "M")):
        if abs(value) >= limit:
            return f"{value / limit:.1f} {unit}"
    return f"{value / 1000:.0f} k"


def size(value: float) -> str:
    """Return a number of bytes: 1.5 GB."""
    for unit in _UNITS:
        if value < _STEP or unit == _UNITS[-1]:
            return f"{value:.0f} {unit}" if unit == "B" or value >= _SHORT else f"{value:.1f} {unit}"
        value /= _STEP
    raise AssertionError("the last unit takes everything")


def many(value: int, noun: str) -> str:
    """Return a number with its noun: 1 document, 1,204 documents."""
    return f"{number(value)} {noun if value == 1 else noun + 's'}"


def span(seconds: float) -> str:
    """Return a length of time in its two largest units: 14 min, 2 h 5 min."""
    whole = round(seconds)
    if whole < 1:
        return f"{seconds * 1000:.0f} ms" if seconds > 0 else "0 s"
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        minutes, rest = divmod(whole, _MINUTE)
        return f"{minutes} min {rest} s" if rest and minutes < 10 else f"{minutes} min"  # noqa: PLR2004 - a glance
    if whole < _DAY:
        hours, rest = divmod(whole, _HOUR)
        return f"{hours} h {rest // _MINUTE} min" if rest >= _MINUTE else f"{hours} h"
    days, rest = divmod(whole, _DAY)
    return f"{days} d {rest // _HOUR} h" if rest >= _HOUR else f"{days} d"


def relative(moment: datetime, now: datetime) -> str:
    """Return a time as seen from now: 3 min ago, in 2 h."""
    seconds = (now - moment).total_seconds()
    if abs(seconds) < 1:
        return "now"
    words = _coarse(abs(seconds))
    return f"{words} ago" if seconds > 0 else f"in {words}"


def _coarse(seconds: float) -> str:
    for limit, unit, length in ((_MINUTE, "s", 1), (_HOUR, "min", _MINUTE), (_DAY * 2, "h", _HOUR)):
        if seconds < limit:
            return f"{int(seconds // length) or 1} {unit}"
    return f"{int(seconds // _DAY)} d"


def exact(moment: datetime) -> str:
    """Return a time in full, in UTC; the browser shows it in the reader's zone."""
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def when(moment: datetime | None, now: datetime, *, form: str = "relative") -> Markup:
    """Return a time as an element; without scripts it reads in UTC. ``form`` is relative, short or exact."""
    if moment is None:
        return Markup('<span class="quiet">–</span>')
    shown = {
        "relative": relative(moment, now),
        "short": f"{moment:%Y-%m-%d %H:%M}" if now - moment > timedelta(days=300) else f"{moment:%d %b %H:%M}",
        "exact": exact(moment),
    }[form]
    return Markup('<time datetime="{}" data-form="{}" title="{}">{}</time>').format(
        moment.isoformat(), form, exact(moment), shown
    )


def in_zone(moment: datetime, zone: str) -> Markup:
    """Return a time as an element, in a time zone and not in the reader's: that of a schedule."""
    return Markup('<time datetime="{}" data-form="kept" title="{}">{}</time>').format(
        moment.isoformat(), exact(moment), f"{moment.astimezone(ZoneInfo(zone)):%a %d %b %H:%M}"
    )


def shortened(text: str, most: int = 120) -> str:
    """Return the beginning of a text."""
    return text if len(text) <= most else text[: most - 1] + "…"
