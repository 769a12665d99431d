"""Slots for connections, counted."""

from __future__ import annotations

from gateway.connections import limits
from gateway.connections.limits import ConnectionLimits


def nobody(host: str) -> bool:
    return False


def test_slots_are_released() -> None:
    slots = ConnectionLimits(total=3, per_address=2, write_seconds=1, is_trusted=nobody)
    first, second = slots.admit("192.0.2.1"), slots.admit("192.0.2.1")
    assert "192.0.2.1" in slots.admit("192.0.2.1").refusal
    assert not slots.admit("192.0.2.2").refusal
    assert slots.admit("192.0.2.3").refusal.startswith("3 connections")
    for slot in (first, second):
        slot.release()
    assert not slots.admit("192.0.2.1").refusal


def test_refused_connections_take_no_slots() -> None:
    """However many come from one address. Beyond a number they get no response."""
    slots = ConnectionLimits(total=2, per_address=1, write_seconds=1, is_trusted=nobody)
    slots.admit("192.0.2.1")
    refused = [slots.admit("192.0.2.1") for _ in range(limits.MAX_REFUSED + 1)]
    assert [slot.is_dropped for slot in refused[-2:]] == [False, True]
    assert not slots.admit("192.0.2.2").refusal
    for slot in refused:
        slot.release()
    assert not slots.admit("192.0.2.1").is_dropped


def test_a_network_of_ipv6_is_one_client() -> None:

    def proxy(host: str) -> bool:
        return host == "2001:db8::9"

    slots = ConnectionLimits(total=9, per_address=1, write_seconds=1, is_trusted=proxy)
    assert not slots.admit("2001:db8::1").refusal
    assert slots.admit("2001:db8::2").refusal
    assert not slots.admit("2001:db8::9").refusal  # a proxy
