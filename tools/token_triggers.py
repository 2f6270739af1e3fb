"""The token triggers of a table, which fire in every session."""

from __future__ import annotations

__all__ = ["always"]

_EVENTS = ("insert", "update", "delete", "truncate")


def always(table: str) -> str:
    """Returns the statement that makes them fire in every session again, as they are installed.

    `ENABLE TRIGGER` makes them fire in ordinary sessions only.
    """
    triggers = (f"ENABLE ALWAYS TRIGGER flagstaff_token_{event}_v1" for event in _EVENTS)
    return f"ALTER TABLE {table} {', '.join(triggers)}"
