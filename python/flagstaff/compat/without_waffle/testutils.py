"""waffle's overrides for tests, by those of flagstaff: in memory, for the whole process."""

from __future__ import annotations

from flagstaff import testing
from flagstaff.compat.names import key_of

__all__ = ["override_flag", "override_sample", "override_switch"]

_ALL = 100


class override_flag(testing.override_flag):  # noqa: N801 (used like a function)
    """Turns a flag on or off for all requests while a test or a block runs."""

    def __init__(self, name: str, active: bool) -> None:  # noqa: FBT001
        super().__init__(key_of("flag", name), active)


class override_switch(testing.override_flag):  # noqa: N801
    """Turns a switch on or off while a test or a block runs."""

    def __init__(self, name: str, active: bool) -> None:  # noqa: FBT001
        super().__init__(key_of("switch", name), active)


class override_sample(testing.override_flag):  # noqa: N801
    """Turns a sample on or off while a test or a block runs. 100 means on, and 0 off.

    Other percentages raise TypeError, because a test would have random results.
    """

    def __init__(self, name: str, active: bool | float) -> None:  # noqa: FBT001
        sure = active == _ALL if active in {0, _ALL} else active
        super().__init__(key_of("sample", name), sure)  # type: ignore[arg-type]
