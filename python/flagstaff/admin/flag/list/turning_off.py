"""The bulk action that turns flags off, after a confirmation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, pgettext

from flagstaff import changes
from flagstaff._tables.rows import Row
from flagstaff._words.lists import local_list
from flagstaff._words.local_formats import local_number
from flagstaff.admin.confirmation import PreviewRow, problems_of
from flagstaff.admin.flag.list.facts import count_missing
from flagstaff.admin.flag.state import class_and_label
from flagstaff.admin.part import Part
from flagstaff.admin.permissions import may_toggle
from flagstaff.conf import conf
from flagstaff.models import FeatureFlag

#: A person cannot check more flags on one page.
MAX_FLAGS = 100
# Seconds for which the action waits for the workers.
_TIMEOUT = 5.0


class TurningOff(Part):
    """The action. It needs the permission of `has_toggle_permission` of the admin."""

    actions = ("turn_off",)

    @admin.action(
        description=gettext_lazy("Turn off selected %(verbose_name_plural)s"),
        permissions=["toggle"],
    )
    def turn_off(
        self, _admin: object, request: HttpRequest, queryset: QuerySet[FeatureFlag]
    ) -> HttpResponse | None:
        """Asks for a confirmation, and then turns the flags off in one transaction."""
        flags = list(queryset.order_by("key")[: MAX_FLAGS + 1])
        count_missing(flags)
        if len(flags) > MAX_FLAGS:
            text = ngettext(
                "Nothing was changed: select at most %(count)s flag.",
                "Nothing was changed: select at most %(count)s flags.",
                MAX_FLAGS,
            )
            self.admin.message_user(
                request, text % {"count": local_number(MAX_FLAGS)}, messages.ERROR
            )
            return None
        # Checks object permissions.
        if not all(may_toggle(self.admin, request, flag) for flag in flags):
            text = _(
                "Nothing was changed: you may not turn off some of the selected flags. Select only "
                "flags that you may turn off."
            )
            self.admin.message_user(request, text, messages.ERROR)
            return None
        if not any(flag.enabled for flag in flags):
            text = _("Nothing was changed: all selected flags are already off.")
            self.admin.message_user(request, text, messages.WARNING)
            return None
        typed = str(sum(bool(flag.enabled) for flag in flags)) if conf.is_production else ""
        problems = problems_of(request, typed, needs_reason=False)
        if problems is None or problems:
            return self._confirm_off(request, flags, typed, problems)
        self._turn_off(request, flags)
        return HttpResponseRedirect(request.get_full_path())

    def _confirm_off(
        self,
        request: HttpRequest,
        flags: Sequence[FeatureFlag],
        typed: str,
        problems: list[str] | None,
    ) -> TemplateResponse:
        count = sum(bool(flag.enabled) for flag in flags)
        question = ngettext("Turn off %(count)s flag?", "Turn off %(count)s flags?", count)
        label = ngettext("Turn off %(count)s flag", "Turn off %(count)s flags", count)
        number = {"count": local_number(count)}
        posted = [(ACTION_CHECKBOX_NAME, str(flag.pk)) for flag in flags]
        context = {
            "title": _("Turn off flags"),
            "flagstaff_question": question % number,
            "flagstaff_rows": [_preview(flag) for flag in flags],
            "flagstaff_posted": [("action", "turn_off"), *posted],
            "flagstaff_label": label % number,
            "flagstaff_danger": True,
            "flagstaff_typed": typed,
            "flagstaff_problems": problems,
            # Turning flags off never needs a reason.
            "flagstaff_needs_reason": False,
        }
        page = self.admin.confirmation(request, cast("Row", flags[0]), context)
        page.template_name = "flagstaff/turn_off.html"
        return page

    def _turn_off(self, request: HttpRequest, flags: Sequence[FeatureFlag]) -> None:
        with transaction.atomic(using=conf.database):
            # Always in the same order, so that two such transactions cannot deadlock.
            written = [changes.disable(flag.key).written for flag in flags]
        done = [flag for flag, is_new in zip(flags, written, strict=True) if is_new]
        already = [flag for flag, is_new in zip(flags, written, strict=True) if not is_new]
        for flag in done:
            self.admin.log_change(
                request, flag, _("The flag “%(key)s” is now off.") % {"key": flag.key}
            )
        if done:
            text = ngettext(
                "%(count)s flag is now off: %(keys)s.",
                "%(count)s flags are now off: %(keys)s.",
                len(done),
            )
            self.admin.report_applied(request, _named(text, done), timeout=_TIMEOUT)
        if already:
            text = ngettext(
                "%(count)s flag was already off: %(keys)s.",
                "%(count)s flags were already off: %(keys)s.",
                len(already),
            )
            self.admin.message_user(request, _named(text, already), messages.WARNING)


def _preview(flag: FeatureFlag) -> PreviewRow:
    off = pgettext("state of a flag", "off")
    _class, now = class_and_label(flag)
    return PreviewRow(flag.key, now, off if flag.enabled else _("already off"))


def _named(text: str, flags: Sequence[FeatureFlag]) -> str:
    keys = local_list(flag.key for flag in flags)
    return text % {"count": local_number(len(flags)), "keys": keys}
