import os

import pytest

from headwater.domain.errors import NoRoom
from headwater.lake.disk import MOST_BALLAST, PART_OF_DISK, Disk

MANY = 1 << 60


class Sized(Disk):
    """A disk of a chosen size, of which as much is free as the test says."""

    size, left = 100 << 30, 50 << 30

    @property
    def free(self):
        return self.left

    @property
    def reserve(self):
        return min(self._reserve, self.size // PART_OF_DISK)


def test_uploads_are_refused_below_the_reserve_and_taken_above_it(tmp_path):
    disk = Sized(tmp_path, reserve=1 << 20, clock=iter(range(100)).__next__)
    disk.left = 1 << 20
    disk.require_room()
    disk.left -= 1
    with pytest.raises(NoRoom, match="disk_reserve"):
        disk.require_room()
    disk.left += 1
    disk.require_room()


def test_a_reserve_is_a_tenth_of_the_disk_at_most(tmp_path):
    found = os.statvfs(tmp_path)
    assert Disk(tmp_path, reserve=MANY).reserve == found.f_blocks * found.f_frsize // PART_OF_DISK
    assert Disk(tmp_path, reserve=1000).reserve == 1000


def test_no_reserve_refuses_nothing_and_has_no_ballast(tmp_path):
    disk = Sized(tmp_path, reserve=0, ballast=True)
    disk.left = 0
    disk.require_room()
    disk.look()
    assert list(tmp_path.iterdir()) == []


def test_ballast_takes_room_of_the_disk_once_and_is_private(tmp_path):
    disk = Sized(tmp_path, reserve=64 << 20, ballast=True)
    for _ in range(2):
        disk.look()
    found = (tmp_path / "ballast").stat()
    assert (found.st_size, found.st_mode & 0o777) == (MOST_BALLAST, 0o600)
    assert found.st_blocks * 512 >= MOST_BALLAST


def test_ballast_is_given_up_once_and_put_back_when_there_is_room(tmp_path):
    disk = Sized(tmp_path, reserve=64 << 20, ballast=True)
    disk.look()
    disk.left = 64 << 20
    assert [disk.release_ballast(), disk.release_ballast()] == [True, False]
    disk.look()
    assert not (tmp_path / "ballast").exists()
    disk.left = 80 << 20
    disk.look()
    assert (tmp_path / "ballast").exists()


@pytest.mark.parametrize(("left", "is_kept"), [(0, False), (MOST_BALLAST - 1, False), (MOST_BALLAST, True)])
def test_ballast_is_given_up_before_a_catalog_is_opened_that_has_no_room(tmp_path, left, is_kept):
    disk = Sized(tmp_path, reserve=64 << 20, ballast=True)
    disk.look()
    disk.left = left
    disk.make_ready()
    assert (tmp_path / "ballast").exists() is is_kept


def test_a_disk_without_ballast_has_none_to_give_up(tmp_path):
    disk = Sized(tmp_path, reserve=64 << 20)
    disk.look()
    assert list(tmp_path.iterdir()) == []
    assert not disk.release_ballast()
