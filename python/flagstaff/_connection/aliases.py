"""Two aliases may lead to one database: as another role, to a replica, to its mirror in tests."""

from __future__ import annotations

from django.db import connections

__all__ = ["is_one_database"]

_ADDRESS = ("ENGINE", "HOST", "PORT", "NAME")


def is_one_database(one: str, other: str) -> bool:
    """Whether two aliases lead to the same data, by their settings alone. Connects nowhere."""
    if one == other:
        return True
    known = connections.settings
    if one not in known or other not in known:
        return False
    if one == known[other]["TEST"]["MIRROR"] or other == known[one]["TEST"]["MIRROR"]:
        return True
    return all(known[one][name] == known[other][name] for name in _ADDRESS)
