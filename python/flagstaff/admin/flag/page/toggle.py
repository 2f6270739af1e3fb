"""The pages that turn a flag on, or kill it: one question, and a message about the workers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
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
from flagstaff._tables.rows import all_rows
from flagstaff.admin.confirmation import (
    posted_version,
    problems_of,
    version_text,
)
from flagstaff.admin.flag.state import partial_rule_notices, preview, summary
from flagstaff.admin.links import page_url, row_path
from flagstaff.admin.part import Part
from flagstaff.admin.permissions import may, may_toggle
from flagstaff.admin.reports import SAVE_TIMEOUT
from flagstaff.changes.allowed_users import count_allowed_users
from flagstaff.changes.flags import rules_for_everybody
from flagstaff.changes.planned import planned
from flagstaff.exceptions import NoHistoryError
from flagstaff.history.kinds import Kind
from flagstaff.history.versions import version_of

#: The parameter with the path to return to.
BACK = "back"

# Seconds for which a kill waits for the workers.
_KILL_TIMEOUT = 5.0


class _Step(NamedTuple):
    """A change that gives a flag to users, and its words."""

    title: Any
    question: Any
    label: Any
    #: Returns the state afterwards.
    after: Callable[[FlagState], FlagState]
    #: The function of `flagstaff.changes`.
    write: str


_ON = _Step(
    gettext_lazy("Turn on a flag"),
    gettext_lazy("Turn on “%(key)s”?"),
    gettext_lazy("Turn on %(key)s"),
    lambda now: replace(now, enabled=True),
    "enable",
)
_EVERYBODY = _Step(
    gettext_lazy("Release a flag to everybody"),
    gettext_lazy("Release “%(key)s” to everybody?"),
    gettext_lazy("Release %(key)s to everybody"),
    lambda now: FlagState(
        enabled=True,
        rollout_percent=ALL_USERS,
        rules=rules_for_everybody(now.rules),
        bucket_by=now.bucket_by,
    ),
    "release_to_everybody",
)


class TogglePages(Part):
    """Adds the pages."""

    def urls(self) -> Sequence[URLPattern]:
        """The URLs of the pages."""
        return (
            row_path(self.admin, "kill", self.kill_view),
            row_path(self.admin, "turn_on", self.turn_on_view),
            row_path(self.admin, "release", self.release_view),
        )

    def kill_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Turns a flag off for all users, after one question."""
        return self.admin.attributed_view(request, self._toggle, object_id, enabled=False)

    def turn_on_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Turns a flag on, after a page that shows for which users."""
        return self.admin.attributed_view(request, self._toggle, object_id, enabled=True)

    def release_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Gives a flag to all users, also those whom a rule keeps out, after the same page."""
        return self.admin.attributed_view(request, self._release, object_id)

    def _release(self, request: HttpRequest, object_id: str) -> HttpResponse:
        flag = self.admin.get_object(request, unquote(object_id))
        if not may(self.admin.admin_site, request, "change", flag):
            raise PermissionDenied
        page = self._gone(request) if flag is None else self._widen(request, flag, _EVERYBODY)
        return page or HttpResponseRedirect(self._back_url(request, flag))

    def _gone(self, request: HttpRequest) -> HttpResponse:
        self.admin.message_user(request, _("This flag no longer exists."), messages.ERROR)
        return HttpResponseRedirect(page_url(self.admin.admin_site, self.admin.model, "changelist"))

    def _toggle(self, request: HttpRequest, object_id: str, *, enabled: bool) -> HttpResponse:
        flag = self.admin.get_object(request, unquote(object_id))
        if not may_toggle(self.admin, request, flag):
            raise PermissionDenied
        if flag is None:
            return self._gone(request)
        if flag.enabled is not enabled:
            page = self._widen(request, flag, _ON) if enabled else self._kill(request, flag)
            if page is not None:
                return page
        else:
            self._report_unchanged(request, flag)
        return HttpResponseRedirect(self._back_url(request, flag))

    def _kill(self, request: HttpRequest, flag: Any) -> HttpResponse | None:
        if request.method != "POST":
            now = FlagState.of(flag)
            off = replace(now, enabled=False)
            rows = preview(now, off, count_allowed_users(flag), None)
            context = {
                "title": _("Kill a flag"),
                "flagstaff_question": _("Turn off “%(key)s” for all users?") % {"key": flag.key},
                "flagstaff_notes": [_("Its rollout, rules and allowed users stay as they are.")],
                "flagstaff_rows": [row for row in rows if row.now != row.after],
                "flagstaff_label": _("Kill %(key)s") % {"key": flag.key},
                "flagstaff_danger": True,
                # A kill never needs a reason.
                "flagstaff_needs_reason": False,
            }
            return self._ask_first(request, flag, context)
        # Without the version of the page: a kill always wins.
        changed = changes.disable(flag.key)
        self._report_toggled(request, flag, changed, timeout=_KILL_TIMEOUT)
        return None

    def _widen(self, request: HttpRequest, flag: Any, step: _Step) -> HttpResponse | None:
        # The version is read first, so that a change of the shown values is a conflict.
        version = version_of(Kind.FLAG, flag.pk)
        flag.refresh_from_db(from_queryset=all_rows(self.admin.model))
        now = FlagState.of(flag)
        change = planned(flag.key, now, step.after(now))
        problems = problems_of(request, change.text_to_type)
        if problems is None or problems:
            allowed = count_allowed_users(flag)
            context = {
                "title": step.title,
                "flagstaff_question": str(step.question) % {"key": flag.key},
                "flagstaff_rows": preview(change.before, change.after, allowed, change.impact),
                "flagstaff_notes": partial_rule_notices(change.after),
                "flagstaff_label": str(step.label) % {"key": flag.key},
                "flagstaff_version": version_text(version),
                "flagstaff_typed": change.text_to_type,
                "flagstaff_problems": problems,
            }
            return self._ask_first(request, flag, context)
        write: Callable[..., changes.Changed] = getattr(changes, step.write)
        try:
            changed = write(flag.key, expect_version=posted_version(request))
        except NoHistoryError:
            # Without triggers there are no versions to compare; a system check reports that.
            changed = write(flag.key)
        self._report_toggled(request, flag, changed)
        return None

    def _ask_first(
        self, request: HttpRequest, flag: Any, context: Mapping[str, object]
    ) -> HttpResponse:
        page = {
            "flagstaff_back": self._back_url(request, flag),
            **context,
        }
        return self.admin.confirmation(request, flag, page)

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
