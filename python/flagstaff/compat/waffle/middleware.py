"""The names of waffle.middleware."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flagstaff.compat.names_of_waffle import names_of

if TYPE_CHECKING:
    from flagstaff.compat.without_waffle.middleware import *  # noqa: F403

__getattr__ = names_of("middleware")
