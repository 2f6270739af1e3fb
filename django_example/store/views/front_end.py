from __future__ import annotations

from django.contrib.staticfiles import finders
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from store.flag_panel import BETA_REVIEWS, FLAGS, NEW_CHECKOUT, SUMMER_BANNER

# `make demo` builds it from store/front_end/main.js, if npm is there.
SCRIPT = "store/front_end.built.js"
POLL_SECONDS = 2
# The last one is not for browsers.
SHOWN = (NEW_CHECKOUT, SUMMER_BANNER, BETA_REVIEWS)


def show(request: HttpRequest) -> HttpResponse:
    """A page whose script evaluates flags by OFREP."""
    context = {
        "script": SCRIPT if finders.find(SCRIPT) else None,
        "poll_seconds": POLL_SECONDS,
        "poll_milliseconds": POLL_SECONDS * 1000,
        "flags": {key: FLAGS[key] for key in SHOWN},
    }
    return render(request, "store/front_end.html", context)
