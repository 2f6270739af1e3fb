"""The action that snoozes several flags, on the list of flags and on the page of stale flags."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib.admin import AdminSite
from django.db.models import Q
from django.http import HttpRequest
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext_lazy

from flagstaff._tables.rows import Row
from flagstaff.admin.flag.bulk.actions import NONE, BulkAction, Data, Text
from flagstaff.admin.flag.bulk.forms import DateForm
from flagstaff.admin.links import admin_of, page_url
from flagstaff.cleanup.admin.rows import evidence_of
from flagstaff.cleanup.flag_rows import Selection
from flagstaff.cleanup.snoozes import snooze
from flagstaff.cleanup.stale import assess_flags
from flagstaff.conf import conf


def _cells(flags: Sequence[Any]) -> list[dict[Text, str]]:
    """The evidence, and the date of a present snooze. A few queries for all flags."""
    found = assess_flags(selection=Selection(Q(), pks=[flag.pk for flag in flags]))
    by_pk = {one.facts.pk: one for one in found}
    cells = []
    for flag in flags:
        one = by_pk.get(str(flag.pk))
        until = one.facts.snoozed_until if one is not None and one.is_snoozed else None
        evidence = "; ".join(evidence_of(one)) if one is not None else ""
        cells.append(
            {
                _("Evidence"): evidence or NONE,
                _("Snoozed until"): NONE if until is None else date_format(until),
            }
        )
    return cells


def _write(row: Row, data: Data) -> None:
    snooze(row.key, data["until"])


def _log(key: str, data: Data) -> str:
    text = _("The flag “%(key)s” is snoozed until %(date)s.")
    return text % {"key": key, "date": date_format(data["until"])}


SNOOZE = BulkAction(
    name="snooze",
    label=gettext_lazy("Snooze selected %(verbose_name_plural)s"),
    title=gettext_lazy("Snooze flags"),
    cells=_cells,
    write=_write,
    form=DateForm,
    # It changes no flag.
    needs_reason=False,
    question=ngettext_lazy(
        "%(count)s flag is left out of “Stale flags” until the date.",
        "%(count)s flags are left out of “Stale flags” until the date.",
        "count",
    ),
    done=ngettext_lazy(
        "%(count)s flag is snoozed: %(keys)s.", "%(count)s flags are snoozed: %(keys)s.", "count"
    ),
    log=_log,
)


def action_url(site: AdminSite, request: HttpRequest) -> str:
    """Returns where a page can post the action; empty if the user does not have it there."""
    flag_admin = admin_of(site, conf.flag_model)
    if flag_admin is None or SNOOZE.name not in flag_admin.get_actions(request):
        return ""
    return page_url(site, conf.flag_model, "changelist")
