"""The lines of the overview: those of workers and unknown keys, and those of the optional apps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial

from django.apps import apps
from django.contrib.admin import AdminSite
from django.db import connections
from django.http import HttpRequest
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from flagstaff._connection.vendor import is_postgresql
from flagstaff._engine.unknown_keys import count_unknown_keys
from flagstaff._extensions import Level, OverviewLine, optional_apps
from flagstaff._words.local_formats import local_number
from flagstaff._workers.overview import worker_overview
from flagstaff._workers.words import state_label, summary
from flagstaff.admin.fallbacks import value_or_default
from flagstaff.admin.links import may_view, page_url
from flagstaff.admin.unknown_keys import DAYS, count_sentence
from flagstaff.conf import conf
from flagstaff.models import ConnectedWorker, UnknownKey

_Read = Callable[[], Sequence[OverviewLine]]

# The days for which unknown keys are counted.
_DAYS = 1


def overview_lines(site: AdminSite, request: HttpRequest) -> list[OverviewLine]:
    """Returns what the user may see, the most urgent first.

    A part that cannot be read is one line that says so.
    """
    lines: list[OverviewLine] = []
    for name, read in _sources(site, request):
        found = value_or_default(f"the overview cannot read: {name}", read, None)
        lines += [_unreadable(name)] if found is None else found
    levels = list(Level)
    # Plans and experiments come before numbers of other things.
    return sorted(lines, key=lambda line: (levels.index(line.level), not line.kind))


def _sources(site: AdminSite, request: HttpRequest) -> Iterator[tuple[str, _Read]]:
    """Yields the name of each part, and what reads it."""
    for app in optional_apps():
        name = str(apps.get_app_config(app.label).verbose_name)
        yield name, partial(app.overview_lines, site, request)
    if not is_postgresql(connections[conf.database]):
        return
    for model, read in ((ConnectedWorker, _workers), (UnknownKey, _unknown_keys)):
        if may_view(site, request, model):
            name = str(capfirst(model._meta.verbose_name_plural))
            yield name, partial(read, name, page_url(site, model, "changelist"))


def _unreadable(name: str) -> OverviewLine:
    text = _("%(name)s: this cannot be read. Run “manage.py migrate”, or read the log.")
    return OverviewLine(name, text % {"name": name}, Level.UNKNOWN)


def _workers(title: str, url: str) -> Sequence[OverviewLine]:
    found = worker_overview(connections[conf.database], with_unlisted=False)
    if not found.behind:
        return ()
    label = state_label(found.is_behind)
    return (OverviewLine(title, summary(found), Level.PROBLEM, url, label),)


def _unknown_keys(title: str, url: str) -> Sequence[OverviewLine]:
    if not (count := count_unknown_keys(timedelta(days=_DAYS))):
        return ()
    text, label = count_sentence(count, _DAYS), local_number(count)
    return (OverviewLine(title, text, Level.NOTICE, f"{url}?{DAYS}={_DAYS}", label),)
