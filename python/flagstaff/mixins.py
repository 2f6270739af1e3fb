"""A class-based view that is there for those who have a flag."""

from __future__ import annotations

from collections.abc import Callable
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, cast

from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.views import View

from flagstaff.decorators import flag_required

__all__ = ["FlagRequiredMixin"]

if TYPE_CHECKING:
    _View = View
else:
    _View = object


class FlagRequiredMixin(_View):
    """Show the view to those who have the flag `flag_key`, and `flag_otherwise` to everybody else.

    The same as the decorator `flag_required`, for sync and async views. `flag_otherwise` is a
    view that gets the same arguments; without it everybody else gets a 404.

        class Checkout(FlagRequiredMixin, TemplateView):
            flag_key = "new_checkout"
            flag_otherwise = old_checkout

    Put it before the view, and after a mixin that is to be asked first, such as LoginRequiredMixin.
    """

    flag_key: str | None = None
    flag_otherwise: Callable[..., Any] | None = None

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Answer the request, as the view or in its place."""
        if self.flag_key is None:
            name = type(self).__name__
            raise ImproperlyConfigured(f'{name} has no flag; write flag_key = "…" in its body')
        guarded = flag_required(self.flag_key, self._otherwise())(self._view())
        return cast("HttpResponseBase", guarded(request, *args, **kwargs))

    def _otherwise(self) -> Callable[..., Any] | None:
        # From the class, because a function that is asked of an instance turns into its method.
        otherwise: Callable[..., Any] | None = type(self).flag_otherwise
        return vars(self).get("flag_otherwise", otherwise)

    def _view(self) -> Callable[..., Any]:
        view = super().dispatch
        if not self.view_is_async:
            return view

        async def view_async(*args: Any, **kwargs: Any) -> Any:
            # Not a coroutine function itself, and another mixin may answer without a coroutine.
            response: Any = view(*args, **kwargs)
            return await response if isawaitable(response) else response

        return view_async
