"""Keys that optional apps have, and flags therefore cannot have."""

from __future__ import annotations

from collections.abc import Iterable

from flagstaff._extensions.optional_app import optional_apps
from flagstaff._words.message import Message, Template
from flagstaff._words.message import marked as _

_TAKEN = Template(
    "key_is_taken", _("%(key)s is the key of an %(kind)s; choose another key for the flag")
)


def taken_keys(keys: Iterable[str]) -> dict[str, str]:
    """Returns what has each of these keys already, such as "experiment". Few queries, or none."""
    wanted = set(keys)
    return {
        key: kind
        for app in optional_apps()
        for kind, taken in app.keys().items()
        for key in wanted.intersection(taken)
    }


def key_is_taken(key: str, kind: str) -> Message:
    """Returns why a flag cannot have a key that `taken_keys` has found."""
    return _TAKEN(key=key, kind=kind)
