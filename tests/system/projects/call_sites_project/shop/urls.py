from __future__ import annotations

from typing import Any

import waffle
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import include, path
from django.views import View
from waffle.decorators import waffle_flag, waffle_switch
from waffle.mixins import WaffleFlagMixin, WaffleSampleMixin, WaffleSwitchMixin


def results(request: HttpRequest) -> HttpResponse:
    found = (
        waffle.flag_is_active(request, "search"),
        waffle.switch_is_active("search"),
        waffle.sample_is_active("search"),
    )
    return HttpResponse(" ".join("on" if one else "off" for one in found))


def cookies(request: Any) -> HttpResponse:
    request.waffles = {"drawn": [True, False], "rollout": [False, True]}
    request.waffle_tests = {"tested": True}
    return HttpResponse()


def page(_request: HttpRequest, number: int = 0) -> HttpResponse:
    return HttpResponse(f"page {number}")


class Page(View):
    def get(self, request: HttpRequest) -> HttpResponse:
        return page(request)


class FlagPage(WaffleFlagMixin, Page):
    waffle_flag = "search"


class OldSwitchPage(WaffleSwitchMixin, Page):
    waffle_switch = "!search"


class SamplePage(WaffleSampleMixin, Page):
    waffle_sample = "search"

    def invalid_waffle(self) -> HttpResponse:
        return HttpResponse("not this time")


urlpatterns = [
    path("", include("waffle.urls")),
    path("cookies/", cookies),
    path("results/", results),
    path("flag/", waffle_flag("search")(page)),
    path("old-flag/", waffle_flag("!search")(page)),
    path("switch/", waffle_switch("search")(page)),
    path("by-name/<int:number>/", waffle_flag("search", redirect_to="other")(page)),
    path("by-view/<int:number>/", waffle_switch("search", redirect_to=results)(page)),
    path("no-such-name/", waffle_flag("search", redirect_to="missing")(page)),
    path("other/<int:number>/", page, name="other"),
    path("mixin/flag/", FlagPage.as_view()),
    path("mixin/old-switch/", OldSwitchPage.as_view()),
    path("mixin/sample/", SamplePage.as_view()),
    path("django/", lambda request: render(request, "tags.html", {"variable": "search"})),
    path("jinja2/", lambda request: render(request, "functions.html")),
]
