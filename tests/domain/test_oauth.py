from datetime import UTC, datetime, timedelta

import pytest

from builders import AT, an_external
from headwater.domain.errors import NoLogin
from headwater.domain.external import CredentialType
from headwater.domain.oauth import Credential, Service, read_grant, service_of

UUID = "5b0c1c52-5a39-4b6c-9d3f-0d6a3c1f7e21"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def a_service(url="https://ec.test/oauth", **parameters):
    return Service(url=url, parameters=parameters, headers={})


@pytest.mark.parametrize(
    ("service", "url"),
    [
        (a_service(), f"https://ec.test/oauth/login?uuid={UUID}"),
        (a_service("https://ec.test/oauth/"), f"https://ec.test/oauth/login?uuid={UUID}"),
        (a_service("https://ec.test"), f"https://ec.test/login?uuid={UUID}"),
        (a_service("https://ec.test/o?app=1&x=%20y#top"), f"https://ec.test/o/login?app=1&x=%20y&uuid={UUID}"),
        (a_service(subdomain="acme"), f"https://ec.test/oauth/login?uuid={UUID}&subdomain=acme"),
        (a_service(q="a b&c=d/ü"), f"https://ec.test/oauth/login?uuid={UUID}&q=a%20b%26c%3Dd%2F%C3%BC"),
        (a_service(n=7, on=True, off=None), f"https://ec.test/oauth/login?uuid={UUID}&n=7&on=true"),
        (a_service(scope=["read", "write"]), f"https://ec.test/oauth/login?uuid={UUID}&scope=read&scope=write"),
        (a_service(hint={"a": [1]}), f"https://ec.test/oauth/login?uuid={UUID}&hint=%7B%22a%22%3A%5B1%5D%7D"),
        (a_service(uuid="mine", reset=True), f"https://ec.test/oauth/login?uuid={UUID}"),
    ],
)
def test_a_login_is_below_the_service_with_its_query_and_parameters(service, url):
    assert service.login_url(UUID, reset=False) == url


def test_a_login_may_ask_the_ec_to_forget_who_was_logged_in():
    assert a_service().login_url(UUID, reset=True).endswith(f"?uuid={UUID}&reset=true")


def test_a_token_is_asked_for_with_the_tenant_alone():
    service = a_service(subdomain="acme", scope="all")
    assert service.token_url(UUID) == f"https://ec.test/oauth/token?uuid={UUID}&subdomain=acme"
    assert a_service(scope="all").token_url(UUID) == f"https://ec.test/oauth/token?uuid={UUID}"


@pytest.mark.parametrize(
    "fields", [{}, {"credential": CredentialType.BASIC, "oauth": "http://ec"}, {"credential": CredentialType.OAUTH}]
)
def test_nobody_logs_in_where_the_external_does_not_say_where(fields):
    with pytest.raises(NoLogin):
        service_of(an_external(**fields))


@pytest.mark.parametrize(
    ("told", "moment"),
    [
        (None, None),
        ("2026-03-01T12:00:00Z", NOON),
        ("2026-03-01T14:00:00.000+02:00", NOON),
        (NOON.timestamp(), NOON),
        (int(NOON.timestamp()), NOON),
        (int(NOON.timestamp() * 1000), NOON),
        (99999999999, datetime(5138, 11, 16, 9, 46, 39, tzinfo=UTC)),
    ],
)
def test_moments_are_texts_or_seconds_or_milliseconds(told, moment):
    grant = read_grant({"user": "jo", "token": "t", "expiry": told, "issued": told})
    assert (grant.expires_at, grant.issued_at) == (moment, moment)


@pytest.mark.parametrize(
    "told",
    [
        *("tomorrow", "", "2026-03-01", "2026-02-30T12:00:00Z", "2026-03-01T12:00:00", "9999-12-31T23:59:59-10:00"),
        *(True, [], {}, -1, 3600, 1e300, 10**400, 253402300799999999),
    ],
)
def test_any_other_moment_is_a_fault_and_not_quoted(told):
    with pytest.raises(ValueError, match=r"^expiry: ") as caught:
        read_grant({"user": "jo", "token": "secret", "expiry": told})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "answer",
    [
        *(None, [], "token", 7, {}, {"payload": None}, {"payload": []}),
        *({"token": None}, {"token": ""}, {"token": 7}, {"token": {"access_token": "secret"}}),
        *({"token": "secret", "user": 7}, {"token": "secret", "email_address": ["secret"]}),
        *({"token": "secret\0"}, {"token": "secret", "more": float("nan")}, {"token": "secret", "user": "u" * 1001}),
    ],
)
def test_what_gives_no_token_is_a_fault_and_not_quoted(answer):
    with pytest.raises(ValueError, match=r".") as caught:
        read_grant(answer)
    assert "secret" not in str(caught.value)


def test_what_an_ec_gives_is_kept_as_it_came_in_an_envelope_or_without():
    given = {"user": "jo", "token": "t", "expiry": 1772366400000, "reported_name": "Jo", "tenant": {"id": 7}}
    assert read_grant({"success": True, "payload": given}) == read_grant(given)
    assert read_grant(given).given == given


def test_a_grant_does_not_show_its_token():
    assert "secret" not in repr(read_grant({"token": "secret"}))


def test_a_credential_is_expired_from_its_moment_on():
    def expiring(at):
        texts = dict.fromkeys(("fid", "external", "login_digest", "sealed", "user", "reported_name", "email_address"))
        return Credential(**texts, issued_at=None, expires_at=at, created_at=AT, renewed_at=AT)

    assert not expiring(None).is_expired(at=AT)
    assert not expiring(AT + timedelta(microseconds=1)).is_expired(at=AT)
    assert expiring(AT).is_expired(at=AT)
