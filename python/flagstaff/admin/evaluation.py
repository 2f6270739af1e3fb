"""An evaluation that a person asks for: the form with the user, the result, and its steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from django import forms
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flagstaff._engine.direct import read_own_writes
from flagstaff._engine.forced_off import VARIABLE
from flagstaff._evaluation import Explained, Explanation, Step, explain, parse_text, step_text
from flagstaff._tables.model_fields import USER
from flagstaff._tables.user_lookup import FoundUser, allowed_user_table
from flagstaff._words.text import localized
from flagstaff._workers.status import status
from flagstaff.actions.arguments import name_of_users, unknown_users
from flagstaff.admin.rights import needs_view_user_text
from flagstaff.admin.row_page import Section
from flagstaff.changes.consequence import code_text
from flagstaff.exceptions import FlagstaffError
from flagstaff.extensions import deciding_code
from flagstaff.history.user_names import may_see_users

# The parameter of Django's pages that holds the filters of the list.
_FILTERS = "_changelist_filters"
# The process evaluates what is stored, or has not evaluated anything.
_CURRENT_MODES = {"live", "direct", "idle"}
# By the name of the step. The name of another unit than the user is its own label.
_LABELS = {
    "exists": gettext_lazy("Exists"),
    "enabled": gettext_lazy("Enabled"),
    "allowed": gettext_lazy("Allowed user"),
    "rules": gettext_lazy("Rules"),
    "100 %": gettext_lazy("Rollout of 100 %"),
    USER: gettext_lazy("Known user"),
    "bucket < rollout": gettext_lazy("Bucket below the rollout"),
    "the value itself": gettext_lazy("The value itself"),
}
_NUMBERED = {
    "rule": gettext_lazy("Rule %(number)s"),
    "condition": gettext_lazy("Condition %(number)s"),
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
            return _("anonymous users")
        if user.name is None or user.name == str(user.pk):
            return _("primary key %(pk)s") % {"pk": user.pk}
        return _("%(name)s (primary key %(pk)s)") % {"name": user.name, "pk": user.pk}

    def notes(self) -> Iterator[str]:
        """Yields what a reader of the result must know. Does not query."""
        if self.user is not None and self.user.by is None:
            text = _(
                "No user has the primary key %(pk)s. The result is that of the bare primary key."
            )
            yield text % {"pk": self.user.pk}
        worker = status()
        if worker.mode not in _CURRENT_MODES:
            text = _("This process is not live (%(reason)s), so its own results may be older.")
            yield text % {"reason": localized(worker.mode_reason or worker.mode)}


class EvaluationForm(forms.Form):
    """The user and the context of an evaluation, as a person types them."""

    user = forms.CharField(
        required=False,
        help_text=gettext_lazy("Leave it empty for an anonymous user."),
        widget=forms.TextInput(attrs={"autocomplete": "off", "autocapitalize": "none"}),
    )
    context = forms.CharField(
        label=gettext_lazy("Context"),
        required=False,
        # Each flag of the page of a user is evaluated with it.
        max_length=10_000,
        help_text=gettext_lazy(
            "What your code passes beside the user: name=value on each line, such as country=DE, "
            "or JSON."
        ),
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
    title = _("Who has it?")
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
    texts = {"user": user.words}
    if explanation.error_code in ("PARSE_ERROR", "GENERAL"):
        return _("The flag returns the default of the call for %(user)s.") % texts
    if explanation.error_code is not None:
        return _("The flag cannot be read from the database.")
    return (_("On for %(user)s.") if explanation.value else _("Off for %(user)s.")) % texts


# The steps in words.


def shown_steps(explanation: Explanation) -> list[Step]:
    """Returns the steps in the order of the evaluation, with labels in the place of their names."""
    hint = _(" (write %(example)s into the context)")
    steps = [
        replace(step, name=_label(step.name), text=step_text(step, hint))
        # The page of a flag need not say that the flag exists.
        for step in explanation.steps
        if step.name != "exists" or step.decides
    ]
    if explanation.override is None:
        return steps
    # With an override, nothing else is even read.
    is_forced = explanation.override == VARIABLE
    label = _("Not forced off") if is_forced else _("Not overridden by a test")
    return [replace(steps[0], name=label, met=False)]


def _label(name: str) -> str:
    if name in _LABELS:
        return str(_LABELS[name])
    word, _space, number = name.partition(" ")
    if word in _NUMBERED and number.isdigit():
        return _NUMBERED[word] % {"number": number}
    return name


def why(explanation: Explained) -> str:
    """Returns the step that decides a result, and why."""
    step = explanation.deciding_step
    text = step_text(step, hint="")
    return text if explanation.override else f"{_label(step.name)}: {text}"
