"""The setting CLIENT_ADDRESS: from which networks requests come."""

from __future__ import annotations

from flagstaff.conf import request_function

CLIENT_ADDRESS = request_function(
    "A function that returns the client's address",
    "shop.network.client",
    "an IP address",
    "CLIENT_ADDRESS",
)
SETTINGS = (CLIENT_ADDRESS,)
