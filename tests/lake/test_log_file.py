from concurrent.futures import ThreadPoolExecutor

import pytest

from headwater.lake.log_file import BLOCK, LogFile


@pytest.fixture
def file(tmp_path) -> LogFile:
    return LogFile(tmp_path / "logs/task=a/1.ndjson")


def test_lines_are_read_from_a_position_on(file):
    file.append(b"one\ntwo\n")
    file.append(b"three\n")
    assert list(file.lines(0)) == [(4, b"one\n"), (8, b"two\n"), (14, b"three\n")]
    assert list(file.lines(8)) == [(14, b"three\n")]
    assert list(file.lines(14)) == []
    assert file.size() == 14


def test_a_line_that_is_still_being_written_is_not_read(file):
    file.append(b"one\ntw")
    assert list(file.lines(0)) == [(4, b"one\n")]
    file.append(b"o\n")
    assert list(file.lines(4)) == [(8, b"two\n")]


def test_a_file_that_is_not_there_is_empty(file):
    assert (list(file.lines(0)), file.size(), file.tail(3)) == ([], 0, 0)


@pytest.mark.parametrize("length", [3, BLOCK - 1, BLOCK, BLOCK + 1])
@pytest.mark.parametrize("count", [0, 1, 2, 5, 6])
def test_the_last_lines_are_found(file, length, count):
    lines = [b"%d" % number * length + b"\n" for number in range(5)]
    file.append(b"".join(lines))
    assert [line for _, line in file.lines(file.tail(count))] == lines[5 - min(count, 5) :]


def test_several_may_append_at_once(file):
    pieces = [(b"%02d" % number * 500 + b"\n") * 20 for number in range(16)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(file.append, pieces))
    lines = [line for _, line in file.lines(0)]
    assert sorted(lines) == sorted(b"".join(pieces).splitlines(keepends=True))
