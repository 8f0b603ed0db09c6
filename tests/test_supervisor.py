from headwater.settings import LEAST_QUERY_MEMORY, Settings
from headwater.supervisor import STABLE_AFTER, RestartBackoff, shared


def test_workers_share_the_memory_that_a_server_may_use():
    settings = Settings(workers=2, query_memory=1 << 30, upload_memory=128 << 20)
    each = shared(settings)
    assert (each.query_memory, each.upload_memory) == (512 << 20, 64 << 20)
    assert each.workers == 2
    assert each.catalog_url == settings.catalog_url


def test_each_worker_has_what_reading_cannot_do_without():
    assert shared(Settings(workers=64)).query_memory == LEAST_QUERY_MEMORY


def test_a_worker_that_ends_once_is_replaced_at_once_and_one_that_keeps_ending_ever_later():
    backoff = RestartBackoff()
    assert [backoff.pause(0, lived=1) for _ in range(8)] == [0, 1, 2, 4, 8, 16, 30, 30]
    assert backoff.pause(1, lived=1) == 0  # each for itself
    assert backoff.pause(0, lived=STABLE_AFTER) == 0
    assert backoff.pause(0, lived=1) == 1
