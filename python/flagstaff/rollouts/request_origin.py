"""Where a request came from: the network of its client, and how old the id of its visitor is."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from django.utils.crypto import salted_hmac

from flagstaff._log import log_once
from flagstaff._request.functions import RequestFunctionError, result_of
from flagstaff._request.visitor import visitor_of_request
from flagstaff.rollouts.settings import CLIENT_ADDRESS

# The bytes of an address that name its network: an IPv4 /24 and an IPv6 /48. One person usually has
# a whole /48.
_IPV4_BYTES, _IPV6_BYTES = 3, 6
_UNKNOWN = b""
# What the function may return; None for a client without an address.
_ADDRESSES = (str, IPv4Address, IPv6Address, type(None))
_SALT = "flagstaff.network"


def origin_of(flags: Any) -> tuple[bytes | None, int | None]:
    """Returns the hash of the client's network, and when the id of the visitor was drawn.

    Called by the extension at the end of a request that has evaluated a watched flag, with
    `request.flags`. The network is None without CLIENT_ADDRESS. The hash needs SECRET_KEY, so a
    reader of the database cannot try all networks.
    """
    request = flags.context.request
    drawn_at = visitor_of_request(request).drawn_at
    path = CLIENT_ADDRESS.current()
    if path is None:
        return None, drawn_at
    return salted_hmac(_SALT, _network(path, request), algorithm="sha256").digest(), drawn_at


def _network(path: str, request: object) -> bytes:
    """Returns the network of the client. All clients without an address share one."""
    try:
        text = result_of(path, request, _ADDRESSES, "an IP address")
    except RequestFunctionError as problem:
        return _unknown(path, str(problem))
    if text is None:
        return _UNKNOWN
    try:
        address = ip_address(text)
    except ValueError:
        # The text is not shown: it may be an address.
        return _unknown(path, "returned a text that is not an IP address")
    return _bytes_of(address)


def _bytes_of(address: IPv4Address | IPv6Address) -> bytes:
    # An IPv6 address may contain the IPv4 address of its client, who has only one network then.
    if isinstance(address, IPv6Address):
        teredo = address.teredo
        inner = address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None)
        if inner is None:
            return address.packed[:_IPV6_BYTES]
        address = inner
    return address.packed[:_IPV4_BYTES]


def _unknown(path: str, problem: str) -> bytes:
    message = (
        f"{path} in CLIENT_ADDRESS {problem}; requests without an address count as those of one "
        "network"
    )
    log_once("client address", problem, message)
    return _UNKNOWN
