"""Charts as SVG, made on the server. Sizes are attributes: a page may have no inline styles."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from markupsafe import Markup

from headwater.console.json_markup import steady
from headwater.domain.stream import Counts

#: The kinds of changes, in the order and with the signs that they have everywhere.
KINDS = (("added", "+"), ("changed", "~"), ("removed", "−"), ("unchanged", "="))


def change_bar(counts: Counts | None, *, width: int = 120, height: int = 8) -> Markup:
    """Return the shares of added, changed, removed and unchanged documents as a bar."""
    if counts is None:
        return Markup("")
    values = [(name, getattr(counts, name)) for name, _ in KINDS]
    total = sum(value for _, value in values)
    if not total:
        return Markup('<svg class="bar" width="{}" height="{}" aria-hidden="true"></svg>').format(width, height)
    pieces: list[Markup] = []
    at = 0.0
    present = [(name, value) for name, value in values if value]
    for name, value in present:
        # Each kind is seen, however small its share.
        length = max(2.0, (width - 2 * len(present)) * value / total)
        pieces.append(
            Markup('<rect class="is-{}" x="{:.1f}" y="0" width="{:.1f}" height="{}"/>').format(name, at, length, height)
        )
        at += length + 1
    return Markup(
        '<svg class="bar" viewBox="0 0 {w} {h}" width="{w}" height="{h}" aria-hidden="true">{p}</svg>'
    ).format(w=width, h=height, p=Markup("").join(pieces))


def share_bar(share: float, *, name: str = "changed", width: int = 120, height: int = 8) -> Markup:
    """Return one share as a bar."""
    return Markup(
        '<svg class="bar" viewBox="0 0 {w} {h}" width="{w}" height="{h}" aria-hidden="true">'
        '<rect class="is-track" width="{w}" height="{h}"/><rect class="is-{n}" width="{s:.1f}" height="{h}"/></svg>'
    ).format(w=width, h=height, n=name, s=max(1.0, width * min(max(share, 0.0), 1.0)))


def sparkline(values: Sequence[float], *, label: str, width: int = 96, height: int = 20) -> Markup:
    """Return a line of values, oldest first."""
    if len(values) < 2:  # noqa: PLR2004 - a line has two ends
        return Markup("")
    top = max(values) or 1
    step = width / (len(values) - 1)
    points = " ".join(
        f"{place * step:.1f},{height - 2 - (height - 4) * value / top:.1f}" for place, value in enumerate(values)
    )
    return Markup(
        '<svg class="spark" viewBox="0 0 {w} {h}" width="{w}" height="{h}" role="img" aria-label="{l}">'
        '<polyline points="{p}"/></svg>'
    ).format(w=width, h=height, l=steady(label), p=points)


#: Columns for which a chart has room, at least: a few stay as narrow as many.
LEAST_SLOTS = 14


@dataclass(frozen=True, kw_only=True)
class Column:
    """One value of a column chart."""

    label: str
    value: float
    #: What one reads when pointing at it.
    title: str
    kind: str = "accent"


def columns(values: Sequence[Column], *, label: str, width: int = 640, height: int = 96) -> Markup:
    """Return values as columns, each with its title."""
    if not values:
        return Markup("")
    top = max(column.value for column in values) or 1
    step = width / max(len(values), LEAST_SLOTS)
    bars: list[Markup] = []
    for place, column in enumerate(values):
        tall = max(1.0 if column.value else 0.0, (height - 2) * column.value / top)
        bar = Markup(
            '<rect class="is-{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"><title>{}</title></rect>'
        )
        drawn = bar.format(
            column.kind, place * step + step * 0.1, height - tall, max(1.0, step * 0.8), tall, column.title
        )
        bars.append(drawn)
    return Markup(
        '<svg class="columns" viewBox="0 0 {w} {h}" preserveAspectRatio="none" role="img" aria-label="{l}">{b}</svg>'
    ).format(w=width, h=height, l=steady(label), b=Markup("").join(bars))


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A run on a timeline."""

    began_at: datetime
    ended_at: datetime
    state: str
    title: str
    href: str


def lane(
    marks: Sequence[Mark],
    *,
    since: datetime,
    until: datetime,
    label: str,
    root: str,
    width: int = 960,
    height: int = 22,
) -> Markup:
    """Return the runs of a crawler along a span of time; ``root`` comes before the paths of their pages."""
    whole = (until - since).total_seconds() or 1
    drawn: list[Markup] = []
    for hour in range(1, int(whole // 3600) + 1):
        at = since + timedelta(hours=hour)
        mark = at.replace(minute=0, second=0, microsecond=0)
        if mark.hour % 3 == 0:
            x = (mark - since).total_seconds() / whole * width
            drawn.append(Markup('<line class="tick" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{h}"/>').format(x=x, h=height))
    for run in marks:
        left = max(0.0, (run.began_at - since).total_seconds() / whole * width)
        right = min(float(width), (run.ended_at - since).total_seconds() / whole * width)
        drawn.append(
            Markup(
                '<a href="{}{}" aria-label="{}"><rect class="run is-{}" x="{:.1f}" y="3" rx="2" width="{:.1f}" '
                'height="{}"><title>{}</title></rect></a>'
            ).format(
                root,
                run.href,
                run.title,
                run.state,
                min(left, width - 5),
                max(5.0, right - left),
                height - 6,
                run.title,
            )
        )
    return Markup(
        '<svg class="lane" viewBox="0 0 {w} {h}" preserveAspectRatio="none" role="group" aria-label="{l}">{d}</svg>'
    ).format(w=width, h=height, l=steady(label), d=Markup("").join(drawn))
