"""SSRF protection: checks each IP address when a connection is made, and connects to the address that was checked."""

import asyncio
import functools
import ipaddress
import ssl
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address, IPv6Network

import httpx

Address = IPv4Address | IPv6Address
#: Returns the objection to an address, such as "a private address"; None if it may be called.
Rule = Callable[[Address], str | None]

#: Metadata services of clouds: AWS, Azure, Google, Oracle, Alibaba, and those of their containers.
_METADATA = frozenset(
    ipaddress.ip_address(each)
    for each in (
        "169.254.169.254",
        "169.254.170.2",
        "169.254.170.23",
        "168.63.129.16",
        "192.0.0.192",
        "100.100.100.200",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "fd20:ce::254",
    )
)

#: IPv6 networks whose addresses embed an IPv4 address, and how many bits it is shifted by.
_TRANSLATED = (
    (IPv6Network("::/96"), 0),  # IPv4-compatible, deprecated
    (IPv6Network("::ffff:0:0/96"), 0),  # IPv4-mapped
    (IPv6Network("::ffff:0:0:0/96"), 0),  # IPv4-translated (SIIT)
    (IPv6Network("64:ff9b::/96"), 0),  # NAT64
    (IPv6Network("64:ff9b:1::/48"), 0),  # NAT64 of a network's own, with a prefix of 96 bits
    (IPv6Network("2002::/16"), 80),  # 6to4
)
#: Networks that are judged by the embedded IPv4 address alone.
_PLAINLY = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))
_NAT64_OF_ITS_OWN = IPv6Network("64:ff9b:1::/48")
#: The two middle groups of an ISATAP interface identifier, which precede an IPv4 address.
_ISATAP = (0x00005EFE, 0x02005EFE)


class AddressRefused(Exception):
    """Headwater does not call this address."""


def no_crawler_at(address: Address) -> str | None:
    """Return the objection to an address where no EC runs and secrets may be exposed."""
    is_refused = any(each.is_link_local or each in _METADATA for each in _forms(address))
    return "a link-local or metadata address" if is_refused else None


def no_private_crawler_at(address: Address) -> str | None:
    """Return the objection to an address that is not a public EC's."""
    refused = no_crawler_at(address)
    if refused is not None:
        return refused
    private = not_public(address)
    return None if private is None else f"{private} (the setting crawler_private_addresses allows it)"


def no_metadata(address: Address) -> str | None:
    """Return the objection to a metadata service's address, which is never allowed."""
    return "a metadata address" if any(each in _METADATA for each in _forms(address)) else None


def not_public(address: Address) -> str | None:
    """Return the objection to an address that is not public: loopback, private, reserved."""
    if no_metadata(address) is not None:
        return "a metadata address"
    forms = list(_forms(address))
    if len(forms) > 1 and any(address in network for network in _PLAINLY):
        forms = forms[1:]
    if all(map(_is_public, forms)):
        return None
    return "a loopback address" if any(form.is_loopback for form in forms) else "a private address"


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv6Address) and (address.is_site_local or address.sixtofour or address.teredo):
        return False  # it may map to any IPv4 address
    return address.is_global and not address.is_multicast and not address.is_reserved


def _forms(address: Address) -> Iterator[Address]:
    """Yield an address, and the IPv4 addresses that may be embedded in an IPv6 one."""
    yield address
    if isinstance(address, IPv4Address):
        return
    bits = int(address)
    for network, shift in _TRANSLATED:
        if address in network:
            yield IPv4Address(bits >> shift & 0xFFFFFFFF)
    if address in _NAT64_OF_ITS_OWN:
        # With a prefix of 48, 56 or 64 bits, the address skips bits 64 to 71, which are 0 (RFC 6052, 2.2).
        for prefix in (48, 56, 64):
            before = 64 - prefix
            high = bits >> 64 & (1 << before) - 1
            low = bits >> 24 + before & (1 << 32 - before) - 1
            yield IPv4Address(high << 32 - before | low)
    if address.teredo is not None:
        yield from address.teredo
    if bits >> 32 & 0xFFFFFFFF in _ISATAP:
        yield IPv4Address(bits & 0xFFFFFFFF)


@functools.cache
def trusted() -> ssl.SSLContext:
    """Return the TLS context with the trusted certificates, cached: loading it costs as much as a hundred requests."""
    return httpx.create_ssl_context()


class GuardedTransport(httpx.AsyncBaseTransport):
    """An HTTP transport that refuses the addresses to which a rule objects.

    A name is resolved once, and the connection goes to the address that was checked.
    """

    def __init__(self, rule: Rule, inner: httpx.AsyncBaseTransport | None = None) -> None:
        """Send through ``inner``; by default to the network."""
        self._rule = rule
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request.

        Raises:
            AddressRefused: its host has an address that Headwater does not call.
            httpx.TransportError: it could not be sent.
        """
        host = request.url.host
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, request.url.port)
        except OSError as error:
            raise httpx.ConnectError(f"{host} has no address: {error.strerror or error}") from error
        addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
        for address in addresses:
            if (objection := self._rule(address)) is not None:
                raise AddressRefused(f"{host} is at {address}, {objection}, which is not called")
        # The host stays in the Host header and in the TLS SNI.
        request.extensions = {**request.extensions, "sni_hostname": host}
        inner = await self._opened()
        fault: httpx.ConnectError | None = None
        for address in dict.fromkeys(addresses):
            request.url = request.url.copy_with(host=str(address))
            try:
                return await inner.handle_async_request(request)
            except httpx.ConnectError as error:
                fault = error  # localhost often has two addresses, and the EC listens on one of them
        raise fault or httpx.ConnectError(f"{host} has no address")

    async def aclose(self) -> None:
        """Close the connections."""
        if self._inner is not None:
            await self._inner.aclose()

    async def _opened(self) -> httpx.AsyncBaseTransport:
        if self._inner is None:
            # By the first call, and beside the event loop: many servers call nobody, and it takes 80 ms.
            context = await asyncio.to_thread(trusted)
            # No connection reuse: the pool knows connections by address, and one made for one name must not serve
            # another.
            self._inner = self._inner or httpx.AsyncHTTPTransport(
                verify=context, limits=httpx.Limits(max_keepalive_connections=0)
            )
        return self._inner
