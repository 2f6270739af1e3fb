"""A panel of Django Debug Toolbar: the flags, values and variants of a request."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, NamedTuple

from debug_toolbar.decorators import require_show_toolbar
from debug_toolbar.panels import Panel
from django.apps import apps
from django.contrib.admin.sites import all_sites
from django.contrib.admin.utils import quote
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.urls import URLPattern, path, reverse
from django.utils.http import urlencode
from django.utils.text import Truncator

from flagstaff import listeners
from flagstaff._text import say
from flagstaff.conf import conf
from flagstaff.extensions import model_of
from flagstaff.listeners import Evaluation

__all__ = ["FlagsPanel"]

# A task that goes on after its request still counts here.
_MAX_RESULTS = 1000
_MAX_VALUE = 300


class _Result(NamedTuple):
    """What the panel shows of an evaluation. Equal results are one row with a number."""

    kind: str
    key: str
    #: None for the default of a call, which may be as secret as the value that is missing.
    text: str | None
    #: The reason that `explain` returns, with the number of the rule or the error.
    reason: str


# A context variable, because threads and event loops handle several requests at a time.
_results: ContextVar[Counter[_Result] | None] = ContextVar("flagstaff_toolbar", default=None)


class FlagsPanel(Panel):
    """The flags, values and variants that a request has evaluated, with results and reasons.

    Add it to DEBUG_TOOLBAR_PANELS. The evaluations of a streaming response and of threads that the
    view has started are not shown.
    """

    is_async = True
    title = say("Flags, values and variants").lazy
    nav_title = say("Flags").lazy
    nav_icon = "flagstaff/toolbar.svg"  # type: ignore[assignment]

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._counts: Counter[_Result] = Counter()
        self._stop_listening: Callable[[], None] = lambda: None

    @classmethod
    def get_urls(cls) -> list[URLPattern]:
        """The URL that redirects to the page of a key in the admin."""
        return [path("flagstaff/", require_show_toolbar(_to_admin), name="flagstaff_key")]

    def enable_instrumentation(self) -> None:
        """Starts recording, for the code that this thread or task runs."""
        _results.set(self._counts)
        self._stop_listening = listeners.add(self._record)

    def disable_instrumentation(self) -> None:
        """Stops recording."""
        self._stop_listening()
        _results.set(None)

    def _record(self, evaluation: Evaluation) -> None:
        # Not an evaluation of another request at the same time.
        if _results.get() is not self._counts:
            return
        reason = evaluation.error_code or evaluation.reason
        if evaluation.rule is not None:
            reason = f"{reason}, rule {evaluation.rule}"
        result = _Result(evaluation.kind, _shown(evaluation.key), _text(evaluation), reason)
        if result in self._counts or len(self._counts) < _MAX_RESULTS:
            self._counts[result] += 1

    def generate_stats(self, request: HttpRequest, response: HttpResponse) -> None:
        """Stores the results in the history of the toolbar, which may be JSON in a database."""
        # A copy: a task of the view may still count.
        counts = [*self._counts.items()]
        results = [{**result._asdict(), "count": count} for result, count in counts]
        limit = _MAX_RESULTS if len(results) >= _MAX_RESULTS else None
        self.record_stats({"results": results, "limit": limit})

    @property
    def nav_subtitle(self) -> str:
        """How many evaluations the request has made."""
        count = sum(result["count"] for result in self.get_stats().get("results", ()))
        return say("{count} evaluation", "{count} evaluations", count=count).local

    @property
    def content(self) -> str:
        """The table, in the language of the toolbar."""
        stats = self.get_stats()
        rows = [_row(**result) for result in stats.get("results", ())]
        context = {"rows": rows, "limit": stats.get("limit")}
        return render_to_string("flagstaff/toolbar_panel.html", context)


def _text(evaluation: Evaluation) -> str | None:
    if evaluation.kind == "flag":
        return "on" if evaluation.value else "off"
    if evaluation.kind == "variant":
        return evaluation.variant
    if evaluation.error_code is not None:
        return None
    text = json.dumps(evaluation.value, default=str, ensure_ascii=False)
    return Truncator(_shown(text)).chars(_MAX_VALUE)


def _shown(text: str) -> str:
    """Replaces what no page and no history in a table can hold; a request may be the source."""
    return re.sub("[\0\ud800-\udfff]", "\ufffd", text)


def _row(kind: str, key: str, text: str | None, reason: str, count: int) -> dict[str, Any]:
    """Returns a row of the panel, in words."""
    kinds = {
        "flag": say("flag").local,
        "value": say("value").local,
        "variant": say("variant").local,
    }
    if kind == "flag":
        on, off = say("on").local, say("off").local
        text = on if text == "on" else off
    url = None
    if apps.is_installed("django.contrib.admin"):
        url = f"{reverse('djdt:flagstaff_key')}?{urlencode({'kind': kind, 'key': key})}"
    return {
        "key": key,
        "url": url,
        "kind": kinds[kind],
        "result": say("the default of the call").local if text is None else text,
        "reason": reason,
        "count": count,
    }


def _to_admin(request: HttpRequest) -> HttpResponse:
    """Redirects to the page of a key in the admin, if there is one that the user may view."""
    kind, key = request.GET.get("kind"), request.GET.get("key")
    models = {"flag": conf.flag_model, "value": conf.value_model}
    model = model_of("experiment_table") if kind == "variant" else models.get(str(kind))
    for site in all_sites if hasattr(request, "user") else ():
        if model and site.is_registered(model) and site.has_permission(request):
            admin = site.get_model_admin(model)
            if admin.has_view_permission(request):
                row = get_object_or_404(admin.get_queryset(request), key=key)
                name = f"{model._meta.app_label}_{model._meta.model_name}_change"
                return HttpResponseRedirect(reverse(f"{site.name}:{name}", args=[quote(row.pk)]))
    raise Http404
