import asyncio
from ipaddress import ip_address

import httpx
import pytest

from headwater.lifecycle.ssrf_guard import (
    GuardedTransport,
    no_crawler_at,
    no_metadata,
    no_private_crawler_at,
    not_public,
    trusted,
)

RULES = (not_public, no_metadata, no_crawler_at, no_private_crawler_at)

METADATA = [
    *("169.254.169.254", "169.254.170.2", "192.0.0.192", "168.63.129.16", "100.100.100.200", "fd00:ec2::254"),
    *("::ffff:169.254.169.254", "::ffff:168.63.129.16", "::ffff:192.0.0.192", "::ffff:0:a83f:8110"),  # mapped
    *("64:ff9b::a9fe:a9fe", "64:ff9b::a83f:8110", "64:ff9b:1::a9fe:a9fe"),  # NAT64
    *("64:ff9b:1:a9fe:a9:fe00::", "64:ff9b:1:a9:fe:a9fe::", "64:ff9b:1:0:a9:fea9:fe00:0"),
    *("2002:a9fe:a9fe::1", "2002:c000:c0::", "2002:a83f:8110:1::5"),  # 6to4
    *("2001:0:a9fe:a9fe::1", "2001:0:102:304::5601:5601", "::a9fe:a9fe"),  # Teredo, IPv4-compatible
    *("2001:db8::5efe:a9fe:a9fe", "2001:db8::200:5efe:a83f:8110"),  # ISATAP
]
PRIVATE = [
    *("10.0.0.1", "172.16.5.4", "192.168.1.1", "100.64.0.1", "127.0.0.1", "127.9.9.9", "0.0.0.1", "169.254.0.7"),
    *("224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "198.18.0.1", "192.0.2.1"),
    *("::", "::1", "fe80::1", "fc00::1", "fd12::1", "fec0::1", "ff02::1", "2001:db8::1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::a00:1", "2002:7f00:1::1", "2001:0:1::1"),
]
PUBLIC = ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]


@pytest.mark.parametrize("address", PRIVATE + METADATA)
def test_an_address_that_is_not_for_all_the_world_is_none_for_webhooks(address):
    assert not_public(ip_address(address)).endswith("address")


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_called(address):
    assert [rule(ip_address(address)) for rule in RULES] == [None] * 4


@pytest.mark.parametrize("address", METADATA)
def test_a_metadata_service_is_never_called(address):
    for rule in RULES:
        assert "metadata address" in rule(ip_address(address))


@pytest.mark.parametrize("address", ["10.0.0.1", "127.0.0.1", "::1"])
def test_a_crawler_may_live_next_door(address):
    assert no_crawler_at(ip_address(address)) is None


@pytest.mark.parametrize("address", ["10.0.0.1", "127.0.0.1", "::1", "fd12::1", "::ffff:10.0.0.1", "64:ff9b::7f00:1"])
def test_a_crawler_next_door_is_refused_where_the_setting_says_so(address):
    assert "crawler_private_addresses" in no_private_crawler_at(ip_address(address))


@pytest.mark.parametrize("host", ["2852039166", "0xa9.0xfe.0xa9.0xfe", "169.254.43518", "0xa9fea9fe"])
async def test_an_address_in_another_notation_is_checked_as_what_it_is(host):
    sent = []
    transport = GuardedTransport(no_crawler_at, httpx.MockTransport(sent.append))
    async with httpx.AsyncClient(transport=transport) as client:
        with pytest.raises(Exception, match=r"metadata address|no address"):
            await client.get(f"http://{host}/")
    assert sent == []


async def test_the_address_that_is_called_is_the_one_that_was_checked(monkeypatch):
    """A name that has another address at each look is looked up once (DNS rebinding)."""
    answers = iter(["93.184.216.34", "169.254.169.254", "127.0.0.1"])
    loop = asyncio.get_running_loop()

    async def rebinding(_host, port):
        return [(2, 1, 6, "", (next(answers), port))]

    monkeypatch.setattr(loop, "getaddrinfo", rebinding)
    sent = []

    def answer(request):
        sent.append((request.url.host, request.headers["Host"], request.extensions["sni_hostname"]))
        return httpx.Response(200)

    async with httpx.AsyncClient(transport=GuardedTransport(not_public, httpx.MockTransport(answer))) as client:
        await client.get("http://rebinding.test/")
        assert sent == [("93.184.216.34", "rebinding.test", "rebinding.test")]
        with pytest.raises(Exception, match="metadata address"):
            await client.get("http://rebinding.test/")


async def test_of_several_addresses_one_that_is_refused_is_enough(monkeypatch):
    async def both(_host, port):
        return [(2, 1, 6, "", ("93.184.216.34", port)), (2, 1, 6, "", ("10.0.0.1", port))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", both)
    async with httpx.AsyncClient(transport=GuardedTransport(not_public, httpx.MockTransport(lambda _: None))) as client:
        with pytest.raises(Exception, match="private address"):
            await client.get("http://both.test/")


async def test_certificates_are_loaded_by_the_first_call_and_not_at_the_start():
    trusted.cache_clear()
    transport = GuardedTransport(no_metadata)
    await transport.aclose()
    assert trusted.cache_info().currsize == 0
    with pytest.raises(httpx.ConnectError):
        await transport.handle_async_request(httpx.Request("GET", "http://127.0.0.1:1/"))
    assert trusted.cache_info().currsize == 1
    await transport.aclose()
