"""docs/extensions/operations.py: a page from an OpenAPI document."""

import pytest

from docs.extensions.operations import Operations, firsts
from docs_page import ROOT
from openapi_document import openapi

ERRORS = {code: name for name, code in firsts((ROOT / "docs/reference/errors.md").read_text())}
#: What every operation can answer.
FAILS = {"400": {"description": "It is wrong."}, "500": {"description": "It failed."}}
DOCUMENT = {
    "paths": {
        "/shelves": {
            "get": {
                "tags": ["shelves"],
                "summary": "List Shelves",
                "operationId": "list_shelves",
                "description": "List shelves.",
                "parameters": [
                    {"name": "full", "in": "query", "required": False, "schema": {"type": "boolean", "default": False}},
                    {
                        "name": "size",
                        "in": "query",
                        "required": True,
                        "description": "Of the list.",
                        "schema": {"anyOf": [{"type": "integer", "minimum": 1, "maximum": 1000}, {"type": "null"}]},
                    },
                ],
                "responses": {
                    "200": {
                        "description": "Successful Response",
                        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Listing"}}},
                    },
                    **FAILS,
                },
            },
            "post": {
                "tags": ["shelves"],
                "summary": "Create Shelf",
                "operationId": "create_shelf",
                "description": "Put up a shelf.",
                "security": [{"HTTPBearer": []}],
                "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Shelf"}}}},
                "responses": {"201": {"description": "It is up."}, "409": {"description": "No room."}, **FAILS},
            },
        }
    },
    "components": {
        "schemas": {
            "Listing": {
                "properties": {
                    "payload": {"type": "array", "items": {"$ref": "#/components/schemas/Shelf"}},
                    "next_cursor": {"type": "string"},
                }
            },
            "Shelf": {
                "description": "A shelf.",
                "required": ["books"],
                "properties": {
                    "books": {"type": "array", "items": {"$ref": "#/components/schemas/Book"}},
                    "wood": {"$ref": "#/components/schemas/Wood", "default": "oak", "description": "What it is of."},
                },
            },
            "Book": {"description": "A book.", "properties": {"read_at": {"type": "string", "format": "date-time"}}},
            "Wood": {"enum": ["oak", "pine", "beech"]},
        }
    },
}
PAGE = """
## What every call may answer

```{container} answers

[`400`](errors.md#request-invalid)
: It is wrong.

[`500`](errors.md#internal)
: It failed.

```

## Shelves

### List shelves

```{container} call
**GET** `/shelves`
```

List shelves.

No key is needed.

**Parameters**

```{container} fields

`full`
: *query, boolean, default `false`*

`size`
: *query, integer from 1 to 1,000, required*\\
  Of the list.

```

**Answers**

```{container} answers

`200`
: *list of [Shelf](#shelf), page by page*

```

### Create shelf

```{container} call
**POST** `/shelves`
```

Put up a shelf.

**Body**, may be left out

A shelf.

```{container} fields

`books`
: *list of [Book](#book), required*

`wood`
: *`oak`, `pine` or `beech`, default `oak`*\\
  What it is of.

```

**Answers**

```{container} answers

`201`
: It is up.

[`409`](errors.md#task-closed)
: No room.

```

## Objects

### Book

A book.

```{container} fields

`read_at`
: *moment*

```

### Shelf

A shelf.

```{container} fields

`books`
: *list of [Book](#book), required*

`wood`
: *`oak`, `pine` or `beech`, default `oak`*\\
  What it is of.

```
"""


def test_a_document_becomes_a_page():
    assert Operations(DOCUMENT, errors=ERRORS).markdown() == PAGE.strip()


@pytest.fixture(scope="module")
def api() -> dict:
    return openapi()


def test_every_operation_and_each_of_its_answers_is_told(api):
    page = Operations(api, errors=ERRORS).markdown()
    shared, *sections = page.split("\n### ")
    told = {section.partition("\n")[0]: section for section in sections}
    for path, methods in api["paths"].items():
        for method, operation in methods.items():
            section = told[operation["summary"].capitalize()]
            assert f"**{method.upper()}** `{path}`" in section
            missing = [code for code in operation["responses"] if f"`{code}`" not in section + shared]
            assert (operation["operationId"], missing) == (operation["operationId"], [])


def test_a_status_leads_to_the_first_of_its_errors():
    page = "## a\n\n**404** A\n\n## b\n\n**409** B\n\n## c\n\n**409** C\n"
    assert {code: name for name, code in firsts(page)} == {"404": "a", "409": "b"}
