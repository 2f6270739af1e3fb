"""The URLs that waffle's tests request."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpResponse
from django.urls import include, path
from waffle.decorators import waffle_flag, waffle_switch

from . import views

urlpatterns = [
    path("", include("waffle.urls")),
    path("flag_in_view", views.flag_in_view),
    path("foo_view", views.foo_view, name="foo_view"),
    path(
        "foo_view_with_args/<int:some_number>/", views.foo_view_with_args, name="foo_view_with_args"
    ),
]
for word, prefix, required in (
    ("flag", "flagged_view", waffle_flag),
    ("switch", "switched_view", waffle_switch),
):
    urlpatterns += [
        path(f"{word}-on", required("foo")(views.page)),
        path(f"{word}-off", required("!foo")(views.page)),
    ]
    others: dict[str, Callable[..., HttpResponse] | str] = {
        "_with_valid_redirect": views.foo_view,
        "_with_valid_url_name": "foo_view",
        "_with_invalid_redirect": "invalid_view",
        "_with_args_with_valid_redirect/<int:some_number>/": views.foo_view_with_args,
        "_with_args_with_valid_url_name/<int:some_number>/": "foo_view_with_args",
    }
    for ending, other in others.items():
        urlpatterns.append(path(prefix + ending, required("foo", redirect_to=other)(views.page)))
