import gzip
import json
import tempfile
from hashlib import sha256
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budget import examples
from builders import SANDBOX
from documents import DOCUMENTS, ENCODINGS, bytewise, cuttings, halves, line_of, zeros
from headwater.domain.document import document_id
from headwater.domain.errors import DocumentInvalid, DocumentTooLarge, NoRoom, UploadBroken, UploadTooLarge
from headwater.domain.external import Definition
from headwater.ingest.decompression import decompressor
from headwater.ingest.lines import BLOCK
from headwater.ingest.pipeline import DecodedBody, UploadPipeline
from headwater.ingest.validation import Checker
from headwater.lake.integrity import digest_of
from headwater.lake.segment import OPEN_FILE, ROW_GROUP_BYTES, SegmentWriter, WrittenSegment
from headwater.lake.store import LocalStore
from lake_builders import FULL, files_in, needs_a_full_disk

PATH = "streams/s/task=t/x.parquet"
MIB = 1 << 20


@pytest.fixture
def store(tmp_path):
    return LocalStore(tmp_path / "lake")


def an_inflow(*, encoding=None, most=1 << 30, digest=False):
    return DecodedBody(decompressor(encoding), most=most, digest=digest)


def an_intake(store, *, schema=None, longest=MIB, path=PATH, **options):
    definition = Definition(headers={}, parameters=(), schema=schema, doc_id_field="id")
    checker = Checker(definition, external="Reviews", sandbox=SANDBOX)
    writer = SegmentWriter(store, path, staged_as="x")
    return UploadPipeline(an_inflow(**options), checker=checker, writer=writer, longest=longest)


def take(store, pieces, **options):
    """Take a body; leave nothing of one that cannot be taken."""
    pipeline = an_intake(store, **options)
    try:
        for piece in pieces:
            pipeline.take(pipeline.decode(piece))
        return pipeline.finish()
    except BaseException:
        pipeline.discard()
        raise


def read(store, path=PATH):
    return pq.ParquetFile(store.locate(path)).read()


def numbered(count, *, filler=0):
    return b"".join(b'{"id": "%d", "x": "%s"}\n' % (number, b"x" * filler) for number in range(count))


def test_an_upload_becomes_a_segment_of_its_ids_places_and_lines(store):
    body = b'{"id": "b"}\n{"id": 7, "x": "\xc3\xa4"}\n{"id": "a"}\n'
    take(store, [body])
    assert read(store).to_pylist() == [
        {"doc_id": "b", "pos": 0, "doc": '{"id": "b"}\n'},
        {"doc_id": "7", "pos": 1, "doc": '{"id": 7, "x": "ä"}\n'},
        {"doc_id": "a", "pos": 2, "doc": '{"id": "a"}\n'},
    ]


def test_a_document_is_kept_exactly_as_it_was_written(store):
    line = '  { "id" :"a" ,"x":1.50e+0, "x" : "\\u00e4ä\\/" , "n":-0 }\t\n'
    take(store, [line.encode()])
    assert read(store)["doc"].to_pylist() == [line]


def test_each_document_ends_in_one_lf_whatever_ended_its_line(store):
    take(store, [b'\xef\xbb\xbf{"id":1}\r\n\r\n{"id":2}\r \t\r\r{"id":3}\n\n{"id":4}'])
    assert read(store)["doc"].to_pylist() == [f'{{"id":{number}}}\n' for number in (1, 2, 3, 4)]
    assert read(store)["pos"].to_pylist() == [0, 1, 2, 3]


def test_it_is_told_what_was_written(store):
    body = numbered(12)
    written = take(store, [body])
    file = Path(store.locate(PATH)).read_bytes()
    assert written == WrittenSegment(
        path=PATH,
        docs=12,
        bytes=len(body),
        min_id=b"0",
        max_id=b"9",
        digest=digest_of(file),
        size=len(file),
    )


