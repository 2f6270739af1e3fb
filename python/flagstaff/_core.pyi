"""The extension module: the hot path, and the doors of `flagstaff.engine` to the engine."""

from collections.abc import Mapping
from typing import Any, TypeVar, overload

__all__ = [
    "answer_directly",
    "answer_from_memory",
    "depends_on_user",
    "explain",
    "flag_enabled",
    "forked",
    "get_value",
    "is_waiting",
    "kick",
    "refresh",
    "report",
    "start",
    "stop",
]

_T = TypeVar("_T")

def flag_enabled(key: str, user: Any = None, *, default: bool = False) -> bool:
    """Whether the flag `key` is on for `user`.

    Returns at once, but for the first question of a process.
    """

@overload
def get_value(key: str, default: None = None) -> Any: ...
@overload
def get_value(key: str, default: _T) -> Any | _T: ...
def depends_on_user(key: str) -> bool:
    """Whether the flag's answer differs between users, so that it must be known who asks."""

def explain(key: str, user: Any = None) -> tuple[bool, str, str | None, int | None, int | None]:
    """Value, reason, error code, bucket and rollout in percent. Returns at once."""

def start(
    settings: Mapping[str, str],
    names: Mapping[str, str],
    *,
    opaque_values: bool,
    listen: bool,
    poll_interval: float,
    pool_size: int,
) -> None:
    """Make the engine, which connects in the background. Returns at once.

    Raises ConfigurationError where the connection settings cannot be used.
    """

def is_waiting() -> bool:
    """Whether the first load is still to come and may come soon. Returns at once."""

def answer_from_memory(tell_unknown: bool) -> None:
    """Answer questions from the snapshot from now on. Returns at once."""

def answer_directly(tell_unknown: bool) -> None:
    """Answer questions through `flagstaff.direct` from now on. Returns at once."""

def kick() -> None:
    """Wake the engine's thread, which looks for changes. Returns at once."""

def refresh(timeout: float) -> None:
    """Load everything now. Releases the GIL and waits for at most `timeout` seconds.

    Raises RefreshError where that fails.
    """

def stop(timeout: float) -> bool:
    """End the engine and forget the snapshot. Releases the GIL and waits, at most `timeout`."""

def forked() -> None:
    """Leave the parent's engine alone, in a forked child. Returns at once."""

def report() -> dict[str, Any]:
    """What `flagstaff.status()` is made of. Returns at once."""
