"""The views of waffle, for the flags that browsers may see: those with `client_side`."""

from __future__ import annotations

import json

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache

from flagstaff._engine.request_flags import flags_of
from flagstaff.compat.models import WaffleRow
from flagstaff.compat.settings import setting_of_waffle
from flagstaff.compat.without_waffle import flag_is_active, sample_is_active, switch_is_active

__all__ = ["waffle_json", "wafflejs"]

_SCRIPT = """\
window.waffle = (function (results, defaults) {
  function reader(kind) {
    return function (name) {
      var known = Object.prototype.hasOwnProperty.call(results[kind], name);
      return known ? results[kind][name] : defaults[kind];
    };
  }
  return {
    flag_is_active: reader("flags"),
    switch_is_active: reader("switches"),
    sample_is_active: reader("samples"),
    FLAGS: results.flags,
    SWITCHES: results.switches,
    SAMPLES: results.samples
  };
})(%s, %s);
"""
# The script may be inside of a page.
_ESCAPES = {ord(letter): f"\\u{ord(letter):04x}" for letter in "<>&\u2028\u2029"}
_PLURALS = {"flag": "flags", "switch": "switches", "sample": "samples"}


@never_cache
def wafflejs(request: HttpRequest) -> HttpResponse:
    """Returns the script that defines `waffle.flag_is_active` and the others."""
    return HttpResponse(script(request), content_type="application/x-javascript")


@never_cache
def waffle_json(request: HttpRequest) -> JsonResponse:
    """Returns the results by kind and name, as JSON. Unlike waffle, without `last_modified`."""
    found = {
        kind: {name: {"is_active": result} for name, result in results.items()}
        for kind, results in _results(request).items()
    }
    return JsonResponse(found)


def script(request: HttpRequest) -> str:
    """Returns JavaScript that defines `window.waffle`. One query."""
    defaults = {
        plural: bool(setting_of_waffle(f"{kind.upper()}_DEFAULT"))
        for kind, plural in _PLURALS.items()
    }
    return _SCRIPT % (_json(_results(request)), _json(defaults))


def _json(value: object) -> str:
    return json.dumps(value).translate(_ESCAPES)


def _results(request: HttpRequest) -> dict[str, dict[str, bool]]:
    keys = flags_of(request).client_side()
    rows = WaffleRow.objects.filter(key__in=keys).values_list("key", "kind", "name")
    # A flag that never was in waffle is one for the call sites, too.
    names = {key: ("flag", key) for key in keys} | {key: (kind, name) for key, kind, name in rows}
    results: dict[str, dict[str, bool]] = {plural: {} for plural in _PLURALS.values()}
    for kind, name in names.values():
        results[_PLURALS[kind]][name] = _result(request, kind, name)
    return results


def _result(request: HttpRequest, kind: str, name: str) -> bool:
    if kind == "flag":
        return flag_is_active(request, name)
    return switch_is_active(name) if kind == "switch" else sample_is_active(name)
