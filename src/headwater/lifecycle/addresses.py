"""Which addresses are called: looked at when a connection is made, at the address that is then connected to."""

import asyncio
import ipaddress
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address

import httpx

Address = IPv4Address | IPv6Address
#: Says what is wrong with an address, as in "a private address"; None if it may be called.
Rule = Callable[[Address], str | None]

#: Cloud metadata services.
_METADATA = {
    ipaddress.ip_address(each) for each in ("169.254.169.254", "169.254.170.2", "fd00:ec2::254", "100.100.100.200")
}


class AddressRefused(Exception):
    """An address is one that Headwater does not call."""


def no_crawler_at(address: Address) -> str | None:
    """Say what is wrong with an address at which no EC lives, and secrets may."""
    plain = _plain(address)
    return "a link-local or metadata address" if plain.is_link_local or plain in _METADATA else None


def no_metadata(address: Address) -> str | None:
    """Say what is wrong with an address where a cloud keeps its secrets: it is nobody's, whatever is allowed."""
    return "a metadata address" if _plain(address) in _METADATA else None


def not_public(address: Address) -> str | None:
    """Say what is wrong with an address that is not for all the world: of this machine, of its network, of nobody."""
    plain = _plain(address)
    if isinstance(plain, IPv6Address) and (plain.is_site_local or plain.sixtofour or plain.teredo):
        return "a private address"  # or one that leads to any other
    if plain.is_global and not plain.is_multicast and not plain.is_reserved:
        return None
    return "a loopback address" if plain.is_loopback else "a private address"


def _plain(address: Address) -> Address:
    return getattr(address, "ipv4_mapped", None) or address


class GuardedTransport(httpx.AsyncBaseTransport):
    """The network, but for the addresses that a rule objects to.

    A name is looked up once, and the address that was checked is the one that is called.
    """

    def __init__(self, rule: Rule, inner: httpx.AsyncBaseTransport | None = None) -> None:
        """Send through ``inner``."""
        self._rule = rule
        # Connections are not kept: they are known by address, and one that was made for a name is not for another.
        self._inner = inner or httpx.AsyncHTTPTransport(limits=httpx.Limits(max_keepalive_connections=0))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request.

        Raises:
            AddressRefused: its host is none that Headwater calls.
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
        # The host stays in the Host header, and in the TLS handshake.
        request.extensions = {**request.extensions, "sni_hostname": host}
        fault: httpx.ConnectError | None = None
        for address in dict.fromkeys(addresses):
            request.url = request.url.copy_with(host=str(address))
            try:
                return await self._inner.handle_async_request(request)
            except httpx.ConnectError as error:
                fault = error  # localhost is often two addresses, and who is called at one of them
        raise fault or httpx.ConnectError(f"{host} has no address")

    async def aclose(self) -> None:
        """Let go of the connections."""
        await self._inner.aclose()
