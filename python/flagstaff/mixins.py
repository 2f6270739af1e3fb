"""A mixin that makes a class-based view depend on a flag."""

from __future__ import annotations

from collections.abc import Callable
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.views import View

from flagstaff._types import Context
from flagstaff.decorators import OtherView, flag_required

__all__ = ["FlagRequiredMixin"]

if TYPE_CHECKING:
    _View = View[Any]
else:
    _View = object


class FlagRequiredMixin(_View):
    """Shows the view to users who have the flag `flag_key`, and `flag_otherwise` to all others.

    Works like the decorator `flag_required`, for sync and async views. `flag_otherwise` is a
    view that gets the same arguments; without it, other users get a 404.

        class Checkout(FlagRequiredMixin, TemplateView):
            flag_key = "new_checkout"
            flag_otherwise = old_checkout

    Put it before the view class, and after mixins that must run first, such as LoginRequiredMixin.
    """

    flag_key: str | None = None
    flag_otherwise: OtherView | None = None
    flag_context: Context = None

    # Any, because the type stubs for Django disagree on the class of a view's response.
    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Calls the view or `flag_otherwise`."""
        if not isinstance(self.flag_key, str):
            name = type(self).__name__
            raise ImproperlyConfigured(f'{name} has no flag; set flag_key = "…" in the class')
        decorator = flag_required(self.flag_key, self._otherwise(), context=self.get_flag_context())
        view = decorator(self._view())
        return view(request, *args, **kwargs)

    def get_flag_context(self) -> Context:
        """Returns the context that the flag's rules may read, by default `flag_context`."""
        return self.flag_context

    def _otherwise(self) -> OtherView | None:
        # Read from the class: on the instance, a function would become a bound method.
        otherwise: OtherView | None = type(self).flag_otherwise
        return vars(self).get("flag_otherwise", otherwise)

    def _view(self) -> Callable[..., object]:
        view = super().dispatch
        if not self.view_is_async:
            return view

        async def view_async(request: HttpRequest, *args: object, **kwargs: object) -> object:
            # `dispatch` is not a coroutine function, and another mixin may return a response.
            response: object = view(request, *args, **kwargs)
            return await response if isawaitable(response) else response

        return view_async
