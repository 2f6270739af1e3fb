"""The page of a flag's allowed users: search, add and remove."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.urls import URLPattern
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff import changes
from flagstaff._tables.user_lookup import allowed_user_table
from flagstaff._words.text import local_number, localized
from flagstaff.actions.arguments import unknown_users
from flagstaff.admin.confirmation import PreviewRow, posted_fields, problems_of
from flagstaff.admin.flag.parts.app_panels import rows_of_change
from flagstaff.admin.links import may_view, page_url, row_path
from flagstaff.admin.part import Part
from flagstaff.admin.rights import why_not_change_users
from flagstaff.admin.users.adding import (
    add_named_users,
    names_text,
    new_users,
    parse_names,
)
from flagstaff.admin.users.listing import listed_users
from flagstaff.admin.views import MAX_REASON_LENGTH, REASON, keys_media, reason_problem
from flagstaff.changes.allowed_users import ALLOWED, allowed_pks, count_allowed_users
from flagstaff.changes.consequence import (
    Consequence,
    consequence_of,
    impact_text,
    text_to_type,
)
from flagstaff.changes.impact import RowState, impact
from flagstaff.exceptions import FlagstaffError
from flagstaff.history.kinds import Kind
from flagstaff.history.user_names import may_see_users

# The names of two submit buttons, and of the fields.
_REMOVE, _EDIT = "_remove", "_edit"
_NAMES, _FIRST_COLUMN, _SELECTED = "names", "first_column", "user"


@dataclass
class _Typed:
    """The content of the page's fields: what was typed and is not saved yet."""

    names: str = ""
    first_column: bool = False
    reason: str = ""
    selected: frozenset[str] = frozenset()
    #: What is wrong with the names, the selection or the reason, by the name of the field.
    problems: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, post: QueryDict) -> _Typed:
        """Returns what a request has posted."""
        selected = frozenset(post.getlist(_SELECTED))
        return cls(post.get(_NAMES, ""), _FIRST_COLUMN in post, post.get(REASON, ""), selected)

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do."""
        return not (self.names.strip() or self.selected or self.problems)

    def parsed_names(self) -> list[str]:
        """Returns the users to add; without any, the problem is that of the names."""
        try:
            names = parse_names(self.names, first_column=self.first_column)
        except csv.Error:
            self.problems[_NAMES] = _(
                "This text cannot be read as CSV. Remove each double quote that is not closed."
            )
            return []
        if not names:
            self.problems[_NAMES] = _("Write at least one user.")
        return names


class AllowedUsersPage(Part):
    """Adds the page."""

    def urls(self) -> Sequence[URLPattern]:
        """The URL of the page."""
        return [row_path(self.admin, "allowed_users", self._view)]

    def _view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self.admin.attributed_view(request, self._answer, unquote(object_id))

    def _answer(self, request: HttpRequest, pk: str) -> HttpResponse:
        flag = self.admin.get_object(request, pk)
        if not self.admin.has_view_permission(request, flag):
            raise PermissionDenied
        if flag is None:
            self.admin.message_user(request, _("This flag no longer exists."), messages.ERROR)
            return HttpResponseRedirect(self._url("changelist"))
        typed = _Typed.of(request.POST)
        if request.method == "POST":
            if why_not_change_users(self.admin.admin_site, request, flag):
                raise PermissionDenied
            if _EDIT not in request.POST:
                if question := self._change(request, flag, typed):
                    return question
                if typed.is_done:
                    return HttpResponseRedirect(request.get_full_path())
        return self._users_page(request, flag, typed)

    def _change(self, request: HttpRequest, flag: Any, typed: _Typed) -> HttpResponse | None:
        """Adds or removes, or returns a page that asks first.

        What is not done stays in `typed`, with the problem.
        """
        if problem := reason_problem(request):
            typed.problems[REASON] = problem
            return None
        try:
            if _REMOVE in request.POST:
                text, changed = _remove_users(flag, typed)
            else:
                names = typed.parsed_names()
                if question := self._question(request, flag, names):
                    return question
                text, changed = _add_users(flag, typed, names)
        except FlagstaffError as error:
            typed.problems[_NAMES] = _("Not saved: %(why)s") % {"why": localized(error.message)}
            return None
        if changed is not None and changed.written:
            self.admin.log_change(request, flag, text)
            self.admin.report_change(request, changed, text)
        elif text:
            self.admin.message_user(request, text, messages.WARNING)
        # Its place in the form may be below the window.
        if _NAMES in typed.problems:
            self.admin.message_user(request, typed.problems[_NAMES], messages.WARNING)
        return None

    def _question(
        self, request: HttpRequest, flag: Any, names: Sequence[str]
    ) -> HttpResponse | None:
        """The page that asks before most users get the flag; None if it is not needed."""
        added = new_users(flag, names) if flag.enabled and names else set()
        if not added:
            return None
        present = allowed_pks(flag)
        now = RowState(Kind.FLAG, flag, present)
        after = now.after({ALLOWED: present | added})
        found = impact([now], [after], viewer=request.user)
        if consequence_of(found) < Consequence.MOST:
            return None
        key = text_to_type(found)
        problems = problems_of(request, key)
        if problems is not None and not problems:
            return None
        before, count = len(present), len(added)
        context = {
            "title": _("Add allowed users"),
            "flagstaff_question": _("Add these users to “%(key)s”?") % {"key": flag.key},
            "flagstaff_rows": [
                PreviewRow(_("allowed users"), local_number(before), local_number(before + count)),
                *rows_of_change(self.admin, [flag])[str(flag.pk)],
            ],
            "flagstaff_notes": [impact_text(found)],
            "flagstaff_posted": posted_fields(request),
            "flagstaff_may_edit": True,
            "flagstaff_typed": key,
            "flagstaff_problems": problems,
            "flagstaff_label": _("Add users"),
        }
        return self.admin.confirmation(request, flag, context)

    def _users_page(self, request: HttpRequest, flag: Any, typed: _Typed) -> HttpResponse:
        total = count_allowed_users(flag)
        text = ngettext("%(count)s allowed user.", "%(count)s allowed users.", total)
        context = {
            "keys": keys_media(),
            "title": _("Allowed users of %(key)s") % {"key": flag.key},
            "flag": flag,
            "flag_url": self._url("change", flag.pk),
            "flags_url": self._url("changelist"),
            "total": text % {"count": local_number(total)},
            "typed": typed,
            "max_reason": MAX_REASON_LENGTH,
            "reason_name": REASON,
            "reason_problem": typed.problems.get(REASON, ""),
            "why_not": why_not_change_users(self.admin.admin_site, request, flag),
        }
        if may_see_users(request.user):
            context |= self._list(request, flag, total)
        return self.admin.template_page(request, "flagstaff/allowed_users.html", context)

    def _list(self, request: HttpRequest, flag: Any, total: int) -> Mapping[str, object]:
        search = request.GET.get("q", "")
        page, users = listed_users(flag, search, request.GET.get("page", ""), total)
        numbers = {
            "first": page.start_index(),
            "last": page.end_index(),
            "found": page.paginator.count,
        }
        text = _("Users %(first)s to %(last)s of %(found)s")
        site, user = self.admin.admin_site, allowed_user_table().field
        has_page = user.primary_key and may_view(site, request, user.model)
        return {
            "shown": page,
            "range": text % {name: local_number(number) for name, number in numbers.items()},
            "users": [
                (pk, name, page_url(site, user.model, "change", pk) if has_page else "")
                for pk, name in users
            ],
            "search": search,
        }

    def _url(self, page: str, *arguments: Any) -> str:
        return page_url(self.admin.admin_site, self.admin.model, page, *arguments)


def _add_users(
    flag: Any, typed: _Typed, names: Sequence[str]
) -> tuple[str, changes.Changed | None]:
    """Adds users. Returns what was done, in words and as the change."""
    if not names:
        return "", None
    done = add_named_users(flag.key, names)
    typed.names = names_text(done.unknown)
    if done.unknown:
        typed.problems[_NAMES] = unknown_users(done.unknown)
        # The field now has one name on each line.
        typed.first_column = False
    return done.sentence, done.changed


def _remove_users(flag: Any, typed: _Typed) -> tuple[str, changes.Changed | None]:
    """Removes the selected users, and returns the same."""
    parse = allowed_user_table().parse
    pks: list[Any] = [pk for text in typed.selected if (pk := parse(text)) is not None]
    if not pks:
        typed.problems[_SELECTED] = _("Select at least one user.")
        return "", None
    changed = changes.flags.disallow(flag.key, pks)
    typed.selected = frozenset()
    count = len(changed.old)
    text = ngettext("Removed %(count)s user.", "Removed %(count)s users.", count)
    return text % {"count": local_number(count)}, changed