@settings(deadline=None, max_examples=examples(30))
@given(st.data(), st.lists(DOCUMENTS, min_size=1, max_size=6), st.sampled_from(sorted(ENCODINGS)))
def test_any_documents_in_any_encoding_cut_anywhere_are_kept_as_they_are(tmp_path_factory, data, documents, name):
    store = LocalStore(tmp_path_factory.getbasetemp() / "any")
    encoding, encode = ENCODINGS[name]
    written = [line_of(document) for document in documents]
    take(store, data.draw(cuttings(encode(b"".join(written)))), encoding=encoding)
    assert read(store).to_pydict() == {
        "doc_id": [document_id(json.loads(line), "id") for line in written],
        "pos": list(range(len(written))),
        "doc": [line.decode() for line in written],
    }


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("step", [MIB // 4, 5 * MIB])
def test_places_are_counted_through_all_blocks(store, end, step):
    plain = numbered(60_000, filler=50)
    body = plain.replace(b"\n", end)
    assert len(plain) > 4 * BLOCK
    take(store, [body[at : at + step] for at in range(0, len(body), step)])
    table = read(store)
    assert table["pos"].to_pylist() == list(range(60_000))
    assert "".join(table["doc"].to_pylist()).encode() == plain


def test_an_upload_of_several_row_groups_is_kept_whole(store):
    body = numbered(40_000, filler=1000)
    assert len(body) > 2 * ROW_GROUP_BYTES
    take(store, [body[at : at + MIB] for at in range(0, len(body), MIB)])
    assert pq.ParquetFile(store.locate(PATH)).num_row_groups > 1
    assert "".join(read(store)["doc"].to_pylist()).encode() == body


@pytest.mark.parametrize("body", [b"", b"\n", b" \r\n\t\r", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n\n"])
@pytest.mark.parametrize("cut", [lambda body: [body], bytewise], ids=["whole", "bytewise"])
def test_an_upload_without_documents_makes_no_segment(store, cut, body):
    assert take(store, cut(body)) is None
    assert files_in(store) == []


def test_blank_blocks_are_passed_over(store):
    take(store, [b"\n" * (2 * BLOCK), b'{"id":1}\n', b" \n" * BLOCK, b'{"id":2}'])
    assert read(store)["pos"].to_pylist() == [0, 1]


@pytest.mark.parametrize(
    ("body", "options", "error"),
    [
        (b'{"id": ', {}, UploadBroken),
        (b"[]\n", {}, DocumentInvalid),
        (b'{"id": 1}\n', {"schema": {"required": ["x"]}}, DocumentInvalid),
        (b'{"x": "' + b"x" * 200 + b'"}\n', {"longest": 100}, DocumentTooLarge),
        (numbered(100), {"most": 1000}, UploadTooLarge),
        (b"not gzip", {"encoding": "gzip"}, UploadBroken),
        (gzip.compress(numbered(100), mtime=0)[:-1], {"encoding": "gzip"}, UploadBroken),
    ],
)
def test_a_faulty_upload_leaves_no_file(store, body, options, error):
    with pytest.raises(error):
        take(store, [body], **options)
    assert files_in(store) == []


@pytest.mark.parametrize("good", [numbered(3), numbered(40_000, filler=1000)], ids=["held", "partly written"])
@pytest.mark.parametrize("fault", [b"{\n", b"[]\n", b"{", b'{"x": "' + b"x" * 2 * MIB + b'"}\n'])
def test_a_fault_behind_good_documents_leaves_no_file(store, good, fault):
    with pytest.raises((UploadBroken, DocumentInvalid, DocumentTooLarge)):
        take(store, [*halves(good), fault, numbered(3)])
    assert files_in(store) == []


def test_a_fault_in_one_block_is_told_though_the_rest_is_good(store):
    good = numbered(60_000, filler=50)
    with pytest.raises(UploadBroken, match="1 of 120001 lines is not JSON") as caught:
        take(store, [good, b"{\n", good])
    assert [(flaw.line, flaw.offset) for flaw in caught.value.flaws] == [(60_001, len(good) + 1)]


def test_faults_are_told_from_all_blocks(store):
    good = numbered(60_000, filler=50)
    with pytest.raises(DocumentInvalid) as caught:
        take(store, [good, b"[]\n", good, b"[]\n"])
    assert [flaw.line for flaw in caught.value.flaws] == [60_001, 120_002]


def test_a_discarded_intake_leaves_no_file(store):
    pipeline = an_intake(store)
    pipeline.take(pipeline.decode(numbered(40_000, filler=1000)))
    pipeline.discard()
    assert files_in(store) == []


@settings(deadline=None, max_examples=examples(50))
@given(st.lists(st.tuples(st.integers(1, 30), st.booleans()), min_size=1, max_size=8), st.integers(1, 60))
def test_an_upload_that_spills_is_the_same_upload(parts, cut):
    body = numbered(sum(count for count, _ in parts), filler=20)
    with tempfile.TemporaryDirectory() as folder:
        store = LocalStore(Path(folder))
        pipeline, start = an_intake(store), 0
        for count, spills in parts:
            pipeline.take(pipeline.decode(body[start : start + count * cut]))
            start += count * cut
            if spills:
                pipeline.spill()
                assert pipeline.held < 50 + OPEN_FILE  # but for a line that has just begun
        pipeline.take(pipeline.decode(body[start:]))
        written = pipeline.finish()
        assert read(store)["doc"].to_pylist() == body.decode().splitlines(keepends=True)
        assert read(store)["pos"].to_pylist() == list(range(written.docs))
        assert written.bytes == len(body)


def test_whoever_has_it_spill_after_its_end_changes_nothing(store):
    pipeline = an_intake(store)
    pipeline.take(pipeline.decode(b'{"id": "a"}\n'))
    pipeline.finish()
    before = files_in(store)
    pipeline.spill()
    assert files_in(store) == before
    other = an_intake(store, path="streams/s/task=t/y.parquet")
    other.take(other.decode(b'{"id": "a"}\n'))
    other.discard()
    other.spill()
    assert files_in(store) == before


@needs_a_full_disk
def test_what_goes_wrong_when_it_spills_is_told_with_the_next_part(store):
    store.stage("x").symlink_to(FULL)
    pipeline = an_intake(store)
    pipeline.take(pipeline.decode(numbered(200, filler=1000)))
    pipeline.spill()
    with pytest.raises(NoRoom, match="disk is full"):
        pipeline.take(())
    pipeline.discard()
    assert files_in(store) == []


@pytest.mark.parametrize(("encoding", "encode"), ENCODINGS.values(), ids=ENCODINGS)
@pytest.mark.parametrize("over", [0, 1])
def test_the_limit_of_an_upload_counts_decoded_bytes(store, encoding, encode, over):
    body = numbered(50_000)
    options = {"encoding": encoding, "most": len(body) - over}
    if over:
        with pytest.raises(UploadTooLarge, match="max_upload"):
            take(store, [encode(body)], **options)
    else:
        assert take(store, [encode(body)], **options).bytes == len(body)


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_bomb_is_refused_as_soon_as_it_is_over_the_limit(encoding):
    decoded = an_inflow(encoding=encoding, most=16 * MIB)
    sizes = []
    with pytest.raises(UploadTooLarge, match=f"limit of {16 * MIB} bytes"):
        sizes.extend(len(piece) for piece in decoded.feed(zeros(encoding, 1 << 28)))
    assert 0 < sum(sizes) <= 16 * MIB


def test_the_limit_holds_for_all_pieces_together():
    decoded = an_inflow(most=100)
    assert b"".join(decoded.feed(b"x" * 60)) == b"x" * 60
    with pytest.raises(UploadTooLarge):
        list(decoded.feed(b"x" * 41))


@pytest.mark.parametrize(("encoding", "encode"), ENCODINGS.values(), ids=ENCODINGS)
def test_the_digest_is_that_of_the_decoded_bytes(encoding, encode):
    body = numbered(100)
    decoded = an_inflow(encoding=encoding, digest=True)
    for piece in halves(encode(body)):
        list(decoded.feed(piece))
    decoded.finish()
    assert decoded.digest == sha256(body).hexdigest()


def test_a_digest_that_nobody_asked_for_is_not_taken():
    decoded = an_inflow()
    list(decoded.feed(b"{}"))
    assert decoded.digest is None


def test_an_inflow_that_ends_in_the_middle_is_broken():
    decoded = an_inflow(encoding="gzip")
    list(decoded.feed(gzip.compress(b"{}")[:-1]))
    with pytest.raises(UploadBroken):
        decoded.finish()


@needs_a_full_disk
def test_an_upload_that_finds_no_room_on_disk_may_be_sent_again_and_leaves_no_file(store):
    store.stage("x").symlink_to(FULL)
    with pytest.raises(NoRoom, match="disk is full") as caught:
        take(store, [numbered(40_000, filler=1000)])
    assert caught.value.retry_after > 0
    assert files_in(store) == []
