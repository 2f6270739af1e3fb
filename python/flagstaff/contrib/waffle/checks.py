"""The system check of the project's own models of waffle."""

from __future__ import annotations

from collections.abc import Iterable

from django.apps import apps
from django.core.checks import CheckMessage, Warning  # noqa: A004
from django.db.models import Model

from flagstaff.contrib.waffle.rows import overridden_methods, waffle_model
from flagstaff.contrib.waffle.settings import WAFFLE_KINDS


def check_models() -> list[CheckMessage]:
    """Names the project's models of waffle whose rows flagstaff does not evaluate."""
    if not apps.is_installed("waffle"):
        return []
    models = map(waffle_model, WAFFLE_KINDS)
    return [
        _evaluates_itself(model, names) for model in models if (names := overridden_methods(model))
    ]


def _evaluates_itself(model: type[Model], names: Iterable[str]) -> CheckMessage:
    methods = ", ".join(f"{name}()" for name in names)
    return Warning(
        f"{model._meta.label} overrides {methods}, so its own code evaluates its rows: changes of "
        "flags, such as a kill, have no effect on them",
        hint="express what it adds by rules and remove the methods, or change its rows themselves",
        obj=model,
        id="flagstaff.W057",
    )
