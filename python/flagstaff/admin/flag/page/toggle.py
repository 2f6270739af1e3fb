"""The pages that kill a flag, turn it on or release it: a question, and what the workers did."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flagstaff import changes
from flagstaff._tables.flag_states import ALL_USERS, FlagState
from flagstaff._tables.model_fields import RULES
from flagstaff._tables.rows import all_rows
from flagstaff.actions.rights import Right
from flagstaff.admin.base_admin import SAVE_TIMEOUT
from flagstaff.admin.confirmation import posted_version, problems_of, version_text
from flagstaff.admin.flag.parts.app_panels import rows_of_change
from flagstaff.admin.flag.state import partial_rule_notices, preview, summary
from flagstaff.admin.links import page_url, row_links, row_path
from flagstaff.admin.part import Part
from flagstaff.admin.rights import may
from flagstaff.changes.allowed_users import count_allowed_users
from flagstaff.changes.consequence import anonymous_text, text_to_type
from flagstaff.changes.flags import rules_for_everybody
from flagstaff.changes.impact import Impact, Key, RowState, impact
from flagstaff.exceptions import NoHistoryError
from flagstaff.history.kinds import Kind
from flagstaff.history.log import version_of

#: The parameter with the path to return to.
BACK = "back"

# Seconds for which a kill waits for the workers.
_KILL_TIMEOUT = 5.0


class _Change(NamedTuple):
    """What a page does with a flag, and its words."""

    title: Any
    question: Any
    label: Any
    #: The permission that it needs.
    right: Right
    #: Returns the fields to write.
    fields: Callable[[FlagState], Mapping[str, object]]
    write: Callable[..., changes.Changed]
    #: The state of `enabled` in which there is nothing to do, if there is one.
    done_if: bool | None = None


_KILL = _Change(
    gettext_lazy("Kill a flag"),
    gettext_lazy("Turn off “%(key)s” for all users?"),
    gettext_lazy("Kill %(key)s"),
    "toggle",
    lambda _now: {"enabled": False},
    changes.flags.disable,
    done_if=False,
)
_TURN_ON = _Change(
    gettext_lazy("Turn on a flag"),
    gettext_lazy("Turn on “%(key)s”?"),
    gettext_lazy("Turn on %(key)s"),
    "toggle",
    lambda _now: {"enabled": True},
    changes.flags.enable,
    done_if=True,
)
_RELEASE = _Change(
    gettext_lazy("Release a flag to everybody"),
    gettext_lazy("Release “%(key)s” to everybody?"),
    gettext_lazy("Release %(key)s to everybody"),
    "change",
    lambda now: {
        "enabled": True,
        "rollout_percent": ALL_USERS,
        RULES: rules_for_everybody(now.rules),
    },
    changes.flags.release,
)


class TogglePages(Part):
    """Adds the pages."""

    def urls(self) -> Sequence[URLPattern]:
        """The URLs of the pages."""
        pages = {"kill": _KILL, "turn_on": _TURN_ON, "release": _RELEASE}
        return [
            row_path(self.admin, name, partial(self._view, page)) for name, page in pages.items()
        ]

    def new_row(self, request: HttpRequest, row: Any) -> tuple[str, Sequence[tuple[str, str]]]:
        """Which users have the new flag, and the page that turns it on."""
        text = summary(row, count_allowed_users(row), enabled=row.enabled)
        may_turn_on = not row.enabled and may(self.admin.admin_site, request, "toggle", row)
        url = page_url(self.admin.admin_site, self.admin.model, "turn_on", row.pk)
        return text, ([(url, _("Turn on…"))] if may_turn_on else ())

    def _view(self, change: _Change, request: HttpRequest, object_id: str) -> HttpResponse:
        return self.admin.attributed_view(request, self._answer, change, unquote(object_id))

    def _answer(self, request: HttpRequest, change: _Change, pk: str) -> HttpResponse:
        site, model = self.admin.admin_site, self.admin.model
        flag = self.admin.get_object(request, pk)
        if not may(site, request, change.right, model if flag is None else flag):
            raise PermissionDenied
        if flag is None:
            self.admin.message_user(request, _("This flag no longer exists."), messages.ERROR)
            return HttpResponseRedirect(page_url(site, model, "changelist"))
        if flag.enabled is change.done_if:
            self._report_unchanged(request, flag)
        elif question := (
            self._kill(request, flag) if change is _KILL else self._widen(request, flag, change)
        ):
            page = {
                "title": change.title,
                "flagstaff_question": str(change.question) % {"key": flag.key},
                "flagstaff_label": str(change.label) % {"key": flag.key},
                "flagstaff_back": self._back_url(request, flag),
                "flagstaff_crumbs": row_links(site, flag),
                **question,
            }
            return self.admin.confirmation(request, flag, page)
        return HttpResponseRedirect(self._back_url(request, flag))

    def _kill(self, request: HttpRequest, flag: Any) -> Mapping[str, object] | None:
        """Kills a flag. Returns the page that asks first, if it has to be shown."""
        if request.method == "POST":
            # Without the version of the page: a kill always wins.
            self._report_toggled(
                request, flag, changes.flags.disable(flag.key), timeout=_KILL_TIMEOUT
            )
            return None
        rows = preview(*self._impact(request, flag, _KILL))
        rows += rows_of_change(self.admin, [flag])[str(flag.pk)]
        return {
            "flagstaff_notes": [_("Its rollout, rules and allowed users stay as they are.")],
            "flagstaff_rows": [row for row in rows if row.now != row.after],
            "flagstaff_danger": True,
            # A kill never needs a reason.
            "flagstaff_needs_reason": False,
        }

    def _widen(
        self, request: HttpRequest, flag: Any, change: _Change
    ) -> Mapping[str, object] | None:
        """Gives a flag to users, or returns the page that asks first."""
        # The version is read first, so that a change of the shown values is a conflict.
        version = version_of(Kind.FLAG, flag.pk)
        flag.refresh_from_db(from_queryset=all_rows(self.admin.model))
        found, key = self._impact(request, flag, change)
        typed = text_to_type(found)
        problems = problems_of(request, typed)
        if problems is None or problems:
            about = anonymous_text(found, key) if found else ""
            after = FlagState.of(found.after[key].row)
            return {
                "flagstaff_rows": [
                    *preview(found, key),
                    *rows_of_change(self.admin, [flag])[str(flag.pk)],
                ],
                "flagstaff_notes": [*filter(None, [about]), *partial_rule_notices(after)],
                "flagstaff_version": version_text(version),
                "flagstaff_typed": typed,
                "flagstaff_problems": problems,
            }
        try:
            changed = change.write(flag.key, expect_version=posted_version(request))
        except NoHistoryError:
            # Without triggers there are no versions to compare; a system check reports that.
            changed = change.write(flag.key)
        self._report_toggled(request, flag, changed)
        return None

    def _impact(self, request: HttpRequest, flag: Any, change: _Change) -> tuple[Impact, Key]:
        now = RowState(Kind.FLAG, flag)
        after = now.after(change.fields(FlagState.of(flag)))
        # Nothing delays a kill, so its page does not wait for the count.
        timeout = 0.3 if change is _KILL else 1.0
        found = impact([now], [after], timeout=timeout, viewer=request.user)
        return found, (Kind.FLAG, flag.key)

    def _report_toggled(
        self,
        request: HttpRequest,
        flag: Any,
        changed: changes.Changed,
        timeout: float = SAVE_TIMEOUT,
    ) -> None:
        # Another request may have made the same change meanwhile.
        flag.refresh_from_db(from_queryset=all_rows(self.admin.model))
        if not changed.written:
            self._report_unchanged(request, flag)
            return
        text = (
            _("The flag “%(key)s” is now on. %(summary)s")
            if flag.enabled
            else _("The flag “%(key)s” is now off. %(summary)s")
        ) % {
            "key": flag.key,
            "summary": summary(flag, count_allowed_users(flag), enabled=flag.enabled),
        }
        self.admin.log_change(request, flag, text)
        self.admin.report_change(request, changed, text, timeout=timeout)

    def _report_unchanged(self, request: HttpRequest, flag: Any) -> None:
        text = (
            _("The flag “%(key)s” was already on.")
            if flag.enabled
            else _("The flag “%(key)s” was already off.")
        )
        self.admin.message_user(request, text % {"key": flag.key}, messages.WARNING)

    def _back_url(self, request: HttpRequest, flag: Any) -> str:
        """The page that the person came from: by default the page of the flag."""
        back = request.GET.get(BACK, "")
        if back and url_has_allowed_host_and_scheme(back, allowed_hosts=None):
            return back
        return page_url(self.admin.admin_site, self.admin.model, "change", flag.pk)
