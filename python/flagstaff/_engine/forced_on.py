"""FLAGSTAFF_FORCE_ON: flags that the environment turns on in this process, in development."""

from __future__ import annotations

from collections.abc import Iterable

from django.conf import settings

from flagstaff._core import is_storable, set_forced_on
from flagstaff._engine import forced_off
from flagstaff._log import logger
from flagstaff._text import Sentence, say, some
from flagstaff.conf import conf
from flagstaff.exceptions import ConfigurationError

VARIABLE = "FLAGSTAFF_FORCE_ON"
NOTICE = f"forced on in this process by {VARIABLE}"

#: The keys that are forced on, unless they are forced off. Import the module, not this name.
keys: frozenset[str] = frozenset()
#: Why the variable has no effect in this process, for `status().problems`; None if it has.
problem: Sentence | None = None


def read_environment() -> None:
    """Turns on the keys of the environment variable, with DEBUG or ALLOW_FORCE_ON, and logs them.

    Elsewhere it has no effect, and is an error in the log: a variable that was left behind must
    neither give a flag to users nor stop the process. Called once, at the start of a process. A
    forked child inherits the keys. Raises nothing.
    """
    global problem  # noqa: PLW0603 (one for the process)
    problem = None
    usable = [key for key in forced_off.keys_in(VARIABLE) if is_storable(key)]
    if usable and not _is_allowed():
        problem = say(
            "{variable} has no effect without DEBUG or ALLOW_FORCE_ON: {keys}; remove the variable",
            variable=VARIABLE,
            keys=some(usable),
        )
        logger.error("%s", problem)
    elif usable:
        force_on(usable)
        logger.warning("%s: %s", NOTICE, some(usable))


def is_forced_on(key: str) -> bool:
    """Whether this process turns a flag on: one that is forced off, too, stays off."""
    return key in keys and key not in forced_off.keys


def _is_allowed() -> bool:
    try:
        return bool(settings.DEBUG) or conf.allow_force_on
    except ConfigurationError:
        # A system check reports it.
        return False


def force_on(forced: Iterable[str]) -> None:
    """Turns on the flags with these keys in this process, and no others."""
    global keys  # noqa: PLW0603 (one set for the process)
    keys = frozenset(forced)
    set_forced_on(sorted(keys))
