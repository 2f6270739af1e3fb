"""Checks of what rows need from the process: keys, groups, and the middleware."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from django.core.checks import CheckMessage, Warning  # noqa: A004
from django.db import Error, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model, QuerySet

from flagstaff._engine.forced_off import VARIABLE, given_keys
from flagstaff._tables.group_fields import readable_groups
from flagstaff._tables.model_fields import BUCKET_BY, RULES, VISITOR, segment_model
from flagstaff._tables.names import user_field
from flagstaff._tables.rows import uncached
from flagstaff._taken_keys import keys_of_apps
from flagstaff._words.rule_parts import reads_groups
from flagstaff._words.text import some
from flagstaff.changes.segment_use import rules_of_apps
from flagstaff.checks.middleware import has_middleware
from flagstaff.conf import conf

_MAX_SHOWN = 3


def row_messages(connection: BaseDatabaseWrapper) -> list[CheckMessage]:
    """Returns the messages about rows."""
    messages: list[CheckMessage] = []
    for check in (_unknown_forced_off_keys, _unreadable_groups, _visitors_without_middleware):
        # W013 reports a table that is missing, W014 one that cannot be read.
        with suppress(Error), transaction.atomic(using=connection.alias):
            messages += check(connection)
    return messages


def _unknown_forced_off_keys(connection: BaseDatabaseWrapper) -> Iterator[CheckMessage]:
    keys = given_keys()
    if not keys:
        return
    existing = {
        *keys_of_apps(keys),
        *_rows(connection, conf.flag_model).values_list("key", flat=True),
    }
    if unknown := [key for key in keys if key not in existing]:
        yield Warning(
            f"{VARIABLE} names flags that do not exist: {some(unknown)}",
            hint="correct the keys, separate them by commas, and restart the process; a flag that "
            "is created later with such a key is forced off, too",
            id="flagstaff.W025",
        )


def _unreadable_groups(connection: BaseDatabaseWrapper) -> Iterator[CheckMessage]:
    why = readable_groups(connection, conf.flag_model, user_field(conf.flag_model).model)
    if isinstance(why, str) and any(map(reads_groups, _all_rules(connection))):
        yield Warning(
            f"workers cannot read the groups of users: {why}; so conditions on groups are false",
            hint='let the function of "ATTRIBUTES" return the names of groups as another '
            "attribute, and change the rules",
            id="flagstaff.W040",
        )


def _visitors_without_middleware(connection: BaseDatabaseWrapper) -> Iterator[CheckMessage]:
    if has_middleware():
        return
    others = [*rules_of_apps()]
    for model in dict.fromkeys(
        [conf.flag_model, conf.value_model, *(row_rules.model for row_rules in others)]
    ):
        rows = _rows(connection, model).filter(**{BUCKET_BY: VISITOR}).order_by("key")
        if pks := [row_rules.pk for row_rules in others if row_rules.model is model]:
            rows = rows.filter(pk__in=pks)
        if shown := some(map(repr, rows.values_list("key", flat=True)), _MAX_SHOWN):
            yield Warning(
                f"bucketed by visitor: {shown}; but no browser has a visitor, because "
                "FlagstaffMiddleware is not in MIDDLEWARE",
                hint='add "flagstaff.middleware.FlagstaffMiddleware" after '
                "AuthenticationMiddleware; if all calls pass the visitor in the context, silence "
                "this with SILENCED_SYSTEM_CHECKS",
                obj=model,
                id="flagstaff.W042",
            )


def _all_rules(connection: BaseDatabaseWrapper) -> Iterator[object]:
    for model, name in (
        (conf.flag_model, RULES),
        (conf.value_model, RULES),
        (segment_model(), "conditions"),
    ):
        yield from _rows(connection, model).values_list(name, flat=True)
    yield from (row_rules.rules for row_rules in rules_of_apps())


def _rows(connection: BaseDatabaseWrapper, model: type[Model]) -> QuerySet[Model]:
    return uncached(QuerySet(model, using=connection.alias))
