from ipaddress import ip_address

import pytest

from headwater.lifecycle.addresses import no_crawler_at, no_metadata, not_public

METADATA = ["169.254.169.254", "fd00:ec2::254", "100.100.100.200", "::ffff:169.254.169.254"]
PRIVATE = [
    *("10.0.0.1", "172.16.5.4", "192.168.1.1", "100.64.0.1", "127.0.0.1", "127.9.9.9", "0.0.0.1", "169.254.0.7"),
    *("224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "198.18.0.1", "192.0.2.1"),
    *("::", "::1", "fe80::1", "fc00::1", "fd12::1", "fec0::1", "ff02::1", "2001:db8::1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::a00:1", "2002:7f00:1::1", "2001:0:1::1"),
]
PUBLIC = ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "::ffff:1.1.1.1"]


@pytest.mark.parametrize("address", PRIVATE + METADATA)
def test_an_address_that_is_not_for_all_the_world_is_none_for_webhooks(address):
    assert not_public(ip_address(address)).endswith("address")


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_called(address):
    assert [rule(ip_address(address)) for rule in (not_public, no_metadata, no_crawler_at)] == [None] * 3


@pytest.mark.parametrize("address", METADATA)
def test_a_metadata_service_is_never_called(address):
    assert no_metadata(ip_address(address))
    assert no_crawler_at(ip_address(address))


@pytest.mark.parametrize("address", ["10.0.0.1", "127.0.0.1", "::1"])
def test_a_crawler_may_live_next_door(address):
    assert no_crawler_at(ip_address(address)) is None
