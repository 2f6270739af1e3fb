"""The page of stale flags, with a form that snoozes each of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from functools import partial

from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.dateparse import parse_date
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from flagstaff._tables.rows import Row, find_row
from flagstaff._words.times import aware, local_time
from flagstaff.admin.fallbacks import value_or_default
from flagstaff.admin.flag.bulk.page import BACK
from flagstaff.admin.permissions import may
from flagstaff.admin.plain_page import PlainPageAdmin
from flagstaff.admin.views import MAX_REASON_LENGTH, REASON
from flagstaff.cleanup.admin.rows import stale_rows, unknown_lines
from flagstaff.cleanup.admin.snoozing import SNOOZE, action_url
from flagstaff.cleanup.ended import ended_keys, ended_text
from flagstaff.cleanup.models import Snooze
from flagstaff.cleanup.snoozes import end_snooze, snooze
from flagstaff.cleanup.stale import assess_flags
from flagstaff.cleanup.texts import references_command
from flagstaff.conf import conf

# The names of the buttons. Their value is the key of the flag.
_SNOOZE, _END = "_snooze", "_end_snooze"
_DEFAULT_DAYS = 30


class StaleFlagsAdmin(PlainPageAdmin):
    """One page: users who may view flags see it, and those who may change flags can snooze."""

    page_template = "flagstaff/cleanup/stale.html"
    docs_page = "how-to/clean-up/"

    class Media:
        css = {"all": ("flagstaff/admin.css", "flagstaff/cleanup.css")}

    def page_context(self, request: HttpRequest) -> Mapping[str, object]:
        """The tables of stale and of snoozed flags, or why there are none."""
        flags = value_or_default("the page of stale flags cannot list them", assess_flags, None)
        if flags is None:
            return {"problem": _cannot(_("The stale flags cannot be listed."))}
        site = self.admin_site
        stale = stale_rows(site, request, [flag for flag in flags if flag.is_stale])
        today = _today()
        return {
            "days": conf.stale_days,
            "stale": stale,
            "has_owners": any(row.owner for row in stale),
            "has_tags": any(row.tags for row in stale),
            "snoozed": stale_rows(
                site, request, [flag for flag in flags if flag.findings and flag.is_snoozed]
            ),
            "ended": [
                {
                    "text": ended_text(key, date_format),
                    "command": references_command(key.key),
                }
                for key in ended_keys()
            ],
            "unknown": unknown_lines(flags),
            "may_change": may(site, request, "change"),
            "tomorrow": (today + timedelta(days=1)).isoformat(),
            "default_until": (today + timedelta(days=_DEFAULT_DAYS)).isoformat(),
            "max_reason": MAX_REASON_LENGTH,
            "snooze_name": _SNOOZE,
            "end_name": _END,
            "action": SNOOZE.name,
            "action_url": action_url(site, request),
            "action_checkbox": ACTION_CHECKBOX_NAME,
            "action_back": BACK,
        }

    def post_page(self, request: HttpRequest) -> HttpResponse:
        """Snoozes a flag, or ends its snooze."""
        key = request.POST.get(_SNOOZE, request.POST.get(_END, ""))
        row = find_row(conf.flag_model, key)
        if not may(self.admin_site, request, "change", row):
            raise PermissionDenied
        until = _date(request.POST.get("until", ""))
        if row is None:
            self.message_user(request, _("This flag no longer exists."), messages.ERROR)
        elif _END in request.POST:
            value_or_default("a snooze cannot be ended", partial(self._end, request, row), None)
        elif until is None or until <= _today():
            return self._ask_again(request, key)
        else:
            self._snooze(request, row, until)
        return HttpResponseRedirect(request.get_full_path())

    def _ask_again(self, request: HttpRequest, key: str) -> HttpResponse:
        """Shows the page with the form of this flag open, and with what was typed."""
        text = _("Not saved: choose a date in the future.")
        self.message_user(request, text, messages.ERROR)
        refused = {
            "key": key,
            "until": request.POST.get("until", ""),
            "reason": request.POST.get(REASON, ""),
            "problem": text,
        }
        return self.show_page(request, {"refused": refused})

    def _snooze(self, request: HttpRequest, flag: Row, until: date) -> None:
        found = value_or_default("a flag cannot be snoozed", partial(snooze, flag.key, until), None)
        if found is None:
            self.message_user(request, _cannot(_("Not saved.")), messages.ERROR)
            return
        text = _("The flag “%(key)s” is snoozed until %(date)s.")
        self._report(request, found, text % {"key": flag.key, "date": date_format(until)})

    def _end(self, request: HttpRequest, flag: Row) -> None:
        row = Snooze.objects.using(conf.database).filter(flag_pk=str(flag.pk)).first()
        if end_snooze(flag.key) and row is not None:
            text = _("The flag “%(key)s” is no longer snoozed.") % {"key": flag.key}
            self._report(request, row, text)

    def _report(self, request: HttpRequest, row: Snooze, text: str) -> None:
        self.log_change(request, row, text)
        self.message_user(request, text, messages.SUCCESS)


def _cannot(what: str) -> str:
    advice = _(
        "Run “manage.py migrate”, and check that the database user may use the tables of flagstaff."
    )
    return f"{what} {advice}"


def _today() -> date:
    return local_time(aware(timezone.now())).date()


def _date(text: str) -> date | None:
    try:
        return parse_date(text)
    except ValueError:
        return None
