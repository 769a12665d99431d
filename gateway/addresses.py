"""Who counts as one client, where clients are counted by their addresses."""

from __future__ import annotations

import ipaddress

IPV6_PREFIX = 64  # what one subscriber or one virtual machine gets, and may change within


def client_network(address: str) -> str:
    """An IPv4 address itself, also as IPv6 writes it; of an IPv6 address its network."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:  # a proxy may name a client as it likes
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, IPV6_PREFIX), strict=False))
