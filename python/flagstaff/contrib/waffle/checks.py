"""The system checks of the move from waffle."""

from __future__ import annotations

from collections.abc import Iterator

from django.apps import apps
from django.core.checks import CheckMessage

from flagstaff.checks.check import Check, Problem
from flagstaff.conf import conf
from flagstaff.contrib.waffle.rows import overridden_methods, waffle_model
from flagstaff.contrib.waffle.settings import WAFFLE_KINDS, waffle_settings
from flagstaff.exceptions import ConfigurationError


def _invalid_setting() -> Iterator[Problem]:
    try:
        waffle_settings()
    except ConfigurationError as error:
        yield Problem(str(error))


_CHECK = Check("flagstaff.E052", _invalid_setting, "see the page From django-waffle of the docs")


def _evaluates_itself() -> Iterator[Problem]:
    for model in map(waffle_model, WAFFLE_KINDS):
        if names := overridden_methods(model):
            methods = ", ".join(f"{name}()" for name in names)
            yield Problem(
                f"{model._meta.label} overrides {methods}, so its own code evaluates its rows: "
                "changes of flags, such as a kill, have no effect on them",
                model,
            )


_OWN_CODE = Check(
    "flagstaff.W057",
    _evaluates_itself,
    "express what it adds by rules and remove the methods, or change its rows themselves",
)


def check_models(**_: object) -> list[CheckMessage]:
    """Names the project's models of waffle whose rows flagstaff does not evaluate."""
    return [*_OWN_CODE.messages()] if apps.is_installed("waffle") else []


def check_waffle(**_: object) -> list[CheckMessage]:
    """Runs all checks. Those of the settings need a valid dict FLAGSTAFF. Does not connect."""
    return [*([] if conf.problems() else _CHECK.messages()), *check_models()]
