"""The names of waffle.testutils."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flagstaff.compat.names_of_waffle import names_of

if TYPE_CHECKING:
    from flagstaff.compat.without_waffle.testutils import *  # noqa: F403

__getattr__ = names_of("testutils")
