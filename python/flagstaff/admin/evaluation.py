"""An evaluation that a person asks for: the form with the user, and the steps in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from django import forms
from django.utils.text import capfirst

from flagstaff._evaluation import Explained, Step, parse_text, step_text
from flagstaff._tables.attributes import ObjectReader, keyed_context
from flagstaff._tables.rows import USER
from flagstaff._tables.user_lookup import FoundUser, allowed_user_table
from flagstaff._text import localized, say
from flagstaff._workers.status import status
from flagstaff.actions.arguments import name_of_users, unknown_users
from flagstaff.exceptions import FlagstaffError

# The process evaluates what is stored, or has not evaluated anything.
_CURRENT_MODES = {"live", "direct", "idle"}
#: The name of the step that says that a flag that is off limits another one.
LIMITED = "needed flags"
# By the name of the step. The name of another unit than the user is its own label.
_LABELS = {
    "exists": say("Exists").lazy,
    "enabled": say("Enabled").lazy,
    "allowed": say("Allowed user").lazy,
    "rules": say("Rules").lazy,
    LIMITED: say("Needed flags").lazy,
    "100 %": say("Rollout of 100 %").lazy,
    USER: say("Known user").lazy,
    "bucket < rollout": say("Bucket below the rollout").lazy,
    "the value itself": say("The value itself").lazy,
}
#: How to pass an attribute that is missing.
CONTEXT_HINT = say(" (write {example} into the context)")
_NUMBERED = {
    "rule": say("Rule {number}"),
    "condition": say("Condition {number}"),
}


@dataclass(frozen=True)
class TypedUser:
    """The user that a text stands for."""

    #: None for an anonymous user.
    user: FoundUser | None = None

    @property
    def argument(self) -> Any:
        """What evaluations get. A primary key without a row is a user, too."""
        if self.user is None:
            return None
        # Rules read the columns of the row.
        return self.user.pk if self.user.row is None else self.user.row

    @property
    def words(self) -> str:
        """The user in words, also if it is anonymous."""
        if (user := self.user) is None:
            return say("anonymous users").local
        if user.name is None or user.name == str(user.pk):
            return say("primary key {pk}", pk=str(user.pk)).local
        return say("{name} (primary key {pk})", name=user.name, pk=str(user.pk)).local

    @property
    def short(self) -> str:
        """The user in a word, for the heading of a column."""
        user = self.user
        return say("anonymous").local if user is None else user.name or str(user.pk)

    def notes(self) -> Iterator[str]:
        """Yields what a reader of the result must know. Does not query."""
        if self.user is not None and self.user.by is None:
            yield say(
                "No user has the primary key {pk}. The result is that of the bare primary key.",
                pk=str(self.user.pk),
            ).local
        worker = status()
        if worker.mode not in _CURRENT_MODES:
            text = say("This process is not live ({reason}), so its own results may be older.")
            yield say(text, reason=worker.mode_reason or worker.mode).local


class EvaluationForm(forms.Form):
    """The user and the context of an evaluation, as a person types them."""

    user = forms.CharField(
        required=False,
        help_text=say("Leave it empty for an anonymous user.").lazy,
        widget=forms.TextInput(attrs={"autocomplete": "off", "autocapitalize": "none"}),
    )
    context = forms.CharField(
        label=say("Context").lazy,
        required=False,
        # Each flag of the page of a user is evaluated with it.
        max_length=10_000,
        help_text=say(
            "What your code passes beside the user: name=value on each line, such as country=DE, "
            "or JSON."
        ).lazy,
        # It grows with its lines.
        widget=forms.Textarea(attrs={"rows": 1, "placeholder": say("country=DE").lazy}),
    )

    def __init__(self, parameters: Any, reader: ObjectReader) -> None:
        """Takes the parameters of a URL. The form is bound if they have one of its fields."""
        self._reader = reader
        is_typed = not self.base_fields.keys().isdisjoint(parameters)
        super().__init__(parameters if is_typed else None)
        self.fields["user"].label = name_of_users()
        self.fields["user"].widget.attrs["placeholder"] = name_of_users()

    def clean_user(self) -> TypedUser:
        """Returns the user of the text; an empty one is anonymous. Queries the users."""
        text = self.cleaned_data["user"]
        try:
            return TypedUser(allowed_user_table().find(text) if text else None)
        except FlagstaffError:
            raise forms.ValidationError(unknown_users([text])) from None

    def clean_context(self) -> dict[str, object]:
        """Returns the attributes of the text."""
        typed = parse_text(self.cleaned_data["context"])
        if typed.problems:
            raise forms.ValidationError([*map(localized, typed.problems)])
        return keyed_context(typed.attributes, self._reader)


# The steps in words.


def label_of(step: Step) -> str:
    """Returns what a step is called; one of a flag that the rules need begins with its key."""
    label = _label(step.name)
    needed = step.values.get("flag")
    return label if needed is None else say("{flag}: {step}", flag=needed, step=label).local


def _label(name: str) -> str:
    if name in _LABELS:
        return str(_LABELS[name])
    word, _space, number = name.partition(" ")
    if word in _NUMBERED and number.isdigit():
        return say(_NUMBERED[word], number=number).local
    return name


def reason(explanation: Explained, step: Step, hint: str = CONTEXT_HINT) -> str:
    """Returns why a step came to its outcome, without what a table of rules has beside it.

    `hint` says how to pass an attribute that is missing.
    """
    if step.name == "bucket < rollout" and getattr(explanation, "rollout_percent", None) == 0:
        return say("the rollout is {percent} %", percent="0").local
    values = {name: value for name, value in step.values.items() if name != "percent"}
    return step_text(replace(step, values=values), hint)


def why(explanation: Explained) -> str:
    """Returns why a result is as it is, in the words of a customer; of a rule also which one."""
    step = explanation.deciding_step
    is_named = step.name not in _LABELS or step.name in ("rules", LIMITED)
    if is_named and not explanation.override:
        return f"{_label(step.name)}: {step_text(step, hint='')}"
    return capfirst(reason(explanation, step, hint=""))
