"""The extension module: evaluation, and the functions that control the engine."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, final, overload

__all__ = [
    "Snapshot",
    "all_flags",
    "answer_directly",
    "answer_from_memory",
    "claim",
    "depends_on_user",
    "explain",
    "farewell",
    "flag_enabled",
    "forked",
    "get_value",
    "impact",
    "impact_on",
    "is_refused",
    "is_waiting",
    "reconfigure",
    "refresh",
    "report",
    "set_overrides",
    "set_own_writes",
    "snapshot",
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
def all_flags(user: Any = None, *, client_side: bool = False) -> dict[str, bool]:
    """The answer of every flag for `user`, by key, all of one moment. Returns at once.

    With `client_side`, only those flags that browsers may ask for.
    """

def snapshot() -> Snapshot:
    """All flags and settings as they are at this moment. Takes no copy; returns at once."""

@final
class Snapshot:
    """All flags and settings at one moment. Asks as the functions of the same names do."""

    @property
    def ready(self) -> bool:
        """Whether there is something to answer from."""

    @property
    def token(self) -> int | None:
        """The id of the newest token at this moment, None where there are none."""

    def flag_enabled(self, key: str, user: Any = None, *, default: bool = False) -> bool:
        """Whether the flag `key` is on for `user`, at this moment."""

    @overload
    def get_value(self, key: str, default: None = None) -> Any: ...
    @overload
    def get_value(self, key: str, default: _T) -> Any | _T: ...
    def explain(
        self, key: str, user: Any = None
    ) -> tuple[bool, str, str | None, int | None, int | None]:
        """How the answer to a question comes about, at this moment, as a tuple."""

    def all_flags(self, user: Any = None, *, client_side: bool = False) -> dict[str, bool]:
        """The answer of every flag for `user`, by key, at this moment."""

    def depends_on_user(self, key: str) -> bool:
        """Whether the flag's answer differs between users."""

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
    max_staleness: float,
    usage_interval: float,
    host: str,
) -> None:
    """Make the engine, which connects in the background. Returns at once.

    Raises ConfigurationError where the connection settings cannot be used.
    """

def reconfigure(settings: Mapping[str, str]) -> bool:
    """Connect with these settings from now on. Returns at once, True where they are others.

    Raises ConfigurationError where they cannot be used; those before are kept.
    """

def is_refused() -> bool:
    """Whether there is no connection because the server refused the log-in. Returns at once."""

def is_waiting() -> bool:
    """Whether the first load is still to come and may come soon. Returns at once."""

def answer_from_memory(tell_unknown: bool) -> None:
    """Answer questions from the snapshot from now on. Returns at once."""

def answer_directly(tell_unknown: bool) -> None:
    """Answer questions through `flagstaff._engine.direct` from now on. Returns at once."""

def set_overrides(
    flags: Mapping[str, bool], values: Mapping[str, str], opaque_values: bool
) -> None:
    """Answer as a test has set it, and no longer as one had set it before. Returns at once."""

def set_own_writes(own_writes: bool) -> None:
    """Say whether somebody may want to read their own writes. Returns at once."""

def impact(
    key: str,
    percent: int,
    sample: int,
    statements: tuple[str, str, str],
    table: str,
    timeout: float,
) -> tuple[bool, int, int, int, int, int, list[str]] | None:
    """Count over the pool for whom the answer would change. Releases the GIL and waits.

    Switch, rollout, users, how many have it, gain it, lose it, and a sample. None where the link
    cannot tell. Raises RefreshError where the database fails or takes longer than `timeout`.
    """

def impact_on(
    key: str,
    percent: int,
    sample: int,
    flag: tuple[bool, int, list[str]],
    users: Iterator[Any],
) -> tuple[bool, int, int, int, int, int, list[str]]:
    """Count these users as `impact` does. `flag` is switch, rollout and allow-list."""

def refresh(timeout: float) -> None:
    """Load everything now. Releases the GIL and waits for at most `timeout` seconds.

    Raises RefreshError where that fails.
    """

def stop(timeout: float) -> bool:
    """End the engine and forget the snapshot. Releases the GIL and waits, at most `timeout`."""

def farewell(timeout: float) -> None:
    """End the engine with the process, and keep the snapshot. Releases the GIL and waits."""

def claim(interpreter: int) -> None:
    """Refuse a second interpreter of the process, with ConfigurationError. Returns at once."""

def forked() -> None:
    """Leave the parent's engine alone, in a forked child. Returns at once."""

def report() -> dict[str, Any]:
    """What `flagstaff.status()` is made of. Returns at once."""
