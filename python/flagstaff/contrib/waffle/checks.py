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


def _evaluates_itself() -> Iterator[Problem]:
    for model in map(waffle_model, WAFFLE_KINDS):
        if names := overridden_methods(model):
            methods = ", ".join(f"{name}()" for name in names)
            yield Problem(
                f"{model._meta.label} overrides {methods}, so its own code evaluates its rows: "
                "changes of flags, such as a kill, have no effect on them",
                model,
            )


_SETTING = Check("flagstaff.E052", _invalid_setting, "see the page From django-waffle of the docs")
_OWN_CODE = Check(
    "flagstaff.W057",
    _evaluates_itself,
    "express what it adds by rules and remove the methods, or change its rows themselves",
)


def check_waffle() -> list[CheckMessage]:
    """Runs the checks. That of the settings needs a valid dict FLAGSTAFF. Does not connect."""
    messages = [] if conf.problems() else [*_SETTING.messages()]
    return [*messages, *_OWN_CODE.messages()] if apps.is_installed("waffle") else messages
