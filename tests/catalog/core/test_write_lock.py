import fcntl
import threading
import time

import pytest

from headwater.catalog.core.write_lock import WriteLock


@pytest.fixture
def turns(tmp_path):
    """Those of two processes: locks are of an open file, not of a process."""
    both = [WriteLock(tmp_path / "catalog.sqlite") for _ in range(2)]
    yield both
    for one in both:
        one.close()


def test_who_waits_has_its_turn_before_who_had_the_last_one(turns, tmp_path):
    one, other = turns
    had, waits = [], threading.Event()

    def want(turns, name):
        waits.set()
        with turns.hold():
            had.append(name)

    with one.hold():
        waiting = threading.Thread(target=want, args=(other, "the other"))
        waiting.start()
        waits.wait(10)
        # Until it waits for the turn it holds the place behind whoever has it.
        while _is_free(tmp_path / "catalog.sqlite-next"):
            time.sleep(0.01)
    want(one, "the first again")
    waiting.join(10)
    assert had == ["the other", "the first again"]


def _is_free(file) -> bool:
    with file.open() as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def test_without_files_to_lock_everybody_has_a_turn_at_once(tmp_path):
    turns = WriteLock(tmp_path / "missing" / "catalog.sqlite")
    with turns.hold(), turns.hold():
        pass
    turns.close()
