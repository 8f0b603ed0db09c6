from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.domain.ids import is_fid, new_fid

AT = datetime(2026, 3, 1, 12, 30, 15, 123_456, tzinfo=UTC)
MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(9000, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - the zone is given beside


def test_an_id_is_a_uuid_of_version_7_in_hex():
    fid = new_fid(AT)
    assert (UUID(fid).version, UUID(fid).variant, UUID(fid).hex) == (7, "specified in RFC 4122", fid)


@given(MOMENTS)
def test_an_id_begins_with_its_time_in_milliseconds(at):
    assert int(new_fid(at)[:12], 16) == (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


@given(MOMENTS)
def test_ids_a_microsecond_apart_are_in_order(at):
    assert new_fid(at) < new_fid(at + timedelta(microseconds=1))


def test_ids_are_in_order_through_every_microsecond_of_a_millisecond():
    fids = [new_fid(AT.replace(microsecond=microsecond)) for microsecond in range(122_000, 124_000)]
    assert fids == sorted(fids)


def test_ids_of_one_moment_differ():
    assert len({new_fid(AT) for _ in range(1000)}) == 1000


def test_the_zone_of_the_clock_does_not_matter():
    elsewhere = AT.astimezone(timezone(timedelta(hours=5, minutes=45)))
    assert new_fid(elsewhere)[:16] == new_fid(AT)[:16]


def test_a_new_id_has_the_form_of_one():
    assert is_fid(new_fid(AT))


@pytest.mark.parametrize(
    "text",
    ["", "0" * 31, "0" * 33, "g" * 32, "A" * 32, "0" * 32 + "\n", "01957a5c-6b3f-7000-8000-000000000000", "٠" * 32],  # noqa: RUF001 - digits, but not ours
)
def test_any_other_text_has_not(text):
    assert not is_fid(text)
