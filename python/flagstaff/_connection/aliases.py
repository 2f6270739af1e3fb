"""Aliases of one database: with another role, to a replica, or to its mirror in tests."""

from __future__ import annotations

from django.db import connections

_ADDRESS = ("ENGINE", "HOST", "PORT", "NAME")


def is_same_database(one: str, other: str) -> bool:
    """Whether two aliases have the same data, judged by DATABASES. Does not connect."""
    if one == other:
        return True
    known = connections.settings
    if one not in known or other not in known:
        return False
    if one == known[other]["TEST"]["MIRROR"] or other == known[one]["TEST"]["MIRROR"]:
        return True
    return all(known[one][name] == known[other][name] for name in _ADDRESS)
