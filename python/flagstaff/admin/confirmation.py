"""The page that shows what a button would change, and asks for a confirmation and a reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from django.http import Http404, HttpRequest
from django.template.response import TemplateResponse
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._tables.rows import Row
from flagstaff._tables.user_lookup import allowed_user_table
from flagstaff._words.local_formats import local_number
from flagstaff.admin.mixin_base import ModelAdminMixin
from flagstaff.admin.views import (
    REASON,
    VERSION,
    environment_context,
    mark_as_asking,
    reason_problem,
)
from flagstaff.changes import Changed
from flagstaff.changes.allowed_users import ALLOWED, allowed_pks
from flagstaff.conf import conf
from flagstaff.history import Users
from flagstaff.history.describe import Names, describe_change, describe_value, field_label
from flagstaff.history.events import Difference
from flagstaff.history.kinds import Kind
from flagstaff.history.user_names import may_see_users

#: The name of the field that confirms.
CONFIRMED = "_confirmed"
#: The name of the field in which a person types the key.
TYPED_KEY = "_typed_key"
#: The length of each value on the pages of the history.
MAX_TEXT = 300
_MAX_USERS = 20
# The length of each value in a message.
_MAX_VALUE = 120
# The digits of the largest version. Python refuses to parse much longer numbers.
_MAX_DIGITS = 19


@dataclass(frozen=True)
class PreviewRow:
    """A line of the page."""

    field: str
    now: str
    after: str


class ConfirmationMixin(ModelAdminMixin):
    """Put it before ModelAdmin."""

    # Not "kind": Django would use it for a column of this name.
    row_kind: ClassVar[Kind] = Kind.FLAG

    def confirmation(
        self, request: HttpRequest, row: Row, context: Mapping[str, object]
    ) -> TemplateResponse:
        """Returns the page. Its form posts to the same URL."""
        page = {
            **self.admin_site.each_context(request),
            **environment_context(),
            # The pages of rows and lists open it, not the history.
            "flagstaff_parent": "admin/base_site.html",
            "subtitle": None,
            "opts": self.opts,
            "module_name": str(capfirst(self.opts.verbose_name_plural)),
            "object": row,
            "flagstaff_reason": request.POST.get(REASON, ""),
            "flagstaff_needs_reason": conf.require_reason,
            **context,
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "flagstaff/confirm.html", page)


def problems_of(request: HttpRequest, typed: str, *, needs_reason: bool = True) -> list[str] | None:
    """Returns the problems of a confirmation as sentences; None before the page was shown.

    `typed` is the text that the person has to type; empty if there is none.
    """
    if CONFIRMED not in request.POST:
        return None
    problems = mark_as_asking(request)
    # An input of one line has no line breaks, and a page shows several blanks as one.
    if typed and request.POST.get(TYPED_KEY, "").split() != typed.split():
        problems.append(_("Not confirmed: type “%(text)s” exactly.") % {"text": typed})
    if needs_reason and (problem := reason_problem(request)):
        problems.append(problem)
    return problems


def posted_fields(request: HttpRequest) -> list[tuple[str, str]]:
    """Returns what a form has posted, for the hidden fields of the page that confirms it."""
    own = {"csrfmiddlewaretoken", CONFIRMED, TYPED_KEY, REASON}
    return [
        (name, str(value))
        for name, values in request.POST.lists()
        if name not in own
        for value in values
    ]


def posted_version(request: HttpRequest) -> int | None:
    """Returns the version that the submitted page showed, or None."""
    version = request.POST.get(VERSION)
    return parse_version(version) if version else None


def parse_version(text: str | None) -> int:
    """Returns the number of a version. Raises Http404 for anything else."""
    if text is None or not (text.isascii() and text.isdigit()) or len(text) > _MAX_DIGITS:
        raise Http404
    return int(text)


def version_text(version: int | None) -> str | None:
    """Returns a version for a template, which would group the digits of a number."""
    return None if version is None else str(version)


def preview_rows(request: HttpRequest, kind: Kind, row: Row, planned: Changed) -> list[PreviewRow]:
    """Returns a line for each field that a planned change would write. Secret values are masked."""
    lines = []
    for name, new in planned.new.items():
        if name == ALLOWED and kind is Kind.FLAG:
            names = may_see_users(request.user)
            lines.append(_users(row, planned.old[name], new, with_names=names))
            continue
        texts = (
            describe_value(one, field=name, secret=planned.hides(name), limit=MAX_TEXT)
            for one in (planned.old[name], new)
        )
        lines.append(PreviewRow(field_label(name), *texts))
    return lines


def describe_changed(request: HttpRequest, changed: Changed, limit: int = _MAX_VALUE) -> str:
    """Describes the fields that a change has written, as the history does.

    `limit` is the length of each value.
    """
    if changed.field:
        old, new = {changed.field: changed.old}, {changed.field: changed.new}
    else:
        # Without old fields, the row was created again.
        old, new = dict(changed.old or {}), dict(changed.new)
    removed, added = old.pop(ALLOWED, ()), new.pop(ALLOWED, ())
    differences = [
        Difference(name, old.get(name), new[name], secret=changed.hides(name)) for name in new
    ]
    written = _Written(_as_users(added), _as_users(removed), differences=differences)
    with_names = may_see_users(request.user)
    return describe_change(written, _names(added, removed, with_names=with_names), limit=limit)


@dataclass(frozen=True)
class _Written:
    """What a change writes, as `describe_change` reads it."""

    added: Users
    removed: Users
    action: str = "change"
    differences: Sequence[Difference] = ()


def _users(
    row: Row, removed: Sequence[object], added: Sequence[object], *, with_names: bool
) -> PreviewRow:
    names = _names(added, removed, with_names=with_names)
    change = _Written(_as_users(added), _as_users(removed))
    now = len(allowed_pks(row))
    after = _count_of_users(now + len(added) - len(removed))
    return PreviewRow(
        field_label(ALLOWED), _count_of_users(now), f"{after}: {describe_change(change, names)}"
    )


def _names(added: Sequence[object], removed: Sequence[object], *, with_names: bool) -> Names | None:
    shown = [str(pk) for pk in (*added[:_MAX_USERS], *removed[:_MAX_USERS])]
    return allowed_user_table().names(shown) if with_names else None


def _as_users(pks: Iterable[object]) -> Users:
    pks = tuple(pks)
    return Users(len(pks), pks[:_MAX_USERS])


def _count_of_users(count: int) -> str:
    return ngettext("%(count)s user", "%(count)s users", count) % {"count": local_number(count)}
