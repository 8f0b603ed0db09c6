"""What a crawler takes for its function."""

import pytest


def test_a_crawler_has_one_function(make):
    crawler = make(lambda _task: None)

    with pytest.raises(TypeError, match="has a function"):
        crawler.task(lambda _task: None)


def test_a_function_that_yields_is_refused_with_what_to_do_instead(make):
    async def crawl(_task):
        yield {"id": "a"}

    with pytest.raises(TypeError, match=r"await task\.write"):
        make(crawl)


def test_a_function_is_returned_as_it_is(make):
    def crawl(_task): ...

    assert make().task(crawl) is crawl
