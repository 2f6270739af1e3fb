"""Whether FLAGSTAFF is written right."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Error

from flagstaff.conf import conf

__all__ = ["check_setting_names", "check_setting_values"]


def check_setting_names(**kwargs: Any) -> list[CheckMessage]:
    """flagstaff.E001: FLAGSTAFF has a name that is no setting."""
    return [
        Error(problem.message, hint=problem.hint, id="flagstaff.E001")
        for problem in conf.problems()
        if problem.unknown_name
    ]


def check_setting_values(**kwargs: Any) -> list[CheckMessage]:
    """flagstaff.E002: a setting has a value that it cannot have."""
    return [
        Error(problem.message, hint=problem.hint, id="flagstaff.E002")
        for problem in conf.problems()
        if not problem.unknown_name
    ]
