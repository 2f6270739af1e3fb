"""The id of a visitor, as its cookie holds it: signed, with the time of its creation."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass

from django.core.signing import BadSignature, Signer, TimestampSigner, b62_decode, b62_encode

_SALT = "flagstaff.visitor"
_RANDOM_BYTES = 16
# A text of ours has about 75 characters; a longer one is not worth a hash.
_MAX_LENGTH = 200


@dataclass(frozen=True)
class SignedId:
    """What a cookie holds."""

    id: str
    #: When the id was drawn, in seconds since 1970.
    drawn_at: int
    #: Whether it is signed with SECRET_KEY, and not with one of SECRET_KEY_FALLBACKS.
    is_current: bool


def draw_id() -> str:
    """Returns a new random id."""
    return secrets.token_urlsafe(_RANDOM_BYTES)


def sign(visitor_id: str, drawn_at: float | None = None) -> str:
    """Returns the text of a cookie. `drawn_at` is now by default."""
    drawn_at = time.time() if drawn_at is None else drawn_at
    # The form of TimestampSigner, which cannot sign a time in the past.
    return Signer(salt=_SALT).sign(f"{visitor_id}:{b62_encode(int(drawn_at))}")


def read(text: str, max_age: int) -> SignedId | None:
    """Returns the id of a cookie; None if it is not signed or older than `max_age` seconds."""
    if len(text) > _MAX_LENGTH or not text.isascii():
        return None
    signer = TimestampSigner(salt=_SALT)
    try:
        visitor_id = signer.unsign(text, max_age=max_age)
    except BadSignature:
        return None
    signed, _, signature = text.rpartition(":")
    drawn_at = b62_decode(signed.rpartition(":")[2])
    return SignedId(visitor_id, drawn_at, is_current=signature == signer.signature(signed))
