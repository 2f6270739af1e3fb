"""The number of stale flags on the overview."""

from __future__ import annotations

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._extensions import Level, OverviewLine
from flagstaff._tables.rows import uncached
from flagstaff._words.local_formats import local_number
from flagstaff.admin.cells import as_of
from flagstaff.admin.links import may_view, page_url
from flagstaff.cleanup.models import Snooze, StaleCount
from flagstaff.conf import conf


def overview_lines(site: AdminSite, request: HttpRequest) -> list[OverviewLine]:
    """Returns the line, if the user may open the page of stale flags. Makes one query."""
    if not may_view(site, request, Snooze):
        return []
    title = str(capfirst(Snooze._meta.verbose_name_plural))
    stored = uncached(StaleCount.objects.using(conf.database)).first()
    if stored is None:
        text = _("The stale flags have not been counted: run-jobs has not run.")
        return [OverviewLine(title, text, Level.UNKNOWN)]
    if not stored.count:
        return []
    text = ngettext(
        "%(count)s flag is stale, %(as_of)s.", "%(count)s flags are stale, %(as_of)s.", stored.count
    )
    count = local_number(stored.count)
    text %= {"count": count, "as_of": as_of(stored.at)}
    return [OverviewLine(title, text, Level.NOTICE, page_url(site, Snooze, "changelist"), count)]
