"""Lets a page that does not hold be told in full: what it shows beside what came."""

import pytest

pytest.register_assert_rewrite("docs_tour")
