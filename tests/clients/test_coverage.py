"""That the clients know all of the API."""

import json
import re

from exchange_table import FILE
from headwater.api.errors import slug
from headwater.domain.errors import HeadwaterError
from headwater.streams.export import ExportFormat
from headwater_client import errors
from headwater_client.cli.access import ANSWERS
from headwater_client.cli.export import ExportFormat as CommandFormat
from headwater_client.exports import FORMATS
from openapi_document import openapi

#: Calls that no client needs.
LEFT_OUT = {
    "healthz",  # for whoever watches the server
    "readyz",  # likewise
    "metrics",  # for Prometheus
    "delete_task_object",  # the same as delete_task
    "put_task",  # of a task, only `meta` can be written: patch_task does
    "get_prepared_export",  # a file, for tools that download by parts
    "get_iceberg_config",  # the catalog is for engines, which have clients of their own
    "list_iceberg_namespaces",  # likewise
    "get_iceberg_namespace",  # likewise
    "list_iceberg_tables",  # likewise
    "load_iceberg_table",  # likewise
    "load_iceberg_credentials",  # likewise
    "export",  # bytes, and no JSON: tests/end_to_end/test_client.py
}


PATHS = openapi()["paths"]


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


def test_the_clients_know_every_form_of_an_export():
    assert {form.media_type.partition(";")[0] for form in ExportFormat} <= ANSWERS
    assert set(FORMATS.values()) == set(ExportFormat)
    assert {form.value for form in CommandFormat} == set(ExportFormat)
