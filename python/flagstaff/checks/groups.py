"""Checks that the groups that rules read exist, can be read, and are watched."""

from __future__ import annotations

from collections.abc import Iterator

from django.core.checks import CheckMessage, Warning  # noqa: A004
from django.db.backends.base.base import BaseDatabaseWrapper

from flagstaff._tables.catalog import find_table, why_hidden
from flagstaff._tables.group_lookup import missing_groups
from flagstaff._tables.groups import (
    GroupFields,
    NoGroups,
    UnreadableGroups,
    group_fields,
    unreadable_groups,
)
from flagstaff._tables.model_fields import segment_model
from flagstaff._tables.names import group_names, own_names, user_field
from flagstaff._tables.watched_groups import Watch, watch_of, watched_groups
from flagstaff._text.lists import join_some
from flagstaff._text.rule_parts import groups_of_conditions, named_groups, reads_groups
from flagstaff.checks.hints import watch_groups
from flagstaff.checks.stored_rules import StoredRules
from flagstaff.conf import conf

__all__ = ["check_groups", "check_tables_of_groups"]

_MAX_SHOWN = 3
_OTHERWISE = (
    'or let the function of "ATTRIBUTES" return the names of groups as another attribute, and '
    "change the rules"
)
_HINTS = {
    NoGroups.NO_FIELD: "add PermissionsMixin to the bases of your user model",
    NoGroups.NO_NAME: 'add the field "name" to the model of the groups',
    NoGroups.NO_PRIMARY_KEY: "remove to_field from its foreign key to the users",
    NoGroups.OTHER_DATABASE: "write groups and flags to the same database in your router",
    NoGroups.OF_TENANTS: "put the app of this model into SHARED_APPS only",
}


def check_groups(connection: BaseDatabaseWrapper, stored: StoredRules) -> list[CheckMessage]:
    """flagstaff.W039, W040 and W041: what keeps rules from reading groups as they are."""
    if not _reads_groups(stored):
        return []
    users = user_field(conf.flag_model).model
    fields = unreadable_groups(connection, conf.flag_model, users) or group_fields(users)
    if isinstance(fields, UnreadableGroups):
        return [_unreadable(fields.text, f"{_HINTS[fields.reason]}, {_OTHERWISE}")]
    return [*_not_watched(connection, fields), *_not_existing(connection, stored)]


def check_tables_of_groups(connection: BaseDatabaseWrapper) -> list[CheckMessage]:
    """flagstaff.W040: rules read groups, but the engine's role cannot read their tables."""
    names = group_names(connection)
    tables = [names[name] for name in ("membership_table", "group_table") if name in names]
    problems = [problem for table in tables for problem in _problems(connection, table)]
    if not (problems and _reads_groups(StoredRules.read(connection))):
        return []
    return [_unreadable(text, hint) for text, hint in problems]


def _reads_groups(stored: StoredRules) -> bool:
    return any(map(reads_groups, (*stored.rules.values(), *stored.conditions.values())))


def _not_watched(connection: BaseDatabaseWrapper, fields: GroupFields) -> Iterator[CheckMessage]:
    """flagstaff.W039: no trigger notifies workers of changed groups."""
    if connection.vendor != "postgresql":
        return
    tokens = find_table(connection, own_names(connection)["token_table"])
    if tokens is None:  # W013
        return
    found = watched_groups(connection, conf.flag_model, segment_model(), tokens.schema)
    watch = Watch.CURRENT if found is None else watch_of(connection, found)
    if found is None or watch is Watch.CURRENT:
        return
    hint = watch_groups(fields.models, outdated=watch is Watch.OUTDATED)
    if hint:
        yield Warning(
            f"rules read groups, but triggers on {found.membership_table} and {found.group_table} "
            "are missing or outdated, so workers see a change of a group up to five minutes late",
            hint=hint,
            obj=conf.flag_model,
            id="flagstaff.W039",
        )


def _not_existing(connection: BaseDatabaseWrapper, stored: StoredRules) -> Iterator[CheckMessage]:
    """flagstaff.W041: rules name groups that do not exist."""
    places = [*_named(stored)]
    missing = missing_groups((name for name, _ in places), connection.alias)
    shown = [
        f"{name!r} in {place}" + (f" (did you mean {missing[name]!r}?)" if missing[name] else "")
        for name, place in dict.fromkeys(places)
        if name in missing
    ]
    if shown:
        yield Warning(
            f"rules name groups that do not exist: {join_some(shown, _MAX_SHOWN)}",
            hint="no user is in such a group; create it, or correct its name in the rules, which "
            "do not change when a group is renamed",
            obj=conf.flag_model,
            id="flagstaff.W041",
        )


def _unreadable(text: str, hint: str) -> CheckMessage:
    return Warning(
        f"workers cannot read the groups of users: {text}; so conditions on groups are false",
        hint=hint,
        obj=conf.flag_model,
        id="flagstaff.W040",
    )


def _problems(connection: BaseDatabaseWrapper, table: str) -> Iterator[tuple[str, str]]:
    """Yields why the role of the connection cannot read a table, with a hint."""
    found = find_table(connection, table)
    if found is None:  # W013
        return
    if not found.may_read:
        text = f'role {found.role} of database "{connection.alias}" may not read {found.qualified}'
        grant = f"GRANT SELECT ON {found.qualified} TO {found.role};"
        yield text, f"as the owner of the table, run: {grant}"
    elif found.hides_rows:
        text, _, hint = why_hidden(found).partition("; ")
        yield text, hint


def _named(stored: StoredRules) -> Iterator[tuple[str, str]]:
    """Yields the groups that rules and segments name, each with its place."""
    for flag, rules in stored.rules.items():
        for name, place in named_groups(rules):
            yield name, f"{place} of {flag!r}"
    for segment, conditions in stored.conditions.items():
        for name in groups_of_conditions(conditions):
            yield name, f"segment {segment!r}"
