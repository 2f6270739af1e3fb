"""The keys of waffle's flags, switches and samples."""

from __future__ import annotations

from functools import lru_cache

from flagstaff.contrib.waffle.settings import WaffleKind, waffle_settings
from flagstaff.validators import is_valid_flag_key


def key_of(kind: WaffleKind, name: str) -> str:
    """Returns the key of what waffle knows by a name: that of KEYS, or the name.

    In a name that is no key, each character that a key cannot have becomes "_".
    """
    keys, name = waffle_settings().keys, str(name)
    return (keys and keys.get(f"{kind}:{name}")) or _as_key(name)


@lru_cache(maxsize=10_000)
def _as_key(name: str) -> str:
    if is_valid_flag_key(name):
        return name
    # The first letter makes a single "-" valid, which may not begin a key.
    key = "".join(letter if is_valid_flag_key(f"a{letter}") else "_" for letter in name)
    return f"_{key[1:]}" if key.startswith("-") else key
