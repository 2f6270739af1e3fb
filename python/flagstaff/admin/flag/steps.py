"""The steps of an evaluation in words."""

from __future__ import annotations

from dataclasses import replace

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flagstaff._engine.explain import Explained, Explanation, Step, step_text
from flagstaff._engine.forced_off import VARIABLE
from flagstaff._tables.bucket_units import USER

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


def shown_steps(explanation: Explanation) -> list[Step]:
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
    if name == "the value itself":
        return _("The value itself")
    if name in _LABELS:
        return str(_LABELS[name])
    word, _space, number = name.partition(" ")
    if word in _NUMBERED and number.isdigit():
        return _NUMBERED[word] % {"number": number}
    return name


def why(found: Explained) -> str:
    """Returns the step that decides a result, and why."""
    step = found.deciding_step
    text = step_text(step, hint="")
    return text if found.override else f"{_label(step.name)}: {text}"
