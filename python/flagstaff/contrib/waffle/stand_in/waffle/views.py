from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template import loader
from django.views.decorators.cache import never_cache

from waffle import get_waffle_flag_model, get_waffle_sample_model, get_waffle_switch_model
from waffle.utils import get_setting


@never_cache
def wafflejs(request: HttpRequest) -> HttpResponse:
    """Returns the script that defines `waffle.flag_is_active` and the others."""
    return HttpResponse(_generate_waffle_js(request), content_type="application/x-javascript")


@never_cache
def waffle_json(request: HttpRequest) -> JsonResponse:
    """Returns the results by kind and name, as JSON."""
    return JsonResponse(
        {
            kind: {
                row.name: {"is_active": active, "last_modified": row.modified}
                for row, active in results
            }
            for kind, results in _results(request).items()
        }
    )


def _generate_waffle_js(request: HttpRequest) -> str:
    context: dict[str, Any] = {
        kind: [(row.name, active) for row, active in results]
        for kind, results in _results(request).items()
    }
    for kind in ("flag", "switch", "sample"):
        context[f"{kind}_default"] = get_setting(f"{kind.upper()}_DEFAULT")
    return loader.render_to_string("waffle/waffle.js", context)


def _results(request: HttpRequest) -> dict[str, list[tuple[Any, Any]]]:
    return {
        "flags": [(row, row.is_active(request)) for row in get_waffle_flag_model().get_all()],
        "switches": [(row, row.is_active()) for row in get_waffle_switch_model().get_all()],
        "samples": [(row, row.is_active()) for row in get_waffle_sample_model().get_all()],
    }
