"""Unknown keys as rows of the table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.utils.translation import gettext as _

from flagstaff._engine.unknown_keys import OTHER_KEYS, UnknownKey
from flagstaff._extensions import key_is_taken, taken_keys
from flagstaff._words.local_formats import local_number
from flagstaff._words.message import localized
from flagstaff.admin.cells import time_cell
from flagstaff.admin.former_flags import FormerText, former_texts
from flagstaff.admin.links import admin_of, page_url
from flagstaff.admin.unknown_keys.similar import SimilarFlag, similar_flags
from flagstaff.conf import conf
from flagstaff.validators import key_problem


@dataclass(frozen=True)
class UnknownRow:
    """An unknown key in the words of the page."""

    key: str
    count: str
    #: HTML.
    last: str
    first: str
    #: The flag that is probably meant; None if none is similar.
    similar: SimilarFlag | None
    #: About the flag that had the key; None if none had.
    former: FormerText | None
    #: Why no flag can have the key; empty if one can.
    problem: str
    #: The page that adds the flag; empty if the key or the user cannot.
    create_url: str


def unknown_rows(
    site: AdminSite, request: HttpRequest, keys: Sequence[UnknownKey]
) -> list[UnknownRow]:
    """Returns the rows. Makes a number of queries that does not depend on the number of keys."""
    names = [one.key for one in keys]
    taken = taken_keys(names) if names else {}
    former = former_texts(site, request, names)
    similar = similar_flags(site, request, names) if names else {}
    problems = {key: _problem(key, taken.get(key, "")) for key in names}
    add_url = _add_url(site, request)
    return [
        UnknownRow(
            key=one.key,
            count=local_number(one.evaluations),
            last=time_cell(one.last_evaluated_at),
            first=time_cell(one.first_hour),
            similar=similar.get(one.key),
            former=former.get(one.key),
            problem=problems[one.key],
            create_url=_create_url(add_url, one.key) if not problems[one.key] else "",
        )
        for one in keys
    ]


def _create_url(add_url: str, key: str) -> str:
    return add_url and f"{add_url}?{urlencode({'key': key})}"


def _add_url(site: AdminSite, request: HttpRequest) -> str:
    flag_admin = admin_of(site, conf.flag_model)
    if flag_admin is None or not flag_admin.has_add_permission(request):
        return ""
    return page_url(site, conf.flag_model, "add")


def _problem(key: str, kind: str) -> str:
    """Why no flag can have the key."""
    if key == OTHER_KEYS:
        return _(
            "This row counts all keys that look generated, and all keys after the first 1,000 of a "
            "process."
        )
    if kind:
        return localized(key_is_taken(key, kind))
    if problem := key_problem(key):
        return _("No flag can have this key: %(problem)s.") % {"problem": localized(problem)}
    return ""
