"""An evaluation that a person asks for: the form with the user, the result, and its steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from django import forms
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.html import format_html

from flagstaff._engine.direct import read_own_writes
from flagstaff._engine.forced_off import VARIABLE
from flagstaff._evaluation import Explained, Explanation, Step, explain, parse_text, step_text
from flagstaff._tables.model_fields import USER
from flagstaff._tables.rows import hidden_keys
from flagstaff._tables.user_lookup import FoundUser, allowed_user_table
from flagstaff._text import localized, say
from flagstaff._workers.status import status
from flagstaff.actions.arguments import name_of_users, unknown_users
from flagstaff.admin.rights import needs_view_user_text
from flagstaff.admin.row_page import Section
from flagstaff.changes.consequence import code_text
from flagstaff.conf import conf
from flagstaff.exceptions import FlagstaffError
from flagstaff.extensions import deciding_code
from flagstaff.history.user_names import may_see_users

# The parameter of Django's pages that holds the filters of the list.
_FILTERS = "_changelist_filters"
# The process evaluates what is stored, or has not evaluated anything.
_CURRENT_MODES = {"live", "direct", "idle"}
# By the name of the step. The name of another unit than the user is its own label.
_LABELS = {
    "exists": say("Exists").lazy,
    "enabled": say("Enabled").lazy,
    "allowed": say("Allowed user").lazy,
    "rules": say("Rules").lazy,
    "100 %": say("Rollout of 100 %").lazy,
    USER: say("Known user").lazy,
    "bucket < rollout": say("Bucket below the rollout").lazy,
    "the value itself": say("The value itself").lazy,
}
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
        widget=forms.Textarea(attrs={"rows": 3}),
    )

    def __init__(self, parameters: Any) -> None:
        """Takes the parameters of a URL. The form is bound if they have one of its fields."""
        is_typed = not self.base_fields.keys().isdisjoint(parameters)
        super().__init__(parameters if is_typed else None)
        self.fields["user"].label = name_of_users()

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
        return typed.attributes


# The page of a flag.


def who_has_it(request: HttpRequest, flag: Any) -> Section:
    """Returns a form, and each step of the evaluation for the user whom the URL names.

    Then queries the user and the flag.
    """
    title = say("Who has it?").local
    if not may_see_users(request.user):
        return Section(title, format_html('<p id="who-has-it">{}</p>', needs_view_user_text()))
    form = EvaluationForm(request.GET)
    page: dict[str, object] = {"form": form, "filters": request.GET.get(_FILTERS, "")}
    if form.is_valid():
        user, context = form.cleaned_data["user"], form.cleaned_data["context"]
        # The flag as it is stored: the snapshot of this process may be older.
        with read_own_writes():
            explanation = explain(flag.key, user.argument, context=context)
        page |= {
            "result": _result(explanation, user),
            "notes": [*user.notes(), *_notes_of_code(explanation)],
            "steps": shown_steps(explanation),
        }
    return Section(title, render_to_string("flagstaff/who_has_it.html", page))


def _notes_of_code(explanation: Explanation) -> list[str]:
    is_off = explanation.reason == "DISABLED"
    codes = {} if is_off else deciding_code([explanation.key])
    return [localized(code_text(code)) for code in codes.values()]


def _result(explanation: Explanation, user: TypedUser) -> str:
    if explanation.error_code in ("PARSE_ERROR", "GENERAL"):
        return say("The flag returns the default of the call for {user}.", user=user.words).local
    if explanation.error_code is not None:
        return say("The flag cannot be read from the database.").local
    text = say("On for {user}.") if explanation.value else say("Off for {user}.")
    return say(text, user=user.words).local


# The steps in words.


def shown_steps(explanation: Explanation) -> list[Step]:
    """Returns the steps in the order of the evaluation, with labels in the place of their names.

    Those of a flag that the rules need follow its condition, unless the user may not see the flag.
    """
    hidden = hidden_keys(conf.flag_model)
    hint = say(" (write {example} into the context)")
    steps = [
        replace(step, name=_label_of(step), text=step_text(step, hint))
        # The page of a flag need not say that the flag exists.
        for step in explanation.steps
        if (step.name != "exists" or step.decides) and step.values.get("flag") not in hidden
    ]
    if explanation.override is None:
        return steps
    # With an override, nothing else is even read.
    is_forced = explanation.override == VARIABLE
    label = say("Not forced off").local if is_forced else say("Not overridden by a test").local
    return [replace(steps[0], name=label, met=False)]


def _label_of(step: Step) -> str:
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


def why(explanation: Explained) -> str:
    """Returns the step that decides a result, and why."""
    step = explanation.deciding_step
    text = step_text(step, hint="")
    return text if explanation.override else f"{_label(step.name)}: {text}"
