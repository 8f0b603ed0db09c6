"""The Iceberg catalog of a lake in an object store."""

import obstore
import pytest

from object_stores import READ_ROLE

TABLES = "/iceberg/v1/{}/namespaces/streams/tables"


@pytest.fixture
def lake(seaweedfs, monkeypatch) -> str:
    for name, value in seaweedfs.environment.items():
        monkeypatch.setenv(name, value)
    return seaweedfs.url()


@pytest.fixture
def role() -> str | None:
    return READ_ROLE


@pytest.fixture
def settings(settings, lake, role):
    return settings.model_copy(update={"lake_url": lake, "lake_read_role": role})


@pytest.fixture
async def books(made) -> dict:
    crawler = await made.crawler(stream=await made.stream(meta={"name": "books"}))
    await made.done(crawler, b'{"id": "a"}\n')
    return crawler


@pytest.mark.usefixtures("books")
async def test_files_over_http_are_those_of_the_bucket(api, seaweedfs, lake):
    table = (await api.get(f"{TABLES.format('headwater')}/books")).json()
    credentials = table["storage-credentials"][0]["config"]
    headers = {"x-amz-security-token": credentials["s3.session-token"], "authorization": ""}
    location = table["metadata-location"]
    path = location.removeprefix("s3:/")
    whole = await api.get(path, headers=headers)
    assert (whole.status_code, whole.json()) == (200, table["metadata"])
    stored = location.removeprefix("s3://iceberg/files/").split("/", 1)[1]
    assert obstore.get(seaweedfs.opened(lake), stored).bytes() == whole.content
    part = await api.get(path, headers=headers | {"range": "bytes=1-4"})
    assert (part.status_code, part.content) == (206, whole.content[1:5])
    head = await api.head(path, headers=headers)
    assert head.headers["content-length"] == str(len(whole.content))
    assert (await api.get(f"{path}x", headers=headers)).status_code == 404


async def test_credentials_of_the_store_open_the_objects_of_one_table(api, books, seaweedfs, lake):
    table = (await api.get(f"{TABLES.format('store')}/books")).json()
    [granted] = table["storage-credentials"]
    assert granted["prefix"] == table["metadata"]["location"] == f"{lake}/streams/{books['stream']}"
    config = granted["config"]
    assert config["s3.endpoint"] == f"{seaweedfs.endpoint}/"
    assert config["s3.secret-access-key"] != seaweedfs.environment["AWS_SECRET_ACCESS_KEY"]
    store = type(seaweedfs.opened(lake)).from_url(
        lake,
        endpoint=seaweedfs.endpoint,
        access_key_id=config["s3.access-key-id"],
        secret_access_key=config["s3.secret-access-key"],
        session_token=config["s3.session-token"],
        region=config["s3.region"],
        client_options={"allow_http": True},
    )
    stored = table["metadata-location"].removeprefix(f"{lake}/")
    assert b'"format-version": 2' in obstore.get(store, stored).bytes().to_bytes()
    anew = (await api.get(f"{TABLES.format('store')}/books/credentials")).json()["storage-credentials"]
    assert anew[0]["prefix"] == granted["prefix"]


@pytest.mark.usefixtures("books")
async def test_files_of_the_data_directory_are_not_there(api):
    answer = await api.get(f"{TABLES.format('local')}/books")
    assert answer.status_code == 404
    assert "use 'headwater', or 'store'" in answer.json()["detail"]


@pytest.mark.parametrize("role", [None])
@pytest.mark.usefixtures("books")
async def test_without_a_role_the_store_gives_no_credentials(api):
    answer = await api.get(f"{TABLES.format('store')}/books")
    assert answer.status_code == 404
    assert "lake_read_role" in answer.json()["detail"]
