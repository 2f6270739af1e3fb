"""The page of stale flags, and their number on the overview."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.contrib.admin import AdminSite
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.http import HttpRequest
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._tables.rows import uncached
from flagstaff._words.text import local_number
from flagstaff._words.times import local_days
from flagstaff.admin.app_pages import Level, OverviewLine
from flagstaff.admin.cells import as_of
from flagstaff.admin.fallbacks import value_or_default
from flagstaff.admin.links import admin_of, may_view, page_url
from flagstaff.admin.plain_page import PlainPageAdmin
from flagstaff.admin.rights import hidden_rows
from flagstaff.changes.changed import command_line
from flagstaff.conf import conf
from flagstaff.models import StaleCount
from flagstaff.stale.facts import assess_flags
from flagstaff.stale.signals import Assessment
from flagstaff.stale.texts import evidence_of, unknown_lines

# The action that sets a review date.
_ACTION = "details"


class StaleFlagsAdmin(PlainPageAdmin):
    """One page for users who may view flags."""

    page_template = "flagstaff/stale.html"
    docs_page = "how-to/clean-up/"

    class Media:
        css = {"all": ("flagstaff/admin.css", "flagstaff/stale.css")}

    def page_context(self, request: HttpRequest) -> Mapping[str, object]:
        """The tables of stale and of silent flags, or why there are none."""
        flags = value_or_default("the page of stale flags cannot list them", assess_flags, None)
        if flags is None:
            cannot = _("The stale flags cannot be listed.")
            advice = _(
                "Run “manage.py migrate”, and check that the database user may use the tables of "
                "flagstaff."
            )
            return {"problem": f"{cannot} {advice}"}
        site = self.admin_site
        hidden = hidden_rows(site, request, conf.flag_model)
        flags = [flag for flag in flags if flag.facts.pk not in hidden]
        stale = _rows(site, request, [flag for flag in flags if flag.is_stale])
        silent = [flag for flag in flags if flag.findings and flag.is_silent]
        return {
            "days": conf.stale_days,
            "stale": stale,
            "has_owners": any(row.owner for row in stale),
            "has_tags": any(row.tags for row in stale),
            "silent": _rows(site, request, silent),
            "unknown": unknown_lines(flags),
            "action": _ACTION,
            "action_url": _action_url(site, request),
            "action_checkbox": ACTION_CHECKBOX_NAME,
        }


@dataclass(frozen=True)
class _Row:
    """A flag with its signals, as a line of a table."""

    key: str
    #: The page of the flag; empty if the user may not open it.
    url: str
    #: The page that deletes the flag; empty if the user may not delete flags.
    delete_url: str
    #: The primary key, as text.
    pk: str
    evidence: Sequence[str]
    #: For how long the oldest signal has held.
    age: str
    #: The command that prints the places in the code.
    command: str
    owner: str
    tags: str
    review_on: str


def _rows(site: AdminSite, request: HttpRequest, flags: Sequence[Assessment]) -> list[_Row]:
    model, flag_admin = conf.flag_model, admin_of(site, conf.flag_model)
    has_page = may_view(site, request, model)
    may_delete = flag_admin is not None and flag_admin.has_delete_permission(request)
    return [
        _Row(
            key=flag.facts.key,
            url=page_url(site, model, "change", flag.facts.pk) if has_page else "",
            delete_url=page_url(site, model, "delete", flag.facts.pk) if may_delete else "",
            pk=flag.facts.pk,
            evidence=evidence_of(flag),
            age=local_days(max(finding.days for finding in flag.findings)),
            command=command_line("references", flag.facts.key),
            owner=flag.facts.owner,
            tags=", ".join(flag.facts.tags),
            review_on=date_format(flag.facts.review_on) if flag.facts.review_on else "",
        )
        for flag in flags
    ]


def _action_url(site: AdminSite, request: HttpRequest) -> str:
    """Returns where the page posts the action; empty if the user or the model does not have it."""
    flag_admin = admin_of(site, conf.flag_model)
    if flag_admin is None or _ACTION not in flag_admin.get_actions(request):
        return ""
    return page_url(site, conf.flag_model, "changelist")


def stale_lines(title: str, url: str) -> Sequence[OverviewLine]:
    """Returns the line of the overview with the number that run-jobs has counted. One query."""
    stored = uncached(StaleCount.objects.using(conf.database)).first()
    if stored is None:
        text = _("The stale flags have not been counted: run-jobs has not run.")
        return (OverviewLine(title, text, Level.UNKNOWN),)
    if not stored.count:
        return ()
    text = ngettext(
        "%(count)s flag is stale, %(as_of)s.", "%(count)s flags are stale, %(as_of)s.", stored.count
    )
    count = local_number(stored.count)
    text %= {"count": count, "as_of": as_of(stored.at)}
    return (OverviewLine(title, text, Level.NOTICE, url, count),)
