"""Buckets by the definition in the documentation."""

from hashlib import sha256

__all__ = ["bucket_of"]


def bucket_of(key: str, unit: object) -> int:
    """Returns the bucket of a user, or of another unit."""
    return int(sha256(f"{key}:{unit}".encode()).hexdigest(), 16) % 100
