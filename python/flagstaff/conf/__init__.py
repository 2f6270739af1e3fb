"""The settings dict FLAGSTAFF."""

from __future__ import annotations

from flagstaff.conf.settings import Conf, SettingProblem, UnknownKey, conf

__all__ = ["Conf", "SettingProblem", "UnknownKey", "conf"]
