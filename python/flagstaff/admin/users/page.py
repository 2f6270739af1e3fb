"""The page of a flag's allowed users: search, add and remove."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff import changes
from flagstaff._tables.rows import Row
from flagstaff._tables.user_lookup import allowed_user_table
from flagstaff._words.local_formats import local_number
from flagstaff._words.message import localized
from flagstaff.admin.confirmation import (
    PreviewRow,
    posted_fields,
    problems_of,
)
from flagstaff.admin.links import may_view, page_url, row_path
from flagstaff.admin.part import Part
from flagstaff.admin.users.adding import (
    Added,
    add_named_users,
    new_users,
    parse_names,
)
from flagstaff.admin.users.listing import UserPage, user_page
from flagstaff.admin.users.permission import why_not_change_users
from flagstaff.admin.views import MAX_REASON_LENGTH, REASON, environment_context, reason_problem
from flagstaff.changes.allowed_users import count_allowed_users
from flagstaff.changes.consequence import Consequence
from flagstaff.changes.planned import consequence_of_added
from flagstaff.conf import conf
from flagstaff.exceptions import FlagstaffError
from flagstaff.history.user_names import may_see_users

# The names of the submit buttons, and of the fields.
_ADD, _REMOVE, _EDIT = "_add", "_remove", "_edit"
_NAMES, _FIRST_COLUMN, _SELECTED = "names", "first_column", "user"
_SEARCH, _AFTER = "q", "after"


@dataclass
class _Typed:
    """The content of the page's fields: what was typed and is not saved yet."""

    names: str = ""
    first_column: bool = False
    reason: str = ""
    selected: frozenset[str] = frozenset()
    #: What is wrong with the names, the selection or the reason, by the name of the field.
    problems: dict[str, str] = field(default_factory=dict)

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do."""
        return not (self.names.strip() or self.selected or self.problems)


class AllowedUsersPage(Part):
    """Adds the page."""

    def urls(self) -> Sequence[URLPattern]:
        """The URL of the page."""
        return [row_path(self.admin, "allowed_users", self.allowed_users_view)]

    def allowed_users_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The allowed users of a flag. A POST adds or removes some."""
        return self.admin.attributed_view(request, self._allowed_users, unquote(object_id))

    def _allowed_users(self, request: HttpRequest, object_id: str) -> HttpResponse:
        flag = self.admin.get_object(request, object_id)
        if not self.admin.has_view_permission(request, flag):
            raise PermissionDenied
        if flag is None:
            self.admin.message_user(request, _("This flag no longer exists."), messages.ERROR)
            return HttpResponseRedirect(
                page_url(self.admin.admin_site, self.admin.model, "changelist")
            )
        if request.method != "POST":
            return self._users_page(request, flag, _Typed())
        if why_not_change_users(self.admin, request, flag):
            raise PermissionDenied
        typed = _typed(request)
        if _EDIT in request.POST:
            return self._users_page(request, flag, typed)
        if question := self._question(request, flag, typed):
            return question
        self._post_users(request, flag, typed)
        if typed.is_done:
            return HttpResponseRedirect(request.get_full_path())
        return self._users_page(request, flag, typed)

    def _question(self, request: HttpRequest, flag: Any, typed: _Typed) -> HttpResponse | None:
        """The page that asks before most users get the flag; None if it is not needed."""
        if _ADD not in request.POST or not flag.enabled or reason_problem(request):
            return None
        count = len(new_users(flag, typed.names, first_column=typed.first_column))
        if not count or consequence_of_added(count) < Consequence.WIDENS_TO_MOST:
            return None
        key = flag.key if conf.is_production else ""
        problems = problems_of(request, key)
        if problems is not None and not problems:
            return None
        text = ngettext("%(count)s user gains the flag.", "%(count)s users gain the flag.", count)
        now = count_allowed_users(flag)
        sides = (local_number(number) for number in (now, now + count))
        context = {
            "title": _("Add allowed users"),
            "flagstaff_question": _("Add these users to “%(key)s”?") % {"key": flag.key},
            "flagstaff_rows": [PreviewRow(_("allowed users"), *sides)],
            "flagstaff_notes": [text % {"count": local_number(count)}],
            "flagstaff_posted": posted_fields(request),
            "flagstaff_may_edit": True,
            "flagstaff_typed": key,
            "flagstaff_problems": problems,
            "flagstaff_label": _("Add users"),
        }
        return self.admin.confirmation(request, cast("Row", flag), context)

    def _post_users(self, request: HttpRequest, flag: Any, typed: _Typed) -> None:
        """Adds or removes. What is not done stays in `typed`, with the problem."""
        if problem := reason_problem(request):
            typed.problems[REASON] = problem
            return
        post = self._remove_users if _REMOVE in request.POST else self._add_users
        try:
            text, changed = post(flag, typed)
        except FlagstaffError as error:
            typed.problems[_NAMES] = _("Not saved: %(why)s") % {"why": localized(error.message)}
            return
        if changed is not None and changed.written:
            self.admin.log_change(request, flag, text)
            self.admin.report_change(request, changed, text)
        elif text:
            self.admin.message_user(request, text, messages.WARNING)
        # Its place in the form may be below the window.
        if _NAMES in typed.problems:
            self.admin.message_user(request, typed.problems[_NAMES], messages.WARNING)

    def _add_users(self, flag: Any, typed: _Typed) -> tuple[str, changes.Changed | None]:
        """Adds the typed users. Returns what was done, in words and as the change."""
        try:
            names = parse_names(typed.names, first_column=typed.first_column)
        except csv.Error:
            typed.problems[_NAMES] = _(
                "This text cannot be read as CSV. Remove each double quote that is not closed."
            )
            return "", None
        if not names:
            typed.problems[_NAMES] = _("Write at least one user.")
            return "", None
        done = add_named_users(flag.key, names)
        _keep_unknown(typed, done)
        return done.sentence, done.changed

    def _remove_users(self, flag: Any, typed: _Typed) -> tuple[str, changes.Changed | None]:
        """Removes the selected users, and returns the same."""
        parse = allowed_user_table().parse
        pks: list[Any] = [pk for text in typed.selected if (pk := parse(text)) is not None]
        if not pks:
            typed.problems[_SELECTED] = _("Select at least one user.")
            return "", None
        changed = changes.remove_allowed_users(flag.key, pks)
        typed.selected = frozenset()
        count = len(changed.old)
        text = ngettext("Removed %(count)s user.", "Removed %(count)s users.", count)
        return text % {"count": local_number(count)}, changed

    def _users_page(self, request: HttpRequest, flag: Any, typed: _Typed) -> HttpResponse:
        row = cast("Row", flag)
        context = {
            **self.admin.admin_site.each_context(request),
            **environment_context(),
            "title": _("Allowed users of %(key)s") % {"key": flag.key},
            "opts": self.admin.opts,
            "flag": flag,
            "flag_url": page_url(self.admin.admin_site, self.admin.model, "change", flag.pk),
            "flags_url": page_url(self.admin.admin_site, self.admin.model, "changelist"),
            "total": _total_text(count_allowed_users(row)),
            "typed": typed,
            "max_reason": MAX_REASON_LENGTH,
            "reason_name": REASON,
            "reason_problem": typed.problems.get(REASON, ""),
            "why_not": why_not_change_users(self.admin, request, flag),
            "media": self.admin.media,
        }
        if may_see_users(request.user):
            search = request.GET.get(_SEARCH, "")
            shown = user_page(row, search, request.GET.get(_AFTER, ""))
            context |= self._list_context(request, shown, search)
        request.current_app = self.admin.admin_site.name
        return TemplateResponse(request, "flagstaff/allowed_users.html", context)

    def _list_context(
        self, request: HttpRequest, user_list: UserPage, search: str
    ) -> Mapping[str, object]:
        users = [(user, self._user_url(request, user.pk)) for user in user_list.users]
        to_next = {_SEARCH: search, _AFTER: user_list.next_after}
        return {
            "shown": user_list,
            "range": _range_text(user_list),
            "users": users,
            "search": search,
            "first_url": f"?{urlencode({_SEARCH: search})}" if user_list.first > 1 else "",
            "next_url": f"?{urlencode(to_next)}" if user_list.next_after else "",
        }

    def _user_url(self, request: HttpRequest, pk: str) -> str:
        """Returns the URL of the page of a user, or "" without such a page."""
        field = allowed_user_table().field
        model = field.model
        if not (field.primary_key and may_view(self.admin.admin_site, request, model)):
            return ""
        return page_url(self.admin.admin_site, model, "change", pk)


def _total_text(count: int) -> str:
    text = ngettext("%(count)s allowed user.", "%(count)s allowed users.", count)
    return text % {"count": local_number(count)}


def _range_text(user_list: UserPage) -> str:
    numbers = {"first": user_list.first, "last": user_list.last, "found": user_list.found}
    text = _("Users %(first)s to %(last)s of %(found)s")
    return text % {name: local_number(number) for name, number in numbers.items()}


def _typed(request: HttpRequest) -> _Typed:
    post = request.POST
    return _Typed(
        names=post.get(_NAMES, ""),
        first_column=_FIRST_COLUMN in post,
        reason=post.get(REASON, ""),
        selected=frozenset(post.getlist(_SELECTED)),
    )


def _keep_unknown(typed: _Typed, done: Added) -> None:
    typed.names = done.unknown_text
    if done.problem:
        typed.problems[_NAMES] = done.problem
        # The field now has one name on each line.
        typed.first_column = False
