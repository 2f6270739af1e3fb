"""The section "Who has it?": type a user and a context, and see each step of the evaluation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flagstaff._engine.direct import read_own_writes
from flagstaff._engine.explain import Explanation, explain
from flagstaff._engine.forced_off import VARIABLE
from flagstaff._engine.steps import EvaluationStep, steps_of
from flagstaff._engine.typed_context import parse_text
from flagstaff._tables.bucket_units import USER
from flagstaff._words.message import localized
from flagstaff.admin.svg import chart, circle, line, rect, text
from flagstaff.admin.typed_user import TypedUser, typed_user
from flagstaff.admin.users.permission import needs_view_user_text
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
# With an override, the rules are not even read.
_NOT_REACHED = ("enabled", "allowed", "rules", "100 %", USER, "bucket < rollout")
_NUMBERED = {
    "rule": gettext_lazy("Rule %(number)s"),
    "condition": gettext_lazy("Condition %(number)s"),
}
# The strip of buckets.
_HEIGHT = 74
_TOP, _THICK = 28, 14
_MIDDLE = _TOP + _THICK / 2
_LABEL, _SCALE = 16, 60
_ALL = 100
# Near an edge a label stays inside the box.
_EDGE = 15
# The names of the fields, which are also those of the parameters in the URL.
_USER, _CONTEXT = "user", "context"
# The parameter of Django's pages that holds the filters of the list.
_FILTERS = "_changelist_filters"


@dataclass(frozen=True)
class ShownStep:
    """A line of the table."""

    label: str
    #: True, False, or None if the evaluation ended before.
    met: bool | None
    decides: bool
    why: str
    #: What came of a condition, in words; empty for other steps.
    outcome_of_condition: str = ""
    #: 1 for a condition of a rule, 2 for a condition of a segment that it names, else 0.
    level: int = 0

    @property
    def outcome(self) -> str:
        """The outcome of the step, in words."""
        if self.outcome_of_condition:
            return self.outcome_of_condition
        if self.met is None:
            return _("not reached")
        return _("passed") if self.met else _("failed")


def shown_steps(explanation: Explanation, user: str | None) -> list[ShownStep]:
    """Returns the steps in the order of the evaluation. `user` is None for an anonymous user."""
    steps = steps_of(explanation, user, _hint)
    if explanation.override is not None:
        [override] = steps
        later = [EvaluationStep(name, met=None, decides=False, why="") for name in _NOT_REACHED]
        return [_override(explanation, override.why), *map(_shown, later)]
    # The page of a flag need not say that the flag exists.
    others = [step for step in steps if step.name != "exists" or step.decides]
    not_forced = _("no environment variable turns the flag off in this process")
    first = ShownStep(_("Not forced off"), met=True, decides=False, why=not_forced)
    return [first, *map(_shown, others)]


def _override(explanation: Explanation, why: str) -> ShownStep:
    is_forced = explanation.override == VARIABLE
    label = _("Not forced off") if is_forced else _("Not overridden by a test")
    return ShownStep(label, met=False, decides=True, why=why)


def _shown(step: EvaluationStep) -> ShownStep:
    label = _label(step.name)
    return ShownStep(label, step.met, step.decides, step.why, step.outcome, step.level)


def _label(name: str) -> str:
    if name in _LABELS:
        return str(_LABELS[name])
    word, _space, number = name.partition(" ")
    if word in _NUMBERED and number.isdigit():
        return _NUMBERED[word] % {"number": number}
    return name


def _hint(example: str) -> str:
    return _(" (write %(example)s into the context)") % {"example": example}


def bucket_strip(explanation: Explanation) -> SafeString:
    """Returns the chart; empty without a bucket. Does not query."""
    bucket, cut = explanation.bucket, _cut(explanation)
    if bucket is None or cut is None:
        return SafeString()
    # A bucket is a hundredth of the strip.
    x = bucket + 0.5
    texts = {"bucket": bucket, "percent": cut}
    label = _("bucket %(bucket)s") % texts
    parts = [
        rect("rest", 0, _TOP, _ALL, _THICK),
        rect("fine", 0, _TOP, cut, _THICK),
        line("cut", (cut, _TOP - 4), (cut, _TOP + _THICK + 4)),
        circle("bucket", x, _MIDDLE, 6),
        text("label", x, _LABEL, label, _anchor(x)),
        text("quiet", cut, _SCALE, _("rollout %(percent)s %%") % texts, _anchor(cut)),
    ]
    desc = (
        _("Bucket %(bucket)s of 0 to 99 is below the rollout of %(percent)s %%.")
        if bucket < cut
        else _("Bucket %(bucket)s of 0 to 99 is not below the rollout of %(percent)s %%.")
    )
    return chart("flagstaff-buckets", _HEIGHT, _("Bucket and rollout"), desc % texts, parts)


def _cut(explanation: Explanation) -> int | None:
    """The rollout that the bucket is compared with: that of the rule that decided, if any."""
    deciding = (rule.rollout_percent for rule in explanation.rules if rule.decides)
    return next(deciding, explanation.rollout_percent)


def _anchor(x: float) -> str:
    return "start" if x < _EDGE else "end" if x > _ALL - _EDGE else "middle"


@dataclass
class _Result:
    """What the section shows below its form."""

    #: What is wrong with a field, by its name.
    problems: dict[str, list[str]] = field(default_factory=dict)
    result: str = ""
    notes: list[str] = field(default_factory=list)
    steps: list[ShownStep] = field(default_factory=list)
    strip: SafeString = field(default_factory=SafeString)


def who_has_it(model_admin: admin.ModelAdmin[Any], request: HttpRequest, flag: Any) -> SafeString:
    """Returns the section. Queries the user and the flag if the URL names a user or a context."""
    may_see = may_see_users(request.user)
    is_submitted = may_see and not {_USER, _CONTEXT}.isdisjoint(request.GET)
    user, context = (request.GET.get(name, "") for name in (_USER, _CONTEXT))
    page = {
        "needs_permission": "" if may_see else needs_view_user_text(),
        "user": user,
        "context": context,
        "filters": request.GET.get(_FILTERS, ""),
        "answer": _evaluated(flag.key, user.strip(), context) if is_submitted else None,
    }
    return SafeString(render_to_string("flagstaff/flag_page/who_has_it.html", page))


def _evaluated(key: str, text: str, context: str) -> _Result:
    answer = _Result()
    typed, user = parse_text(context), typed_user(text)
    if typed.problems:
        answer.problems[_CONTEXT] = list(map(localized, typed.problems))
    if user.problem:
        answer.problems[_USER] = [user.problem]
    if not answer.problems:
        _evaluate(answer, key, user, typed.attributes)
    return answer


def _evaluate(answer: _Result, key: str, user: TypedUser, context: dict[str, object]) -> None:
    """Evaluates the flag as it is stored: the snapshot of this process may be older."""
    with read_own_writes():
        explanation = explain(key, user.argument, context=context)
    answer.result = _result(explanation, user)
    answer.notes = [*user.notes()]
    answer.steps = shown_steps(explanation, user.name)
    answer.strip = bucket_strip(explanation)


def _result(explanation: Explanation, user: TypedUser) -> str:
    texts = {"user": user.words}
    if explanation.error_code == "PARSE_ERROR":
        return _("The flag returns the default of the call for %(user)s.") % texts
    if explanation.error_code is not None:
        return _("The flag cannot be read from the database.")
    return (_("On for %(user)s.") if explanation.value else _("Off for %(user)s.")) % texts
