from __future__ import annotations

from typing import Any

import waffle
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import include, path
from django.views import View
from waffle.mixins import WaffleSampleMixin


def results(request: HttpRequest) -> HttpResponse:
    results = (
        waffle.flag_is_active(request, "search"),
        waffle.switch_is_active("search"),
        waffle.sample_is_active("search"),
    )
    return HttpResponse(" ".join("on" if result else "off" for result in results))


def cookies(request: Any) -> HttpResponse:
    request.waffles = {"drawn": [True, False], "rollout": [False, True]}
    request.waffle_tests = {"tested": True}
    return HttpResponse()


class SamplePage(WaffleSampleMixin, View):
    waffle_sample = "search"

    def invalid_waffle(self) -> HttpResponse:
        return HttpResponse("not this time")


urlpatterns = [
    path("", include("waffle.urls")),
    path("cookies/", cookies),
    path("results/", results),
    path("sample/", SamplePage.as_view()),
    path("tags/", lambda request: render(request, "tags.html", {"variable": "search"})),
]
