"""The section "Who has it?": type a user and a context, and see each step of the evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flagstaff._engine.direct import read_own_writes
from flagstaff._engine.explain import Explanation, Step, explain, step_text
from flagstaff._engine.forced_off import VARIABLE
from flagstaff._engine.typed_context import parse_text
from flagstaff._tables.bucket_units import USER
from flagstaff._words.text import localized
from flagstaff.admin.rights import needs_view_user_text
from flagstaff.admin.svg import anchor, chart, circle, line, rect, text
from flagstaff.admin.typed_user import TypedUser, typed_user
from flagstaff.history.user_names import may_see_users

# By the name of the step. The name of another unit than the user is its own label.
_LABELS = {
    "exists": gettext_lazy("Exists"),
    "enabled": gettext_lazy("Enabled"),
    "allowed": gettext_lazy("Allowed user"),
    "rules": gettext_lazy("Rules"),
    "100 %": gettext_lazy("Rollout of 100 %"),
    USER: gettext_lazy("Known user"),
    "bucket < rollout": gettext_lazy("Bucket below the rollout"),
}
_NUMBERED = {
    "rule": gettext_lazy("Rule %(number)s"),
    "condition": gettext_lazy("Condition %(number)s"),
}
# The strip of buckets. Near an edge a label stays inside the box.
_HEIGHT, _TOP, _THICK, _LABEL, _SCALE, _EDGE = 74, 28, 14, 16, 60, 15
_ALL = 100
# The parameter of Django's pages that holds the filters of the list.
_FILTERS = "_changelist_filters"


def who_has_it(model_admin: admin.ModelAdmin[Any], request: HttpRequest, flag: Any) -> SafeString:
    """Returns the section. Queries the user and the flag if the URL names a user or a context."""
    # The names of the fields are those of the parameters in the URL.
    user, context = request.GET.get("user"), request.GET.get("context")
    may_see = may_see_users(request.user)
    is_submitted = may_see and (user, context) != (None, None)
    page = {
        "needs_permission": "" if may_see else needs_view_user_text(),
        "user": user or "",
        "context": context or "",
        "filters": request.GET.get(_FILTERS, ""),
        "answer": _answer(flag.key, (user or "").strip(), context or "") if is_submitted else None,
    }
    return SafeString(render_to_string("flagstaff/flag_page/who_has_it.html", page))


def _answer(key: str, text: str, context: str) -> Mapping[str, object]:
    """Evaluates the flag as it is stored: the snapshot of this process may be older."""
    typed, user = parse_text(context), typed_user(text)
    problems = {"context": [*map(localized, typed.problems)], "user": user.problem}
    if any(problems.values()):
        return {"problems": problems}
    with read_own_writes():
        explanation = explain(key, user.argument, context=typed.attributes)
    return {
        "result": _result(explanation, user),
        "notes": [*user.notes()],
        "steps": _shown_steps(explanation),
        "strip": _bucket_strip(explanation),
    }


def _result(explanation: Explanation, user: TypedUser) -> str:
    texts = {"user": user.words}
    if explanation.error_code in ("PARSE_ERROR", "GENERAL"):
        return _("The flag returns the default of the call for %(user)s.") % texts
    if explanation.error_code is not None:
        return _("The flag cannot be read from the database.")
    return (_("On for %(user)s.") if explanation.value else _("Off for %(user)s.")) % texts


def _shown_steps(explanation: Explanation) -> list[Step]:
    """Returns the steps in the order of the evaluation, with labels in the place of their names."""
    hint = _(" (write %(example)s into the context)")
    steps = [
        replace(step, name=_label(step.name), text=step_text(step, hint))
        # The page of a flag need not say that the flag exists.
        for step in explanation.steps
        if step.name != "exists" or step.decides
    ]
    if explanation.override is not None:
        is_forced = explanation.override == VARIABLE
        label = _("Not forced off") if is_forced else _("Not overridden by a test")
        # With an override, the rules are not even read.
        later = (_unreached(str(_LABELS[name])) for name in _LABELS if name != "exists")
        return [replace(steps[0], name=label, met=False), *later]
    not_forced = _("no environment variable turns the flag off in this process")
    return [replace(_unreached(_("Not forced off")), met=True, text=not_forced), *steps]


def _unreached(label: str) -> Step:
    return Step(label, met=None, decides=False, text="", values={}, level=0)


def _label(name: str) -> str:
    if name in _LABELS:
        return str(_LABELS[name])
    word, _space, number = name.partition(" ")
    if word in _NUMBERED and number.isdigit():
        return _NUMBERED[word] % {"number": number}
    return name


def _bucket_strip(explanation: Explanation) -> SafeString:
    """Returns the chart; empty without a bucket. Does not query."""
    # The rollout that the bucket is compared with: that of the rule that decided, if any.
    cut = explanation.deciding_step.values.get("percent", explanation.rollout_percent)
    bucket = explanation.bucket
    if bucket is None or cut is None:
        return SafeString()
    # A bucket is a hundredth of the strip.
    x = bucket + 0.5
    texts = {"bucket": bucket, "percent": cut}
    label, rollout = _("bucket %(bucket)s") % texts, _("rollout %(percent)s %%") % texts
    parts = [
        rect("rest", 0, _TOP, _ALL, _THICK),
        rect("fine", 0, _TOP, cut, _THICK),
        line("cut", (cut, _TOP - 4), (cut, _TOP + _THICK + 4)),
        circle("bucket", x, _TOP + _THICK / 2, 6),
        text("label", x, _LABEL, label, anchor(x, _EDGE)),
        text("quiet", cut, _SCALE, rollout, anchor(cut, _EDGE)),
    ]
    desc = (
        _("Bucket %(bucket)s of 0 to 99 is below the rollout of %(percent)s %%.")
        if bucket < cut
        else _("Bucket %(bucket)s of 0 to 99 is not below the rollout of %(percent)s %%.")
    )
    return chart("flagstaff-buckets", _HEIGHT, _("Bucket and rollout"), desc % texts, parts)
