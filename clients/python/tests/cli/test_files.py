import bz2
import gzip
import io
import json
import lzma
import sys
from types import SimpleNamespace

import pytest
from backports import zstd

from headwater_client.cli.errors import CliError, ExitCode
from headwater_client.cli.push.files import SAMPLE, File
from headwater_client.cli.push.formats import Format

LINES = b"".join(json.dumps({"id": number}).encode() + b"\n" for number in range(1000))
SKIPPABLE = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"12345"
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


@pytest.mark.parametrize(
    "data",
    [
        SKIPPABLE + zstd.compress(LINES),
        SKIPPABLE * 3 + zstd.compress(LINES) + SKIPPABLE,
        bytes([0x5F]) + SKIPPABLE[1:] + zstd.compress(b"") + zstd.compress(LINES),
        gzip.compress(LINES) + bytes(600),
        gzip.compress(b"") + bytes(5) + gzip.compress(LINES[:99]) + bytes(5) + gzip.compress(LINES[99:]) + bytes(1),
    ],
    ids=["skippable", "several skippable", "empty frame", "padded gzip", "padded members"],
)
def test_frames_to_skip_and_padding_do_no_harm(tmp_path, data):
    path = tmp_path / "books.ndjson"
    path.write_bytes(data)
    assert _documents(File.named(str(path), None, None)) == LINES


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("packed", PACK)
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "id;größe\n1;😀\n"),
        ("a.tsv", "id\tgröße\r\n1\t😀\r\n"),
        ("a.ndjson", '{"id":"1","größe":"😀"}\n'),
        ("a.json", '[{"id":"1","größe":"😀"}]'),
    ],
)
def test_a_byte_order_mark_tells_the_encoding(tmp_path, name, text, packed, encoding):
    path = tmp_path / (name + packed)
    path.write_bytes(PACK[packed](text.encode(encoding)))
    assert _documents(File.named(str(path), None, None)).decode() == '{"id":"1","größe":"😀"}\n'


def test_each_row_that_is_kept_aside_is_reported_once_and_not_more_than_some(tmp_path, capsys):
    path = tmp_path / "a.csv"
    path.write_text("a,b\n" + "1,2,3\n" * 50)
    file = File.named(str(path), None, None)
    file.is_lenient = True
    assert [_documents(file), _documents(file)] == [b'["1","2","3"]\n' * 50] * 2
    assert capsys.readouterr().err.splitlines() == [
        f"a.csv, row {row}: there are 3 cells, and the header has 2; it is kept aside" for row in range(2, 12)
    ]


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
    assert _documents(File.named(str(path), Format.CSV, ";")) == b'{"a":"1","b":"2"}\n'


@pytest.mark.parametrize(
    ("name", "form", "delimiter", "says", "code"),
    [
        ("books.txt", None, None, "--format says it, ndjson, json, csv", ExitCode.USAGE),
        ("books.gz", None, None, "--format says it", ExitCode.USAGE),
        ("books.ndjson", None, ";", "--delimiter is for CSV", ExitCode.USAGE),
        ("books.csv", None, ";;", "is no delimiter", ExitCode.USAGE),
        ("books.csv", None, '"', "is no delimiter", ExitCode.USAGE),
        ("missing.csv", None, None, "there is no file", ExitCode.FAILED),
        (".", None, None, "is a directory", ExitCode.FAILED),
    ],
)
def test_a_file_that_cannot_be_pushed_is_told(tmp_path, name, form, delimiter, says, code):
    for present in ("books.txt", "books.gz", "books.ndjson", "books.csv"):
        (tmp_path / present).touch()
    with pytest.raises(CliError, match=says) as caught:
        File.named(str(tmp_path / name), form, delimiter)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.ndjson", lzma.compress(LINES), "compressed by xz, which is not read"),
        ("a.ndjson", bz2.compress(LINES), "compressed by bzip2"),
        ("a.csv", b"PK\x03\x04" + bytes(30), "compressed by zip, or a spreadsheet"),
        ("a.csv", "a;b\n1;2\n".encode("utf-16")[:-1], "it is not UTF-16"),
        ("a.csv", "a;b\n1;2\n".encode("utf-16-le"), "UTF-16 without a byte-order mark"),
        ("a.ndjson.gz", gzip.compress(LINES) + b"\0\0x", "Not a gzipped file"),
        ("a.ndjson.zst", SKIPPABLE + zstd.compress(LINES)[:-2], "Compressed file ended before"),
        ("a.ndjson.zst", zstd.compress(LINES) + b"xyz", "cannot be read"),
        ("a.ndjson.zst", zstd.compress(LINES) + bytes(8), "cannot be read"),
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
    with pytest.raises(CliError, match=says):
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
