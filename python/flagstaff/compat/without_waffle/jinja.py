"""The Jinja2 extension of waffle: `waffle.flag("name")` and the others, by flagstaff's results."""

from __future__ import annotations

from jinja2 import Environment, pass_context
from jinja2.ext import Extension
from jinja2.runtime import Context

from flagstaff.compat.without_waffle import flag_is_active, sample_is_active, switch_is_active
from flagstaff.compat.without_waffle.views import script

__all__ = ["WaffleExtension"]


@pass_context
def _flag(context: Context, flag_name: str) -> bool:
    return flag_is_active(context.get("request"), flag_name)


@pass_context
def _wafflejs(context: Context) -> str:
    return script(context["request"])


class WaffleExtension(Extension):
    """Adds the global `waffle`, a dict of functions."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        environment.globals["waffle"] = {
            "flag": _flag,
            "switch": switch_is_active,
            "sample": sample_is_active,
            "wafflejs": _wafflejs,
        }
