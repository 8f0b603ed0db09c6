from datetime import timedelta
from urllib.parse import quote

import pytest

from builders import eventually
from headwater.api import iceberg_access
from headwater.catalog import keys
from headwater.domain.scope import Scope
from lakes import needs_directory

TABLES = "/iceberg/v1/headwater/namespaces/streams/tables"


@pytest.fixture
async def books(made) -> dict:
    """A stream of one document, with its crawler."""
    crawler = await made.crawler(stream=await made.stream(meta={"name": "books"}))
    await made.done(crawler, b'{"id": "a"}\n')
    return crawler


async def loaded(api, table: str, **headers) -> dict:
    answer = await api.get(f"{TABLES}/{quote(table, safe='')}", headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def key_of(location: str) -> str:
    assert location.startswith("s3://iceberg/files/")
    return location.removeprefix("s3:/")


async def test_the_catalog_leads_to_a_table(api, books):
    config = (await api.get("/iceberg/v1/config")).json()
    assert config["overrides"] == {"prefix": "headwater"}
    assert (await api.get("/iceberg/v1/config?warehouse=local")).json()["overrides"] == {"prefix": "local"}
    assert (await api.get("/iceberg/v1/headwater/namespaces")).json() == {"namespaces": [["streams"]]}
    assert (await api.get("/iceberg/v1/headwater/namespaces?parent=streams")).json() == {"namespaces": []}
    assert (await api.head("/iceberg/v1/headwater/namespaces/streams")).status_code == 200
    listed = (await api.get(f"{TABLES}?pageToken=")).json()["identifiers"]
    assert listed == [{"namespace": ["streams"], "name": "books"}]
    table = await loaded(api, "books")
    assert table["metadata"]["current-snapshot-id"] == 1
    assert table == await loaded(api, books["stream"]) | {
        name: table[name] for name in ("config", "storage-credentials")
    }
    assert (await api.head(f"{TABLES}/books")).status_code == 204


@pytest.mark.usefixtures("books")
async def test_a_stream_is_named_by_its_fid_where_its_name_is_no_identifier(api, made):
    twins = [await made.stream(meta={"name": "twin"}) for _ in range(2)]
    spaced = await made.stream(meta={"name": "of two words"})
    nameless = await made.stream()
    names = [one["name"] for one in (await api.get(TABLES)).json()["identifiers"]]
    assert names == [*(one["fid"] for one in (nameless, spaced, *reversed(twins))), "books"]
    assert (await loaded(api, "of two words"))["metadata"]["properties"]["headwater.stream"] == spaced["fid"]
    assert (await api.get(f"{TABLES}/twin")).status_code == 404


async def test_a_table_is_of_a_version_if_one_is_named(api, made, books):
    await made.done(books, b'{"id": "b"}\n')
    assert (await loaded(api, "books@1"))["metadata"]["current-snapshot-id"] == 1
    present = (await loaded(api, "books"))["metadata"]
    assert present["current-snapshot-id"] == 2

    async def lists_both() -> bool:
        # Merging may have replaced the files between the two, and the snapshots with them.
        await loaded(api, "books@1")
        return [one["snapshot-id"] for one in (await loaded(api, "books"))["metadata"]["snapshots"]] == [1, 2]

    await eventually(lists_both)
    assert (await api.get(f"{TABLES}/books@3")).status_code == 400


@pytest.mark.parametrize(
    "path",
    [
        "/iceberg/v1/config?warehouse=other",
        "/iceberg/v1/other/namespaces",
        "/iceberg/v1/headwater/namespaces/other",
        "/iceberg/v1/headwater/namespaces/other/tables",
        f"{TABLES}/other",
        f"{TABLES}/{'f' * 32}",
        f"{TABLES}/other/credentials",
    ],
)
async def test_what_is_not_there_is_told_as_clients_of_a_catalog_expect(api, path):
    answer = await api.get(path)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["type"]) == (404, 404, "not-found")
    assert error["message"] == answer.json()["detail"]


async def test_credentials_open_the_files_of_one_stream_for_an_hour(api, made, books):
    table = await loaded(api, "books")
    path = key_of(table["metadata-location"])
    config = table["storage-credentials"][0]["config"]
    assert config["s3.endpoint"] == "http://headwater.test/"
    credentials = {iceberg_access.TOKEN_HEADER: config["s3.session-token"], "authorization": ""}
    whole = await api.get(path, headers=credentials)
    assert (whole.status_code, whole.json()) == (200, table["metadata"])
    part = await api.get(path, headers=credentials | {"range": "bytes=1-4"})
    assert (part.status_code, part.content) == (206, whole.content[1:5])
    head = await api.head(path, headers=credentials)
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(len(whole.content)), b"")
    assert (await api.get(f"{path}x", headers=credentials)).status_code == 404

    other = await made.crawler()
    await made.done(other, b'{"id": "a"}\n')
    foreign = key_of((await loaded(api, other["stream"]))["metadata-location"])
    mixed = f"/iceberg/files/{books['stream']}/{foreign.split('/', 4)[-1]}"
    for place in (foreign, mixed, path.replace("/metadata/", "/%2e%2e/metadata/"), "/iceberg/files/"):
        assert (await api.get(place, headers=credentials)).status_code == 403, place
    assert (await api.get(path, headers={"authorization": ""})).status_code == 403
    assert (await api.get(path, headers=credentials | {iceberg_access.TOKEN_HEADER: "x"})).status_code == 403

    services = api.app.state.services
    later = services.clock() + iceberg_access.VALID_FOR + timedelta(seconds=1)
    granted = iceberg_access.grant_of(config["s3.session-token"], services.vault, at=later)
    assert granted is None


@pytest.mark.usefixtures("books")
async def test_credentials_end_with_their_key(api):
    services = api.app.state.services
    key, secret = await services.db.write(keys.add, name="k", scopes=(Scope.READ,), at=services.clock())
    answer = await api.get(f"{TABLES}/books/credentials", headers={"authorization": f"Bearer {secret}"})
    token = answer.json()["storage-credentials"][0]["config"]["s3.session-token"]
    path = key_of((await loaded(api, "books"))["metadata-location"])
    headers = {iceberg_access.TOKEN_HEADER: token, "authorization": ""}
    assert (await api.get(path, headers=headers)).status_code == 200
    await services.db.write(keys.revoke, key.fid, at=services.clock())
    assert (await api.get(path, headers=headers)).status_code == 403


async def test_a_limited_key_sees_its_own_tables(api, made, books):
    services = api.app.state.services
    hidden = await made.stream(meta={"name": "hidden"})
    _, secret = await services.db.write(
        keys.add, name="k", scopes=(Scope.READ,), at=services.clock(), streams=(books["stream"],)
    )
    headers = {"authorization": f"Bearer {secret}"}
    assert [one["name"] for one in (await api.get(TABLES, headers=headers)).json()["identifiers"]] == ["books"]
    assert (await api.get(f"{TABLES}/books", headers=headers)).status_code == 200
    assert (await api.get(f"{TABLES}/hidden", headers=headers)).status_code == 404
    assert (await api.get(f"{TABLES}/{hidden['fid']}", headers=headers)).status_code == 403


@needs_directory
@pytest.mark.usefixtures("books")
async def test_files_of_the_data_directory_need_no_credentials(api):
    answer = (await api.get(TABLES.replace("headwater", "local") + "/books")).json()
    assert answer["metadata-location"].startswith("file:///")
    assert (answer["config"], answer["storage-credentials"]) == ({}, [])
