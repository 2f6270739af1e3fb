"""Signatures as https://www.standardwebhooks.com has them. Pure."""

from __future__ import annotations

import hmac
from base64 import b64encode
from collections.abc import Iterable

__all__ = ["signed"]


def signed(message_id: str, timestamp: int, body: bytes, keys: Iterable[bytes]) -> dict[str, str]:
    """The headers of a message, with a signature by each key.

    While a key is being replaced its receiver knows one of two. Without a key nothing is signed.
    """
    headers = {"webhook-id": message_id, "webhook-timestamp": str(timestamp)}
    content = f"{message_id}.{timestamp}.".encode() + body
    found = [f"v1,{_signature(content, key)}" for key in keys]
    return {**headers, "webhook-signature": " ".join(found)} if found else headers


def _signature(content: bytes, key: bytes) -> str:
    return b64encode(hmac.digest(key, content, "sha256")).decode()
