"""The system check of the project's own models of waffle."""

from __future__ import annotations

from collections.abc import Iterator

from django.apps import apps
from django.core.checks import CheckMessage

from flagstaff.checks.check import Check, Problem
from flagstaff.contrib.waffle.rows import overridden_methods, waffle_model
from flagstaff.contrib.waffle.settings import WAFFLE_KINDS


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


def check_models() -> list[CheckMessage]:
    """Names the project's models of waffle whose rows flagstaff does not evaluate."""
    return [*_OWN_CODE.messages()] if apps.is_installed("waffle") else []
