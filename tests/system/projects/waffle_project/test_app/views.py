"""The views that waffle's tests request, or import and call."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.views import View
from waffle import flag_is_active
from waffle.mixins import WaffleFlagMixin, WaffleSampleMixin, WaffleSwitchMixin


def flag_in_view(request: HttpRequest) -> HttpResponse:
    return HttpResponse("on" if flag_is_active(request, "myflag") else "off")


def flag_in_view_readonly(request: HttpRequest) -> HttpResponse:
    return HttpResponse("on" if flag_is_active(request, "myflag", read_only=True) else "off")


def flag_in_django(request: HttpRequest) -> HttpResponse:
    names = {name: name for name in ("flag_var", "switch_var", "sample_var")}
    return render(request, "django/all_tags.html", names)


def flag_in_jinja(request: HttpRequest) -> HttpResponse:
    return render(request, "jinja/all_functions.html")


def no_request_context(_request: HttpRequest) -> str:
    return render_to_string("django/without_request.html")


def foo_view(_request: HttpRequest) -> HttpResponse:
    return HttpResponse("redirected")


def foo_view_with_args(_request: HttpRequest, some_number: int) -> HttpResponse:
    return HttpResponse(f"redirected with {some_number}")


def page(_request: HttpRequest, **_arguments: int) -> HttpResponse:
    """Shows what the flag, switch or sample foo protects."""
    return HttpResponse("foo")


class _Page(View):
    def get(self, _request: HttpRequest) -> HttpResponse:
        return HttpResponse("foo")


class FlagView(WaffleFlagMixin, _Page):
    waffle_flag = "foo"


class SampleView(WaffleSampleMixin, _Page):
    waffle_sample = "foo"


class SwitchView(WaffleSwitchMixin, _Page):
    waffle_switch = "foo"


FlagOffView = type("FlagOffView", (FlagView,), {"waffle_flag": "!foo"})
SampleOffView = type("SampleOffView", (SampleView,), {"waffle_sample": "!foo"})
SwitchOffView = type("SwitchOffView", (SwitchView,), {"waffle_switch": "!foo"})
