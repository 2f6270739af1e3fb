"""Aliases of one database: with another role, to a replica, or to its mirror in tests."""

from __future__ import annotations

from django.db import connections

_ADDRESS = ("ENGINE", "HOST", "PORT", "NAME")


def is_same_database(alias: str, other: str) -> bool:
    """Whether two aliases have the same data, judged by DATABASES. Does not connect."""
    if alias == other:
        return True
    databases = connections.settings
    if alias not in databases or other not in databases:
        return False
    if alias == databases[other]["TEST"]["MIRROR"] or other == databases[alias]["TEST"]["MIRROR"]:
        return True
    return all(databases[alias][name] == databases[other][name] for name in _ADDRESS)
