"""Checks that the groups that rules read exist and can be read."""

from __future__ import annotations

from collections.abc import Iterator

from flagstaff._tables.catalog import find_table, why_hidden
from flagstaff._tables.group_lookup import missing_groups
from flagstaff._tables.groups import GroupFields, NoGroups, UnreadableGroups
from flagstaff._tables.names import group_names
from flagstaff._words.rule_parts import groups_of_conditions, named_groups
from flagstaff._words.similar import with_similar
from flagstaff._words.text import some
from flagstaff.checks.check import Problem
from flagstaff.checks.database import Database, StoredRules
from flagstaff.conf import conf

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


def unreadable_groups_of_users(database: Database) -> Iterator[Problem]:
    """Yields why workers cannot read the groups that rules read."""
    if isinstance(database.groups, UnreadableGroups):
        hint = f"{_HINTS[database.groups.reason]}, {_OTHERWISE}"
        yield _unreadable(database.groups.text, hint)


def unreadable_tables_of_groups(database: Database) -> Iterator[Problem]:
    """Yields that rules read groups, but the engine's role cannot read their tables."""
    names = group_names(database.connection)
    tables = [names[name] for name in ("membership_table", "group_table") if name in names]
    problems = [problem for table in tables for problem in _table_problems(database, table)]
    if problems and database.stored.read_groups:
        yield from problems


def groups_that_do_not_exist(database: Database) -> Iterator[Problem]:
    """Yields that rules name groups that do not exist."""
    if not isinstance(database.groups, GroupFields):
        return
    places = [*_named(database.stored)]
    missing = missing_groups((name for name, _ in places), database.connection.alias)
    unknown = (
        f"{with_similar(name, missing[name])} in {place}"
        for name, place in dict.fromkeys(places)
        if name in missing
    )
    if shown := some(unknown, _MAX_SHOWN):
        yield Problem(f"rules name groups that do not exist: {shown}", conf.flag_model)


def _unreadable(text: str, hint: str) -> Problem:
    text = f"workers cannot read the groups of users: {text}; so conditions on groups are false"
    return Problem(text, conf.flag_model, hint=hint)


def _table_problems(database: Database, name: str) -> Iterator[Problem]:
    """Yields why the role of the connection cannot read a table."""
    table = find_table(database.connection, name)
    if table is None:  # W013
        return
    if not table.may_read:
        text = (
            f'role {table.role} of database "{database.connection.alias}" may not read '
            f"{table.qualified}"
        )
        grant = f"GRANT SELECT ON {table.qualified} TO {table.role};"
        yield _unreadable(text, f"as the owner of the table, run: {grant}")
    elif table.hides_rows:
        text, _, hint = why_hidden(table).partition("; ")
        yield _unreadable(text, hint)


def _named(stored: StoredRules) -> Iterator[tuple[str, str]]:
    """Yields the groups that rules and segments name, each with its place."""
    for owner, rules in stored.rules.items():
        for name, place in named_groups(rules):
            yield name, f"{place} of {owner}"
    for segment, conditions in stored.conditions.items():
        for name in groups_of_conditions(conditions):
            yield name, f"segment {segment!r}"
