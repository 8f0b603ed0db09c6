import pytest

from headwater.api.errors import Problem


@pytest.fixture
async def document(api):
    return (await api.get("/openapi.json")).json()


async def test_every_operation_says_what_it_does_and_how_it_fails(document):
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["description"], (method, path)
            assert {"400", "500"} <= operation["responses"].keys(), (method, path)
            for status, response in operation["responses"].items():
                if int(status) >= 400:
                    assert set(response["content"]) == {"application/problem+json"}, (method, path, status)
                    example = response["content"]["application/problem+json"]["example"]
                    assert Problem.model_validate(example).status == int(status)


async def test_the_framework_has_left_no_shape_of_its_own(document):
    assert "HTTPValidationError" not in str(document)


async def test_the_calls_of_the_ec_are_callbacks_of_what_starts_it(document):
    for path in ("/actions/crawlers/{fid}/task", "/actions/crawlers/{fid}/task/{task_fid}"):
        callbacks = document["paths"][path]["post"]["callbacks"]
        assert {method for callback in callbacks.values() for item in callback.values() for method in item} == {
            "post",
            "patch",
        }


async def test_a_query_and_a_header_cannot_be_null(document):
    parameters = [
        parameter
        for operations in document["paths"].values()
        for operation in operations.values()
        for parameter in operation.get("parameters", ())
    ]
    assert len(parameters) > 100
    assert [each for each in parameters if {"type": "null"} in each["schema"].get("anyOf", ())] == []


async def test_a_merge_patch_is_described_with_what_can_be_removed(document):
    patch = document["paths"]["/externals/{fid}"]["patch"]["requestBody"]["content"]["application/merge-patch+json"]
    headers = patch["schema"]["properties"]["headers"]["anyOf"]
    assert headers[1] == {"type": "null"}
    assert headers[0]["additionalProperties"]["anyOf"][1] == {"type": "null"}
    assert patch["schema"]["additionalProperties"] is False


async def test_a_merge_patch_is_described_without_null_for_what_must_be_there(document):
    patch = document["paths"]["/webhooks/{fid}"]["patch"]["requestBody"]["content"]["application/merge-patch+json"]
    assert patch["schema"]["properties"]["url"]["type"] == "string"
    assert {"type": "null"} in patch["schema"]["properties"]["enabled"]["anyOf"]


async def test_every_call_with_a_body_says_that_it_can_be_too_large(document):
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert ("413" in operation["responses"]) == ("requestBody" in operation), (method, path)


async def test_all_calls_of_the_protocol_are_there(document):
    calls = {f"{method.upper()} {path}" for path, operations in document["paths"].items() for method in operations}
    objects = {"streams", "externals", "crawlers", "tasks"}
    expected = {
        *(f"GET /{kind}" for kind in objects),
        *(f"{method} /{kind}/{{fid}}" for kind in objects for method in ("GET", "PATCH", "PUT", "DELETE")),
        "POST /streams",
        "POST /externals",
        "GET /links",
        "GET /audit",
        "GET /externals/{fid}/versions",
        "POST /actions/externals/{fid}/publish",
        "GET /externals/{fid}/oauth",
        "POST /actions/externals/{fid}/oauth/token",
        "GET /externals/{fid}/oauth/credentials",
        "GET /externals/{fid}/oauth/credentials/{credential_fid}",
        "DELETE /externals/{fid}/oauth/credentials/{credential_fid}",
        "POST /actions/externals/{fid}/check",
        "POST /actions/externals/{fid}/crawler",
        "POST /actions/crawlers/{fid}/task",
        "POST /actions/crawlers/{fid}/task/{task_fid}",
        "DELETE /actions/tasks/{fid}",
        "POST /actions/tasks/{fid}/restore",
        "POST /actions/tasks/{fid}/stop",
        "POST /actions/tasks/{fid}/publish",
        "POST /actions/tasks/{task_id}/upload",
        "POST /actions/tasks/{task_id}/status",
        "GET /streams/{fid}/docs",
        "GET /streams/{fid}/docs/{doc_id}",
        "GET /streams/{fid}/docs/{doc_id}/history",
        "DELETE /streams/{fid}/docs/{doc_id}",
        "POST /actions/tasks/{task_id}/log",
        "GET /tasks/{fid}/log",
        "GET /notifications",
        "POST /notifications",
        *(f"{method} /notifications/{{fid}}" for method in ("GET", "PATCH", "PUT", "DELETE")),
        "POST /actions/notifications/{fid}/test",
        "GET /streams/{fid}/doc",
        "GET /streams/{fid}/doc/history",
        "DELETE /streams/{fid}/doc",
        "GET /streams/{fid}/changes",
        "POST /actions/streams/{fid}/revert",
        "POST /actions/streams/{fid}/restore",
        "GET /tasks/{fid}/diff",
        "GET /streams/{fid}/log",
        "GET /streams/{fid}/export",
        "POST /actions/streams/{fid}/export",
        "GET /streams/{fid}/exports/{export_fid}",
        "GET /tasks/{fid}/docs",
        "GET /tasks/{fid}/attempts",
        "GET /tasks/{fid}/rejects",
        "POST /actions/tasks/{fid}/replay",
        "GET /streams/{fid}/bisect",
        "GET /streams/{fid}/plan",
        "GET /events",
        "GET /webhooks",
        "POST /webhooks",
        *(f"{method} /webhooks/{{fid}}" for method in ("GET", "PATCH", "PUT", "DELETE")),
        "GET /webhooks/{fid}/deliveries",
        "POST /actions/webhooks/{fid}/secret",
        "POST /actions/webhooks/{fid}/test",
        "POST /actions/webhook-deliveries/{id}/replay",
        "GET /keys",
        "POST /keys",
        *(f"{method} /keys/{{fid}}" for method in ("GET", "PATCH", "DELETE")),
        "POST /actions/keys/{fid}/rotate",
        "GET /iceberg/v1/config",
        "GET /iceberg/v1/{prefix}/namespaces",
        "GET /iceberg/v1/{prefix}/namespaces/{namespace}",
        "GET /iceberg/v1/{prefix}/namespaces/{namespace}/tables",
        "GET /iceberg/v1/{prefix}/namespaces/{namespace}/tables/{table}",
        "GET /iceberg/v1/{prefix}/namespaces/{namespace}/tables/{table}/credentials",
        "GET /healthz",
        "GET /readyz",
        "GET /metrics",
    }
    assert calls == expected
