"""FLAGSTAFF_FORCE_OFF: flags and experiments that the environment turns off in this process."""

from __future__ import annotations

import os
from collections.abc import Iterable

from flagstaff._core import is_storable, set_forced_off
from flagstaff._log import logger
from flagstaff._text import some

VARIABLE = "FLAGSTAFF_FORCE_OFF"
#: What logs and messages say of a key.
NOTICE = f"forced off in this process by {VARIABLE}"

#: The keys that are forced off, as in the extension. Import the module, not this name.
keys: frozenset[str] = frozenset()


def read_environment() -> None:
    """Turns off the keys of the environment variable, and logs their keys.

    Called once, at the start of a process. A forked child inherits the keys. Raises nothing.
    """
    # No row can have another key, and the extension cannot hold it. A system check reports it.
    usable = [key for key in keys_in(VARIABLE) if is_storable(key)]
    if usable:
        force_off(usable)
        logger.warning("%s: %s", NOTICE, some(usable))


def keys_in(variable: str) -> list[str]:
    """Returns the keys in an environment variable, each once, also invalid ones."""
    keys = (key.strip() for key in os.environ.get(variable, "").split(","))
    return [key for key in dict.fromkeys(keys) if key]


def force_off(forced: Iterable[str]) -> None:
    """Turns off the flags and experiments with these keys in this process, and no others."""
    global keys  # noqa: PLW0603 (one set for the process)
    keys = frozenset(forced)
    set_forced_off(sorted(keys))
