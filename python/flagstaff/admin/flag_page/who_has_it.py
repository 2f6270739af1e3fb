"""The section "Who has it?": type a user and a context, and see each step of the evaluation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from flagstaff._engine.direct import read_own_writes
from flagstaff._engine.explain import Explanation, explain
from flagstaff._engine.status import status
from flagstaff._engine.typed_context import parse_text
from flagstaff._tables.user_lookup import FoundUser, allowed_user_table
from flagstaff._words.message import localized
from flagstaff.admin.allowed_users.permission import needs_view_user_text
from flagstaff.admin.allowed_users.unknown import unknown_problem
from flagstaff.admin.flag_page.bucket_strip import bucket_strip
from flagstaff.admin.flag_page.shown_steps import ShownStep, shown_steps
from flagstaff.exceptions import FlagstaffError
from flagstaff.history.user_names import may_see_users

# The names of the fields, which are also those of the parameters in the URL.
_USER, _CONTEXT = "user", "context"
# The parameter of Django's pages that holds the filters of the list.
_FILTERS = "_changelist_filters"
# The process evaluates what is stored, or has not evaluated anything.
_CURRENT_MODES = {"live", "direct", "idle"}


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


def _evaluated(key: str, user: str, context: str) -> _Result:
    answer = _Result()
    typed = parse_text(context)
    if typed.problems:
        answer.problems[_CONTEXT] = list(map(localized, typed.problems))
    known_user = None
    if user:
        try:
            known_user = allowed_user_table().find(user)
        except FlagstaffError:
            answer.problems[_USER] = [unknown_problem([user])]
    if not answer.problems:
        _evaluate(answer, key, known_user, typed.attributes)
    return answer


def _evaluate(
    answer: _Result, key: str, user: FoundUser | None, context: dict[str, object]
) -> None:
    """Evaluates the flag as it is stored: the snapshot of this process may be older."""
    argument: Any = None
    if user is not None:
        # Rules read the columns of the row. A primary key without a row is a user, too.
        argument = user.pk if user.row is None else user.row
    with read_own_writes():
        explanation = explain(key, argument, context=context)
    answer.result = _result(explanation, user)
    answer.notes = [*_notes(user)]
    answer.steps = shown_steps(explanation, None if user is None else _name(user))
    answer.strip = bucket_strip(explanation)


def _result(explanation: Explanation, user: FoundUser | None) -> str:
    texts = {"user": _("anonymous users") if user is None else _name(user)}
    if explanation.error_code == "PARSE_ERROR":
        return _("The flag returns the default of the call for %(user)s.") % texts
    if explanation.error_code is not None:
        return _("The flag cannot be read from the database.")
    return (_("On for %(user)s.") if explanation.value else _("Off for %(user)s.")) % texts


def _name(user: FoundUser) -> str:
    if user.name is None or user.name == str(user.pk):
        return _("primary key %(pk)s") % {"pk": user.pk}
    return _("%(name)s (primary key %(pk)s)") % {"name": user.name, "pk": user.pk}


def _notes(user: FoundUser | None) -> list[str]:
    notes = []
    if user is not None and user.by is None:
        text = _("No user has the primary key %(pk)s. The result is that of the bare primary key.")
        notes.append(text % {"pk": user.pk})
    worker = status()
    if worker.mode not in _CURRENT_MODES:
        text = _("This process is not live (%(reason)s), so its own results may be older.")
        notes.append(text % {"reason": localized(worker.mode_reason or worker.mode)})
    return notes
