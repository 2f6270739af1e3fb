"""A panel of Django Debug Toolbar: the flags, values and variants of a request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, NamedTuple

from debug_toolbar.decorators import require_show_toolbar
from debug_toolbar.panels import Panel
from django.contrib.admin import AdminSite
from django.contrib.admin.sites import all_sites
from django.contrib.admin.utils import quote
from django.core.exceptions import SynchronousOnlyOperation
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.urls import URLPattern, path, reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, pgettext

from flagstaff import listeners
from flagstaff._engine.log_once import log_once, place_of
from flagstaff._words.cells import as_json
from flagstaff._words.text import MAX_VALUE, local_truncated, storable
from flagstaff.conf import conf
from flagstaff.extensions import model_of
from flagstaff.listeners import Evaluation

__all__ = ["FlagsPanel"]

# A task that goes on after its request still counts here.
_MAX_RESULTS = 1000


class _Result(NamedTuple):
    """What the panel shows of an evaluation. Equal results are one row with a number."""

    kind: str
    key: str
    #: None for the default of a call, which may be as secret as the value that is missing.
    text: str | None
    reason: str
    error_code: str | None
    rule: int | None


# A context variable, because threads and event loops handle several requests at a time.
_results: ContextVar[Counter[_Result] | None] = ContextVar("flagstaff_toolbar", default=None)
# What removes the listener of this process.
_removers: list[Callable[[], None]] = []


class FlagsPanel(Panel):
    """The flags, values and variants that a request has evaluated, with results and reasons.

    Add it to DEBUG_TOOLBAR_PANELS. The evaluations of a streaming response and of threads that the
    view has started are not shown.
    """

    is_async = True
    title = gettext_lazy("Flags, values and variants")
    nav_title = gettext_lazy("Flags")
    nav_icon = "flagstaff/toolbar.svg"  # type: ignore[assignment]

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._counts: Counter[_Result] = Counter()

    @classmethod
    def get_urls(cls) -> list[URLPattern]:
        """The URL that redirects to the page of a key in the admin."""
        return [path("flagstaff/", require_show_toolbar(_to_admin), name="flagstaff_key")]

    def enable_instrumentation(self) -> None:
        """Starts recording, for the code that this thread or task runs."""
        _listen()
        _results.set(self._counts)

    def disable_instrumentation(self) -> None:
        """Stops recording."""
        _results.set(None)

    def generate_stats(self, request: HttpRequest, response: HttpResponse) -> None:
        """Stores the results in the history of the toolbar, which may be JSON in a database."""
        # A copy: a task of the view may still count.
        counts = [*self._counts.items()]
        results = [{**result._asdict(), "count": count} for result, count in counts]
        kinds = sorted({result.kind for result, _count in counts})
        self.record_stats(
            {
                "results": results,
                "linked": [kind for kind in kinds if _is_linked(request, kind)],
                "limit": _MAX_RESULTS if len(results) >= _MAX_RESULTS else None,
            }
        )

    @property
    def nav_subtitle(self) -> str:
        """How many evaluations the request has made."""
        count = sum(result["count"] for result in self.get_stats().get("results", ()))
        return ngettext("%(count)s evaluation", "%(count)s evaluations", count) % {"count": count}

    @property
    def content(self) -> str:
        """The table, in the language of the toolbar."""
        stats = self.get_stats()
        linked = stats.get("linked", ())
        rows = [_row(result, linked) for result in stats.get("results", ())]
        context = {"rows": rows, "limit": stats.get("limit")}
        return render_to_string("flagstaff/toolbar_panel.html", context)


# The listener.


def _listen() -> None:
    """Adds the listener, at the first request of this process that the panel handles."""
    if _removers:
        return
    _removers.append(listeners.add(_record))
    # Two threads may come here at the same time. A fork could leave a lock locked.
    for remove in _removers[1:]:
        remove()


def _record(evaluation: Evaluation) -> None:
    counts = _results.get()
    if counts is None:
        return
    result = _Result(
        evaluation.kind,
        # A key from a request can have characters that no page and no history in a table can hold.
        storable(evaluation.key),
        _text(evaluation),
        evaluation.reason,
        evaluation.error_code,
        evaluation.rule,
    )
    if result in counts or len(counts) < _MAX_RESULTS:
        counts[result] += 1


def _text(evaluation: Evaluation) -> str | None:
    if evaluation.kind == "flag":
        return "on" if evaluation.value else "off"
    if evaluation.kind == "variant":
        return evaluation.variant
    if evaluation.error_code is not None:
        return None
    return local_truncated(as_json(evaluation.value), MAX_VALUE)


# The rows of the panel, in words.


def _row(result: dict[str, Any], linked: list[str]) -> dict[str, Any]:
    kind, key, text = result["kind"], result["key"], result["text"]
    kinds = {"flag": _("flag"), "value": _("value"), "variant": _("variant")}
    if kind == "flag":
        on, off = pgettext("state of a flag", "on"), pgettext("state of a flag", "off")
        text = on if text == "on" else off
    url = f"{reverse('djdt:flagstaff_key')}?{urlencode({'kind': kind, 'key': key})}"
    return {
        "key": key,
        "url": url if kind in linked else None,
        "kind": kinds[kind],
        "result": _("the default of the call") if text is None else text,
        "reason": _reason(result),
        "count": result["count"],
    }


def _reason(result: dict[str, Any]) -> str:
    """Returns why a result is as it is, in a few words."""
    code: str | None = result["error_code"]
    words = _decision(result) if code is None else _error(code)
    if result["rule"] is None:
        return words
    rule = _("rule %(number)s") % {"number": result["rule"]}
    return rule if result["reason"] == "TARGETING_MATCH" else f"{rule}, {words}"


def _error(code: str) -> str:
    texts = {
        "FLAG_NOT_FOUND": _("there is no such key"),
        "PROVIDER_NOT_READY": _("nothing has been loaded yet"),
        "PARSE_ERROR": _("its rules cannot be read"),
        "GENERAL": _("the database failed while the user or an attribute was read"),
    }
    return texts.get(code, code)


def _decision(result: dict[str, Any]) -> str:
    is_flag, text = result["kind"] == "flag", result["text"]
    in_rollout = _("in the rollout") if text == "on" else _("not in the rollout")
    excluded = _("the rules exclude this unit")
    chosen = excluded if text is None else _("set for this unit")
    texts = {
        "STATIC": _("the same for everyone"),
        "DISABLED": _("disabled") if is_flag else _("not running"),
        "TARGETING_MATCH": _("allowed user") if is_flag else chosen,
        "SPLIT": in_rollout if is_flag else _("by the bucket"),
        "DEFAULT": _("the bucketing unit is missing"),
        "CRAWLER": _("a crawler"),
        "LIMIT": _("too many new visitors in an hour"),
    }
    reason: str = result["reason"]
    return texts.get(reason, reason)


# The links to the admin.


def _is_linked(request: HttpRequest, kind: str) -> bool:
    """Whether the user may open the pages of this kind. An error must not break the page."""
    try:
        return _admin_of(request, _model_of(kind)) is not None
    except SynchronousOnlyOperation:
        # The user of an async view is not loaded. The view of the link checks the permission.
        return True
    except Exception as error:  # noqa: BLE001
        log_once("toolbar", kind, f"the debug toolbar shows no links: {place_of(error)}")
        return False


def _admin_of(request: HttpRequest, model: type[Model] | None) -> AdminSite | None:
    """Returns a site of the admin whose pages of this model the user may view."""
    if model is None or not hasattr(request, "user"):
        return None
    for site in all_sites:
        if not (site.is_registered(model) and site.has_permission(request)):
            continue
        if site.get_model_admin(model).has_view_permission(request):
            return site
    return None


def _model_of(kind: str | None) -> type[Model] | None:
    if kind == "flag":
        return conf.flag_model
    if kind == "value":
        return conf.value_model
    return model_of("experiment_table") if kind == "variant" else None


def _to_admin(request: HttpRequest) -> HttpResponse:
    """Redirects to the page of a key in the admin, if there is one that the user may view."""
    model = _model_of(request.GET.get("kind"))
    site = _admin_of(request, model)
    if model is None or site is None:
        raise Http404
    rows = site.get_model_admin(model).get_queryset(request)
    row = get_object_or_404(rows, key=request.GET.get("key"))
    name = f"{site.name}:{model._meta.app_label}_{model._meta.model_name}_change"
    return HttpResponseRedirect(reverse(name, args=[quote(row.pk)]))
