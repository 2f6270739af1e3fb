from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from django.http import Http404, HttpRequest
from django.views import View

from waffle import flag_is_active, sample_is_active, switch_is_active
from waffle.decorators import is_allowed

if TYPE_CHECKING:
    _View = View[Any]
else:
    _View = object


class BaseWaffleMixin(_View):
    """Shows the view while all names are active; "!name" is the opposite."""

    waffle_flag: str | None = None
    waffle_switch: str | None = None
    waffle_sample: str | None = None

    def validate_waffle(self, waffle: str, func: Callable[[str], Any]) -> bool:
        """Returns whether the view is shown, by a name or "!name"."""
        return is_allowed(func, waffle)

    def invalid_waffle(self) -> Any:
        """Returns the response in place of the view's; raises Http404 unless overridden."""
        raise Http404("Inactive waffle")

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Calls the view or `invalid_waffle`."""
        for name, is_active in (
            (self.waffle_flag, partial(flag_is_active, request)),
            (self.waffle_switch, switch_is_active),
            (self.waffle_sample, sample_is_active),
        ):
            if name and not self.validate_waffle(name, is_active):
                return self.invalid_waffle()
        return super().dispatch(request, *args, **kwargs)


class WaffleFlagMixin(BaseWaffleMixin):
    """Shows the view to requests that have the flag `waffle_flag`."""


class WaffleSampleMixin(BaseWaffleMixin):
    """Shows the view whenever the sample `waffle_sample` is on."""


class WaffleSwitchMixin(BaseWaffleMixin):
    """Shows the view while the switch `waffle_switch` is on."""
