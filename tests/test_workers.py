from headwater.settings import LEAST_QUERY_MEMORY, Settings
from headwater.workers import shared


def test_workers_share_the_memory_that_a_server_may_use():
    settings = Settings(workers=2, query_memory=1 << 30, upload_memory=128 << 20)
    each = shared(settings)
    assert (each.query_memory, each.upload_memory) == (512 << 20, 64 << 20)
    assert each.workers == 2
    assert each.catalog_url == settings.catalog_url


def test_each_worker_has_what_reading_cannot_do_without():
    assert shared(Settings(workers=64)).query_memory == LEAST_QUERY_MEMORY
