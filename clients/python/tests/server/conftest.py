"""Crawlers of this process, and what they talk to."""

import pytest

from headwater_client.server import ExternalCrawler
from server.calling import Caller, FakeHeadwater, Gate


@pytest.fixture
def headwater():
    return FakeHeadwater()


@pytest.fixture
def make(headwater):
    """Make a crawler that writes to the fake Headwater."""

    def make(function=None, **options):
        writer = {"transport": headwater.transport(), **options.pop("writer", {})}
        crawler = ExternalCrawler("Book prices", writer=writer, **options)
        if function is not None:
            crawler.task(function)
        return crawler

    return make


@pytest.fixture
def call(make):
    """Make such a crawler, and return what calls it."""
    return lambda function=None, **options: Caller(make(function, **options))


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.open()
