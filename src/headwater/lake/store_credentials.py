"""Short-lived, read-only credentials for a part of the lake in an object store, from its Security Token Service (STS).

The service is that of the store: AWS's own, or the one at the endpoint of a compatible store. A role names what such
credentials may do at most, and the policy that goes with the request narrows it to one prefix.
"""

import hashlib
import hmac
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode, urlsplit
from xml.etree import ElementTree as ET

import httpx

from headwater.domain.errors import Unavailable

#: For how long credentials are valid: the longest that AWS allows where a role assumes the role.
VALID_FOR = timedelta(hours=1)
_VERSION = "2011-06-15"
_NAMES = {"AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration"}
_TIMEOUT = 20.0


@dataclass(frozen=True, kw_only=True)
class StoreCredentials:
    """Credentials, and how to reach the store with them."""

    access_key: str
    secret_key: str
    session_token: str
    until: datetime
    region: str
    #: None: that of AWS.
    endpoint: str | None


class StoreReader:
    """Issues credentials for reading what lies below a prefix of the lake."""

    def __init__(self, url: str, role: str, *, environment: Mapping[str, str] = os.environ) -> None:
        """Issue them for the lake at ``url``, ``s3://…``, by assuming a role; credentials are in the environment."""
        self.url = url
        self._role = role
        self._environment = environment

    def credentials(self, prefix: str, *, at: datetime) -> StoreCredentials:
        """Return credentials that read the objects of the lake whose paths begin with ``prefix``.

        Raises:
            Unavailable: the store's service does not give any.
        """
        where = urlsplit(f"{self.url}/{prefix}")
        form = {
            "Action": "AssumeRole",
            "Version": _VERSION,
            "RoleArn": self._role,
            "RoleSessionName": "headwater-iceberg",
            "DurationSeconds": str(int(VALID_FOR.total_seconds())),
            "Policy": _policy(f"{where.netloc}{where.path}"),
        }
        found = self._asked(urlencode(form).encode(), at=at)
        return StoreCredentials(
            access_key=found["AccessKeyId"],
            secret_key=found["SecretAccessKey"],
            session_token=found["SessionToken"],
            until=datetime.fromisoformat(found["Expiration"]),
            region=self._region,
            endpoint=self._of("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
        )

    @property
    def _region(self) -> str:
        return self._of("AWS_REGION", "AWS_DEFAULT_REGION") or "us-east-1"

    def _of(self, *names: str) -> str | None:
        return next((value for name in names if (value := self._environment.get(name))), None)

    def _asked(self, body: bytes, *, at: datetime) -> dict[str, str]:
        default = f"https://sts.{self._region}.amazonaws.com"
        address = (self._of("AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL") or default).rstrip("/") + "/"
        access, secret = self._of("AWS_ACCESS_KEY_ID"), self._of("AWS_SECRET_ACCESS_KEY")
        if access is None or secret is None:
            raise Unavailable(
                "credentials for the object store need AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment "
                "of the server; the warehouse 'headwater' needs none"
            )
        headers = signed(
            address,
            body,
            access_key=access,
            secret_key=secret,
            token=self._of("AWS_SESSION_TOKEN"),
            region=self._region,
            at=at,
        )
        try:
            answer = httpx.post(address, content=body, headers=headers, timeout=_TIMEOUT)
        except httpx.HTTPError as error:
            raise Unavailable(f"{address} gives no credentials: {error}", retry_after=30) from error
        found = _texts(answer.content)
        if not answer.is_success or not found.keys() >= _NAMES:
            why = found.get("Message") or answer.reason_phrase
            raise Unavailable(
                f"{address} gives no credentials for the role {self._role} (setting lake_read_role): "
                f"{answer.status_code}, {why[:300]}",
                retry_after=30,
            )
        return found


def signed(
    url: str, body: bytes, *, access_key: str, secret_key: str, token: str | None, region: str, at: datetime
) -> dict[str, str]:
    """Return the headers of a POST of a form to STS, signed as AWS asks for (Signature Version 4)."""
    parts = urlsplit(url)
    moment = f"{at.astimezone(UTC):%Y%m%dT%H%M%SZ}"
    scope = f"{moment[:8]}/{region}/sts/aws4_request"
    headers = {
        "content-type": "application/x-www-form-urlencoded; charset=utf-8",
        "host": parts.netloc,
        "x-amz-date": moment,
        **({} if token is None else {"x-amz-security-token": token}),
    }
    names = ";".join(headers)  # they are in order
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    asked = f"POST\n{quote(parts.path)}\n\n{lines}\n{names}\n{hashlib.sha256(body).hexdigest()}"
    text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(asked.encode()).hexdigest()}"
    key = f"AWS4{secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    authorization = f"AWS4-HMAC-SHA256 Credential={access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
    return headers | {"authorization": authorization}


def _policy(prefix: str) -> str:
    statement: dict[str, Any] = {
        "Effect": "Allow",
        "Action": ["s3:GetObject"],
        "Resource": [f"arn:aws:s3:::{prefix}/*"],
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def _texts(body: bytes) -> dict[str, str]:
    """Return the texts of an XML document by the names of their elements."""
    if b"<!DOCTYPE" in body[:1000]:  # entities could make it very long
        return {}
    try:
        root = ET.fromstring(body)  # noqa: S314 - without a DOCTYPE, it has no entities
    except ET.ParseError:
        return {}
    return {one.tag.rpartition("}")[2]: one.text.strip() for one in root.iter() if one.text}
