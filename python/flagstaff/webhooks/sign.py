"""Signatures as in https://www.standardwebhooks.com. Pure."""

from __future__ import annotations

import hmac
from base64 import b64encode
from collections.abc import Iterable


def signature_headers(
    message_id: str, timestamp: int, body: bytes, keys: Iterable[bytes]
) -> dict[str, str]:
    """Returns the headers of a message, with one signature per key.

    During a key rotation the receiver knows one of two keys. Without a key there is no signature.
    """
    headers = {"webhook-id": message_id, "webhook-timestamp": str(timestamp)}
    content = f"{message_id}.{timestamp}.".encode() + body
    signatures = [f"v1,{_signature(content, key)}" for key in keys]
    return {**headers, "webhook-signature": " ".join(signatures)} if signatures else headers


def _signature(content: bytes, key: bytes) -> str:
    return b64encode(hmac.digest(key, content, "sha256")).decode()
