"""Notes on settings, URLs and models of a project that matter to an import."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any

from django.conf import settings
from django.db import connections
from django.urls import URLPattern, URLResolver, get_resolver

from flagstaff._connection.vendor import is_postgresql
from flagstaff._tables.optional_fields import RULES
from flagstaff._words.lists import join_some
from flagstaff._words.rule_parts import reads_groups
from flagstaff.checks.database import Database, StoredRules
from flagstaff.checks.groups import (
    unreadable_groups_of_users,
    unreadable_tables_of_groups,
    unwatched_groups,
)
from flagstaff.compat.converting import Converted
from flagstaff.compat.rows import waffle_model
from flagstaff.compat.settings import WAFFLE_KINDS, today, waffle_settings
from flagstaff.conf import conf

_SECONDS_OF_DAY = 86_400
_SETTINGS = {
    "OVERRIDE": "?NAME=1 in a URL turns a flag on in waffle; flag_enabled() does not read it",
    "FLAG_DEFAULT": "a flag without a row is on in waffle; pass default=True to flag_enabled()",
    "SWITCH_DEFAULT": "a switch without a row is on in waffle; pass default=True to flag_enabled()",
    "SAMPLE_DEFAULT": "a sample without a row is on in waffle; pass default=True to flag_enabled()",
    "CREATE_MISSING_FLAGS": "waffle creates a row for each unknown flag; in flagstaff,",
    "CREATE_MISSING_SWITCHES": "waffle creates a row for each unknown switch; in flagstaff,",
    "CREATE_MISSING_SAMPLES": "waffle creates a row for each unknown sample; in flagstaff,",
}
_UNKNOWN = '"manage.py flags usage --unknown" lists such names, and nothing is created'


def import_notes(rows: Sequence[Converted]) -> list[str]:
    """Returns a sentence for each setting, URL and model that matters.

    `rows` are all that were read. Queries the catalog if rules that are written read groups.
    """
    return [
        *_of_settings(),
        *_of_urls(),
        *_of_models(),
        *_of_cookies(rows),
        *_of_groups(rows),
    ]


def _of_settings() -> Iterator[str]:
    for name, text in _SETTINGS.items():
        if _setting(name):
            more = f" {_UNKNOWN}" if name.startswith("CREATE") else ""
            yield f"WAFFLE_{name} is True: {text}{more}"


def _of_urls() -> Iterator[str]:
    has_urls = getattr(settings, "ROOT_URLCONF", None)
    found = {*_waffle_routes(get_resolver().url_patterns)} if has_urls else set()
    if found:
        yield (
            f"the URLs {', '.join(sorted(found))} of waffle show all flags to everybody; the "
            "browser view of flagstaff shows those with client_side: pass --client-side to set it "
            "for all"
        )


def _waffle_routes(patterns: Iterable[Any], prefix: str = "") -> Iterator[str]:
    for one in patterns:
        route = f"{prefix}{one.pattern}"
        if isinstance(one, URLResolver):
            yield from _waffle_routes(one.url_patterns, route)
        elif isinstance(one, URLPattern):
            callback: Any = one.callback
            if getattr(callback, "__module__", "") == "waffle.views":
                yield f"/{route}"


def _of_models() -> Iterator[str]:
    for kind in WAFFLE_KINDS:
        model = waffle_model(kind)
        if model._meta.app_label != "waffle":
            yield f"the {kind}s are rows of {model._meta.label}, a model of this project"


def _of_cookies(rows: Iterable[Converted]) -> Iterator[str]:
    """The day until which browsers should keep the result of a random number."""
    if waffle_settings().keep_cookies_until is not None:
        return
    keys = [one.key for one in rows if one.row.kind == "flag" and _has_percentage(one)]
    if keys:
        days = math.ceil(_setting("MAX_AGE") / _SECONDS_OF_DAY)
        day = today() + timedelta(days=days)
        yield (
            f"if flagstaff serves these flags from today, set KEEP_COOKIES_UNTIL in "
            f'FLAGSTAFF["WAFFLE"] to "{day}", so that browsers keep the results of their '
            f"cookies: {join_some(keys)}"
        )


def _has_percentage(one: Converted) -> bool:
    return one.item is not None and bool(one.row.percent) and one.row.everyone is None


def _setting(name: str) -> Any:
    from waffle.utils import get_setting  # noqa: PLC0415 (the project may have removed it)

    return get_setting(name)


def _of_groups(rows: Iterable[Converted]) -> Iterator[str]:
    """What a new name of a group does, and what the checks of groups will report."""
    read = {
        one.key: rules
        for one in rows
        if one.item and reads_groups(rules := one.item.fields.get(RULES, []))
    }
    if read:
        yield (
            "rules have the names of groups: if a group is renamed, its users lose "
            f"{join_some([*read])} until the next import"
        )
    connection = connections[conf.database]
    if not read or not is_postgresql(connection):
        return
    database = _WithRules(connection, read)
    for check in (unreadable_groups_of_users, unreadable_tables_of_groups, unwatched_groups):
        for problem in check(database):
            yield f'{problem.text}; "manage.py check --database {conf.database}" says what to do'


@dataclass(frozen=True)
class _WithRules(Database):
    """The database as if it had these rules."""

    rules: dict[str, Any]

    @cached_property
    def stored(self) -> StoredRules:
        """The rules."""
        return StoredRules({key: json.dumps(rules) for key, rules in self.rules.items()}, {})
