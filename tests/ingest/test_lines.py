import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budget import examples
from documents import bytewise, cut_at, cuttings
from headwater.domain.errors import DocumentTooLarge
from headwater.ingest.lines import BLOCK, BYTE_ORDER_MARK, LineCutter

UNLIMITED = 1 << 30

LINES = st.sampled_from(
    [b"", b" ", b"\t \t", b"{}", b" {}", b'{"a":1} ', b"x", "ü".encode(), b"\0", BYTE_ORDER_MARK]
) | (st.binary(max_size=6).map(lambda data: re.sub(rb"[\r\n]", b"", data)))
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])


@st.composite
def bodies(draw, lines=LINES):
    """Any lines with any line ends, with a byte-order mark or not, the last line ended or not."""
    parts = [draw(st.sampled_from([b"", BYTE_ORDER_MARK]))]
    for line in draw(st.lists(lines, max_size=8)):
        parts += [line, draw(ENDS)]
    return b"".join(parts if draw(st.booleans()) else parts[:-1])


@st.composite
def long_bodies(draw):
    """Lines of which some are so long that a block holds only one or two, and the pieces in which they come.

    The cuts are near the line ends, where they matter.
    """
    heavy = st.sampled_from([BLOCK // 2, BLOCK - 3, BLOCK - 2, BLOCK - 1, BLOCK, BLOCK + 1]).map(
        lambda size: b"h" * size
    )
    body = draw(bodies(st.one_of(LINES, heavy)))
    ends = [found.start() for found in re.finditer(rb"[\r\n]", body)] or [0]
    near = st.builds(int.__add__, st.sampled_from(ends), st.integers(-2, 3)).map(lambda at: min(max(at, 0), len(body)))
    return body, cut_at(body, draw(st.lists(near, max_size=5)))


def reference(body):
    """The lines of a body that are not blank, each with its number and its place, by the words of the protocol."""
    at = len(BYTE_ORDER_MARK) if body.startswith(BYTE_ORDER_MARK) else 0
    number, found = 1, []
    while at < len(body):
        end = next((place for place in range(at, len(body)) if body[place] in b"\r\n"), len(body))
        if body[at:end].strip(b" \t"):
            found.append((body[at:end], number, at))
        at = end + (2 if body[end : end + 2] == b"\r\n" else 1)
        number += 1
    return found


def quick_reference(body):
    """The same for long bodies."""
    mark = len(BYTE_ORDER_MARK) if body.startswith(BYTE_ORDER_MARK) else 0
    found = re.finditer(rb"([^\r\n]*)(\r\n|\r|\n|\Z)", body[mark:])
    return [
        (line[1], number, line.start() + mark) for number, line in enumerate(found, start=1) if line[1].strip(b" \t")
    ]


def blocks(pieces, *, longest=UNLIMITED):
    cutter = LineCutter(longest=longest)
    return [*(block for piece in pieces for block in cutter.feed(piece)), *cutter.finish()]


def told(found):
    """The lines of blocks, each with its number and its place."""
    return [
        (line, int(number), int(place))
        for block in found
        for line, number, place in zip(block.lines(range(len(block))), block.numbers, block.places, strict=True)
    ]


def too_large(pieces, *, longest):
    """The line and the place that a body is refused for."""
    with pytest.raises(DocumentTooLarge) as caught:
        blocks(pieces, longest=longest)
    [flaw] = caught.value.flaws
    return flaw.line, flaw.offset


@pytest.mark.parametrize(
    ("body", "lines"),
    [
        (b"", []),
        (b"\n", []),
        (b"\r", []),
        (b"\r\n", []),
        (b" \t \n\r\n\t", []),
        (b"a", [(b"a", 1, 0)]),
        (b"a\n", [(b"a", 1, 0)]),
        (b"a\nb\n", [(b"a", 1, 0), (b"b", 2, 2)]),
        (b"a\nb", [(b"a", 1, 0), (b"b", 2, 2)]),
        (b"a\r\nb\r\n", [(b"a", 1, 0), (b"b", 2, 3)]),
        (b"a\rb\r", [(b"a", 1, 0), (b"b", 2, 2)]),
        (b"a\n\rb", [(b"a", 1, 0), (b"b", 3, 3)]),
        (b"a\r\r\nb", [(b"a", 1, 0), (b"b", 3, 4)]),
        (b"a\n\n  \n\tb \n", [(b"a", 1, 0), (b"\tb ", 4, 6)]),
        (b"\n\na", [(b"a", 3, 2)]),
        (BYTE_ORDER_MARK, []),
        (BYTE_ORDER_MARK + b"a\nb", [(b"a", 1, 3), (b"b", 2, 5)]),
        (BYTE_ORDER_MARK + b"\na", [(b"a", 2, 4)]),
        (BYTE_ORDER_MARK * 2 + b"a", [(BYTE_ORDER_MARK + b"a", 1, 3)]),
        (b"a\n" + BYTE_ORDER_MARK + b"b", [(b"a", 1, 0), (BYTE_ORDER_MARK + b"b", 2, 2)]),
        (b"\xef\xbba", [(b"\xef\xbba", 1, 0)]),
        ("ä\nb".encode(), [("ä".encode(), 1, 0), (b"b", 2, 3)]),
        ("a\u2028b\x0bc\x85".encode(), [("a\u2028b\x0bc\x85".encode(), 1, 0)]),
        (b"\xa0\n\x0b\n", [(b"\xa0", 1, 0), (b"\x0b", 2, 2)]),
    ],
)
@pytest.mark.parametrize("cut", [lambda body: [body], bytewise], ids=["whole", "bytewise"])
def test_a_body_has_these_lines(cut, body, lines):
    assert told(blocks(cut(body))) == lines


@settings(deadline=None, max_examples=examples(300))
@given(st.data(), bodies())
def test_a_body_has_the_lines_of_the_reference_however_it_is_cut(data, body):
    assert told(blocks(data.draw(cuttings(body)))) == reference(body)


@settings(deadline=None, max_examples=examples(100))
@given(bodies())
def test_the_quick_reference_is_the_reference(body):
    assert quick_reference(body) == reference(body)


@settings(deadline=None, max_examples=examples(60))
@given(long_bodies())
def test_a_body_of_many_blocks_has_the_lines_of_the_reference_however_it_is_cut(given_body):
    body, pieces = given_body
    assert told(blocks(pieces)) == quick_reference(body)


@settings(deadline=None, max_examples=examples(40))
@given(long_bodies())
def test_blocks_hold_whole_lines_each_ended_by_one_lf(given_body):
    for block in blocks(given_body[1]):
        pieces = [block.data[start:end] for start, end in zip(block.offsets, block.offsets[1:], strict=False)]
        assert block.offsets[0] == 0
        assert block.offsets[-1] == len(block.data)
        assert pieces == [line + b"\n" for line in block.lines(range(len(block)))]
        assert len(block) == len(pieces) > 0
        assert b"\r" not in block.data


def test_blocks_come_while_the_body_does():
    cutter = LineCutter(longest=UNLIMITED)
    row = b"x" * 99 + b"\n"
    found = [len(block.data) for _ in range(5) for block in cutter.feed(row * (BLOCK // 100 + 1))]
    assert len(found) == 5


def test_a_mark_is_one_only_at_the_begin_however_early_lines_are_handed_on():
    cutter = LineCutter(longest=UNLIMITED)
    pieces = [b"1\n", BYTE_ORDER_MARK + b"{}\n"]
    found = [block for piece in pieces for block in [*cutter.feed(piece), *cutter.flush()]]
    assert told(found) == reference(b"".join(pieces))


def test_a_mark_of_which_a_part_is_looked_at_early_is_left_out():
    cutter = LineCutter(longest=UNLIMITED)
    pieces = [b"", b"\xef", b"\xbb", b"\xbf{}\n", b"{}\n"]
    found = [block for piece in pieces for block in [*cutter.feed(piece), *cutter.flush()]]
    assert told(found) == reference(b"".join(pieces))


def test_nothing_is_handed_on_before_it_is_enough():
    cutter = LineCutter(longest=UNLIMITED)
    assert list(cutter.feed(b"{}\n" * 1000)) == []


@pytest.mark.parametrize("lines", [1, 1000, BLOCK], ids=["one line", "less than a block", "three blocks"])
def test_a_plain_piece_is_handed_on_as_it_was_received(lines):
    body = b"{}\n" * lines
    [block] = blocks([body])
    assert block.data is body


@pytest.mark.parametrize("body", [b"{}", b"{}\r\n", b"{}\r", b"{}\n\n", b"{}\n {}\n", BYTE_ORDER_MARK + b"{}\n"])
def test_what_is_not_plain_is_mended(body):
    assert {line.strip() for line in blocks([body])[0].data.splitlines(keepends=False)} == {b"{}"}


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r", b""])
@pytest.mark.parametrize("longest", [10, 2 * BLOCK])
@pytest.mark.parametrize("cut", [0, -1, -2])
def test_a_line_as_long_as_may_be_is_taken_whatever_ends_it(longest, end, cut):
    body = b"x" * longest + end
    assert told(blocks(cut_at(body, [len(body) + cut]), longest=longest)) == [(b"x" * longest, 1, 0)]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r", b"", b"\n\n{}\n"])
@pytest.mark.parametrize("longest", [10, 2 * BLOCK])
@pytest.mark.parametrize("pieces", [1, 2, 7])
def test_a_line_that_is_longer_is_refused(longest, end, pieces):
    body = b"x" * (longest + 1) + end
    step = len(body) // pieces
    assert too_large(cut_at(body, [step * number for number in range(1, pieces)]), longest=longest) == (1, 0)


@pytest.mark.parametrize("before", [b"{}\n", b"{}\r\n\r\n", b"\n \n{}\r", b"{}\n" * BLOCK, BYTE_ORDER_MARK + b"{}\n"])
@pytest.mark.parametrize("after", [b"", b"\n", b"\n{}\n", b"\r\n" + b"{}\n" * BLOCK])
@pytest.mark.parametrize("size", [101, 2 * BLOCK])
def test_a_line_that_is_too_long_is_named_by_its_number_and_place(before, after, size):
    line = len(re.findall(rb"\r\n|\r|\n", before)) + 1
    assert too_large([before + b"x" * size + after], longest=100) == (line, len(before))


@settings(deadline=None, max_examples=examples(150))
@given(st.data(), bodies(), st.integers(0, 6))
def test_of_several_lines_that_are_too_long_the_first_is_named(data, body, longest):
    pieces = data.draw(cuttings(body))
    over = [(number, place) for line, number, place in reference(body) if len(line) > longest]
    if over:
        assert too_large(pieces, longest=longest) == over[0]
    else:
        assert told(blocks(pieces, longest=longest)) == reference(body)


def test_the_error_says_which_limit_and_its_value():
    with pytest.raises(DocumentTooLarge, match=r"line 2 .* limit of 10 bytes .*max_document"):
        blocks([b"{}\n" + b"x" * 11], longest=10)


def test_a_line_that_never_ends_is_refused_before_much_of_it_is_held():
    sent = []

    def endless():
        while len(sent) < 1000:
            sent.append(b"x" * (BLOCK // 4))
            yield sent[-1]

    assert too_large(endless(), longest=4 * BLOCK) == (1, 0)
    assert len(sent) <= 20


@pytest.mark.parametrize("body", [b"{}\r\n" * 200_000, b"\n" * 800_000, b"  \r" * 200_000], ids=["CRLF", "LF", "CR"])
def test_lines_that_need_mending_cost_about_what_splitting_them_would(body):
    def seconds(work):
        begun = time.thread_time()
        work()
        return time.thread_time() - begun

    # In Python it cost ten times as much as splitting; what others do on the machine never makes it that.
    splitting = min(seconds(body.splitlines) for _ in range(5))
    assert min(seconds(lambda: blocks([body])) for _ in range(5)) < 5 * splitting
