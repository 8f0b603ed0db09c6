import gzip
import io
import json
import sys
from types import SimpleNamespace

import pytest
from backports import zstd

from headwater_client.cli.endings import Code, Refusal
from headwater_client.cli.pushing.files import SAMPLE, File
from headwater_client.cli.pushing.forms import Form

LINES = b"".join(json.dumps({"id": number}).encode() + b"\n" for number in range(1000))
PACK = {"": lambda data: data, ".gz": gzip.compress, ".zst": zstd.compress}


def _documents(file: File) -> bytes:
    return b"".join(line for _, line in file.documents())


@pytest.mark.parametrize("packed", PACK)
@pytest.mark.parametrize("name", ["books.ndjson", "books.jsonl", "books.JSON"])
def test_a_file_is_read_as_its_name_and_first_bytes_tell(tmp_path, name, packed):
    path = tmp_path / (name + packed)
    path.write_bytes(PACK[packed](LINES))
    assert _documents(File.named(str(path), None, None)) == LINES


@pytest.mark.parametrize("packed", [".gz", ".zst"])
def test_compressed_files_one_behind_the_other_are_one(tmp_path, packed):
    path = tmp_path / f"books.ndjson{packed}"
    half = len(LINES) // 2
    path.write_bytes(PACK[packed](LINES[:half]) + PACK[packed](LINES[half:]))
    assert _documents(File.named(str(path), None, None)) == LINES


def test_a_file_that_is_called_gz_and_is_not_is_read_all_the_same(tmp_path):
    path = tmp_path / "books.ndjson.gz"
    path.write_bytes(LINES)
    assert _documents(File.named(str(path), None, None)) == LINES


def test_tabs_and_other_delimiters(tmp_path):
    path = tmp_path / "books.tsv"
    path.write_text("a\tb\n1\t2\n")
    assert _documents(File.named(str(path), None, None)) == b'{"a":"1","b":"2"}\n'
    assert _documents(File.named(str(path), None, "tab")) == b'{"a":"1","b":"2"}\n'
    path.write_text("a;b\n1;2\n")
    assert _documents(File.named(str(path), Form.CSV, ";")) == b'{"a":"1","b":"2"}\n'


@pytest.mark.parametrize(
    ("name", "form", "delimiter", "says", "code"),
    [
        ("books.txt", None, None, "--format says it, ndjson, json, csv", Code.USAGE),
        ("books.gz", None, None, "--format says it", Code.USAGE),
        ("books.ndjson", None, ";", "--delimiter is for CSV", Code.USAGE),
        ("books.csv", None, ";;", "is no delimiter", Code.USAGE),
        ("books.csv", None, '"', "is no delimiter", Code.USAGE),
        ("missing.csv", None, None, "there is no file", Code.FAILED),
        (".", None, None, "is a directory", Code.FAILED),
    ],
)
def test_a_file_that_cannot_be_pushed_is_told(tmp_path, name, form, delimiter, says, code):
    for present in ("books.txt", "books.gz", "books.ndjson", "books.csv"):
        (tmp_path / present).touch()
    with pytest.raises(Refusal, match=says) as caught:
        File.named(str(tmp_path / name), form, delimiter)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.ndjson.gz", gzip.compress(LINES)[:-20], "Compressed file ended before"),
        ("a.ndjson.gz", gzip.compress(LINES)[:-8] + b"x" * 8, "CRC check failed"),
        ("a.ndjson.zst", zstd.compress(LINES)[:-20], "Compressed file ended before"),
        ("a.ndjson.zst", zstd.compress(LINES)[:20] + b"x" * 200, "cannot be read"),
        ("a.csv", "a\n\xe4\n".encode("latin-1"), "it is not UTF-8"),
        ("a.json", '["\xe4"]'.encode("latin-1"), "it is not UTF-8"),
    ],
)
def test_a_broken_file_is_told(tmp_path, name, data, says):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(Refusal, match=says):
        _documents(File.named(str(tmp_path / name), None, None))


def test_a_file_is_known_again_by_its_size_and_by_what_it_begins_and_ends_with(tmp_path):
    path = tmp_path / "a.ndjson"
    path.write_bytes(b"x" * 3 * SAMPLE)
    first = File.named(str(path), None, None).identity()
    assert first["file"] == "a.ndjson"
    again = tmp_path / "b.ndjson"
    again.write_bytes(b"x" * 3 * SAMPLE)
    assert File.named(str(again), None, None).identity() == {**first, "file": "b.ndjson"}
    for place in (0, SAMPLE - 1, 3 * SAMPLE - 1):
        changed = bytearray(b"x" * 3 * SAMPLE)
        changed[place] = ord("y")
        again.write_bytes(changed)
        assert File.named(str(again), None, None).identity()["digest"] != first["digest"]


def test_stdin_is_read_once_and_left_open(monkeypatch):
    stdin = io.BytesIO(gzip.compress(LINES))
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=stdin))
    file = File.named("-", None, None)
    assert (file.name, file.size, file.identity()) == ("stdin", None, None)
    assert _documents(file) == LINES
    assert not stdin.closed
