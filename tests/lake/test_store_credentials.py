"""Credentials that a store's own service issues, used against that store."""

import json
from datetime import UTC, datetime, timedelta

import httpx
import obstore
import pytest
from obstore.exceptions import BaseError
from obstore.store import S3Store

from headwater.domain.errors import Unavailable
from headwater.lake import store_credentials
from headwater.lake.store_credentials import StoreCredentials, StoreReader, signed
from object_stores import READ_ROLE

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def lake(seaweedfs) -> str:
    url = seaweedfs.url()
    for path in ("streams/a/1", "streams/b/1", "headwater-lake"):
        obstore.put(seaweedfs.opened(url), path, path.encode())
    return url


def opened(url: str, given: StoreCredentials) -> S3Store:
    return S3Store.from_url(
        url,
        endpoint=given.endpoint,
        access_key_id=given.access_key,
        secret_access_key=given.secret_key,
        session_token=given.session_token,
        region=given.region,
        client_options={"allow_http": True},
    )


def test_credentials_read_what_is_below_their_prefix_and_nothing_else(seaweedfs, lake):
    at = datetime.now(UTC)
    given = StoreReader(lake, READ_ROLE, environment=seaweedfs.environment).credentials("streams/a", at=at)
    assert timedelta(minutes=59) < given.until - at < timedelta(minutes=61)
    store = opened(lake, given)
    assert obstore.get(store, "streams/a/1").bytes() == b"streams/a/1"
    for path in ("streams/b/1", "headwater-lake"):
        with pytest.raises(BaseError, match="AccessDenied"):
            obstore.get(store, path)
    for change in (lambda: obstore.put(store, "streams/a/2", b""), lambda: obstore.delete(store, "streams/a/1")):
        with pytest.raises(BaseError, match="AccessDenied"):
            change()
    with pytest.raises(BaseError, match="AccessDenied"):
        list(obstore.list(store))
    assert seaweedfs.keys(lake) == ["headwater-lake", "streams/a/1", "streams/b/1"]


def test_moto_issues_credentials_too(moto):
    reader = StoreReader(moto.url(), "arn:aws:iam::123456789012:role/readers", environment=moto.environment)
    given = reader.credentials("streams/a", at=datetime.now(UTC))
    assert given.session_token
    assert given.endpoint == moto.endpoint


def test_what_the_store_refuses_is_told(seaweedfs, lake):
    environment = seaweedfs.environment | {"AWS_SECRET_ACCESS_KEY": "wrong"}
    with pytest.raises(Unavailable, match="gives no credentials for the role"):
        StoreReader(lake, READ_ROLE, environment=environment).credentials("streams/a", at=datetime.now(UTC))
    with pytest.raises(Unavailable, match="lake_read_role"):
        StoreReader(lake, f"{READ_ROLE}-other", environment=seaweedfs.environment).credentials(
            "streams/a", at=datetime.now(UTC)
        )


def test_without_a_key_in_the_environment_it_says_what_is_missing():
    with pytest.raises(Unavailable, match="AWS_ACCESS_KEY_ID"):
        StoreReader("s3://lake", READ_ROLE, environment={}).credentials("streams/a", at=NOW)


@pytest.mark.parametrize(
    ("environment", "address"),
    [
        ({"AWS_REGION": "eu-central-1"}, "https://sts.eu-central-1.amazonaws.com/"),
        ({"AWS_ENDPOINT_URL": "http://store:1"}, "http://store:1/"),
        ({"AWS_ENDPOINT_URL": "http://store:1", "AWS_ENDPOINT_URL_STS": "http://sts:2"}, "http://sts:2/"),
    ],
)
def test_the_service_is_found_as_programs_of_aws_find_it(environment, address, monkeypatch):
    asked = []

    def post(url, **_):
        asked.append(url)
        raise httpx.ConnectError("nobody there")

    monkeypatch.setattr(store_credentials.httpx, "post", post)
    environment |= {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s"}
    with pytest.raises(Unavailable, match="nobody there"):
        StoreReader("s3://lake", READ_ROLE, environment=environment).credentials("streams/a", at=NOW)
    assert asked == [address]


def test_an_answer_that_is_no_xml_or_has_entities_gives_no_credentials(monkeypatch):
    environment = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s", "AWS_ENDPOINT_URL": "http://store:1"}
    for body in (b"<html", b'<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>', b"<a/>"):
        answer = httpx.Response(200, content=body)
        monkeypatch.setattr(store_credentials.httpx, "post", lambda *_, answer=answer, **__: answer)
        with pytest.raises(Unavailable, match="gives no credentials"):
            StoreReader("s3://lake", READ_ROLE, environment=environment).credentials("streams/a", at=NOW)


def test_requests_are_signed_as_those_of_botocore():
    from botocore.auth import SigV4Auth  # noqa: PLC0415 - slow to import
    from botocore.awsrequest import AWSRequest  # noqa: PLC0415 - likewise
    from botocore.credentials import Credentials  # noqa: PLC0415 - likewise

    body = b"Action=AssumeRole&Policy=" + json.dumps({"a": 1}).encode()
    url = "https://sts.eu-central-1.amazonaws.com/"
    ours = signed(url, body, access_key="AK", secret_key="SK", token="T", region="eu-central-1", at=NOW)
    request = AWSRequest(method="POST", url=url, data=body, headers={"content-type": ours["content-type"]})
    theirs = SigV4Auth(Credentials("AK", "SK", "T"), "sts", "eu-central-1")
    request.context["timestamp"] = ours["x-amz-date"]
    request.headers["X-Amz-Date"] = ours["x-amz-date"]
    request.headers["X-Amz-Security-Token"] = "T"
    text = theirs.string_to_sign(request, theirs.canonical_request(request))
    assert ours["authorization"].endswith(f"Signature={theirs.signature(text, request)}")
