"""The system checks of the project's own models of waffle, and of the version of waffle."""

from __future__ import annotations

from collections.abc import Iterator

from django.apps import apps
from django.core.checks import CheckMessage, Warning  # noqa: A004

from flagstaff.contrib.waffle.rows import code_text, waffle_model
from flagstaff.contrib.waffle.settings import WAFFLE_KINDS

# From which version on `is_active_for_user()` regards which value of *Everyone*.
_YES, _NO = (4, 1), (5, 0)


def check_waffle() -> Iterator[CheckMessage]:
    """Yields the project's models whose own code decides, and what waffle's version changes."""
    if not apps.is_installed("waffle"):
        return
    for model in map(waffle_model, WAFFLE_KINDS):
        if code := code_text(model):
            yield Warning(
                f"{code} decides about its rows: a flag here turns them off, but its rollout, its "
                "rules and its allowed users have no effect on them",
                hint="to count and roll out here, express what it adds by rules, and remove it",
                obj=model,
                id="flagstaff.W057",
            )
    if text := version_text():
        yield Warning(
            text,
            hint="upgrade to django-waffle 5 first, and run your tests; or compare the results by "
            "`manage.py flags compare-waffle`",
            id="flagstaff.W058",
        )


def version_text() -> str:
    """Returns how the results of the installed waffle differ; empty for version 5 and newer."""
    import waffle  # noqa: PLC0415 (the project may have removed it)

    version = tuple(int(part) for part in waffle.__version__.split(".")[:2] if part.isdigit())
    if version >= _NO:
        return ""
    ignored = "Everyone: No" if version >= _YES else "Everyone"
    return (
        f"django-waffle {waffle.__version__} differs from version 5, whose place flagstaff takes: "
        f"its is_active_for_user() ignores {ignored!r}, and it does not call "
        "_is_active_for_percent() of a model of yours"
    )
