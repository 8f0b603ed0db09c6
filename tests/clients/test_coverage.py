"""That the clients know all of the API."""

import json
import re

from exchange_table import FILE
from headwater.api.errors import slug
from headwater.app import create_app
from headwater.domain.errors import HeadwaterError
from headwater.settings import Settings
from headwater_client import errors

#: Calls that no client needs.
LEFT_OUT = {
    "healthz",  # for whoever watches the server
    "readyz",  # likewise
    "metrics",  # for Prometheus
    "delete_task_object",  # the same as delete_task
    "put_task",  # of a task, only `meta` can be written: patch_task does
    "export",  # bytes, and no JSON: tests/end_to_end/test_client.py
}


PATHS = create_app(Settings()).openapi()["paths"]


def _operation(asked: dict) -> str:
    """Return the call that a request of the table makes: of the paths that fit, the one that says most."""
    fitting = [path for path in PATHS if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", path), asked["path"])]
    path = max(fitting, key=lambda path: len(re.sub(r"\{\w+\}", "", path)))
    return PATHS[path][asked["method"].lower()]["operationId"]


def test_every_call_of_the_api_is_in_the_table_of_exchanges():
    known = {operation["operationId"] for methods in PATHS.values() for operation in methods.values()}
    table = json.loads(FILE.read_text())
    assert known - {_operation(one["request"]) for case in table for one in case["exchanges"]} == LEFT_OUT


def test_every_error_of_the_api_has_a_class_of_its_own():
    def leaves(kind: type) -> list[type]:
        return [leaf for child in kind.__subclasses__() for leaf in leaves(child)] or [kind]

    ours = [kind for kind in leaves(HeadwaterError) if kind.__module__ == "headwater.domain.errors"]
    unknown = [slug(kind) for kind in ours if errors.problem_class(f"problems/{slug(kind)}") is errors.Problem]
    # Those that ask for patience are tried again, and then told as such.
    assert unknown == ["too-many-requests", "too-many-uploads", "unavailable"]
