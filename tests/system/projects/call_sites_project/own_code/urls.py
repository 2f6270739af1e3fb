from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.urls import include, path
from django.views import View
from waffle import get_waffle_flag_model
from waffle.admin import FlagAdmin
from waffle.decorators import waffle_flag
from waffle.mixins import WaffleFlagMixin

admin.site.register(get_waffle_flag_model(), FlagAdmin)

_TEXTS = {
    "django": '{% load waffle_tags %}{% flag "sale" %}on{% endflag %}',
    "jinja2": '{{ "on" if waffle.flag("sale") }}',
}


def tag(request: HttpRequest, backend: str) -> HttpResponse:
    return HttpResponse(engines[backend].from_string(_TEXTS[backend]).render({}, request))


class Page(WaffleFlagMixin, View):
    waffle_flag = "sale"

    def get(self, _request: Any) -> HttpResponse:
        return HttpResponse("on")

    def invalid_waffle(self) -> HttpResponse:
        return HttpResponse("")


urlpatterns = [
    path("admin/", admin.site.urls),
    path("waffle/", include("waffle.urls")),
    path("tag/<backend>/", tag),
    path("mixin/", Page.as_view()),
    path("decorator/", waffle_flag("sale", "off")(lambda _request: HttpResponse("on"))),
    path("off/", lambda _request: HttpResponse(""), name="off"),
]
