"""The settings dict FLAGSTAFF."""

from __future__ import annotations

from flagstaff.conf.settings import Conf, Problem, UnknownKey, conf

__all__ = ["Conf", "Problem", "UnknownKey", "conf"]
