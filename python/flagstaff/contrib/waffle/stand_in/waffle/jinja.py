from __future__ import annotations

from typing import Any

from jinja2 import Environment, pass_context
from jinja2.ext import Extension
from jinja2.runtime import Context

from flagstaff._request.flags import request_of_template
from waffle import flag_is_active, sample_is_active, switch_is_active
from waffle.views import _generate_waffle_js


@pass_context
def flag_helper(context: Context, flag_name: str) -> Any:
    return flag_is_active(request_of_template(context), flag_name)


@pass_context
def inline_wafflejs_helper(context: Context) -> str:
    return _generate_waffle_js(request_of_template(context))


class WaffleExtension(Extension):
    """Adds the global `waffle`, a dict of functions."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        environment.globals["waffle"] = {
            "flag": flag_helper,
            "switch": switch_is_active,
            "sample": sample_is_active,
            "wafflejs": inline_wafflejs_helper,
        }
