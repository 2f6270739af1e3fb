"""Whether every watched table has its triggers, as they would be installed today."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from django.core.checks import CheckMessage, Warning  # noqa: A004
from django.db.backends.base.base import BaseDatabaseWrapper

from flagstaff._tables.catalog import Trigger, find_table, triggers_of
from flagstaff._tables.names import own_names, sql
from flagstaff._tables.triggers import WatchedTable, watched_tables
from flagstaff.checks.remedies import installations
from flagstaff.conf import conf

__all__ = ["check_triggers_are_current", "check_triggers_are_there", "check_triggers_fire"]


@dataclass(frozen=True)
class _Table:
    """A watched table, the schema that our functions are in, and the triggers that it has."""

    watched: WatchedTable
    schema: str
    found: dict[str, Trigger]

    def missing(self) -> list[str]:
        """Triggers of which there is no version at all."""
        stems = {_stem(name) for name in self.found}
        return [name for name in _expected() if _stem(name) not in stems]

    def outdated(self) -> list[str]:
        """Triggers that are there, but not as they would be installed now."""
        there = [name for name in _expected() if name not in self.missing()]
        return [name for name in there if not self._is_current(self.found.get(name))]

    def silent(self) -> list[str]:
        """Triggers that do not fire in every session in which they should."""
        return [name for name in _expected() if name in self.found and not _fires(self.found[name])]

    def _is_current(self, trigger: Trigger | None) -> bool:
        if trigger is None:
            return False
        function, told = "flagstaff_token_v1", list[str]()
        if trigger.name != "flagstaff_token_v1":
            function, told = self.watched.history, [*map(_unquoted, self.watched.arguments)]
        there = (trigger.schema, trigger.function, *trigger.arguments)
        return there == (self.schema, function, self.watched.relation, *told)


def check_triggers_are_there(connection: BaseDatabaseWrapper) -> list[CheckMessage]:
    """flagstaff.W015: a watched table lacks triggers."""
    lacking = {table.watched: table.missing() for table in _tables(connection)}
    return [
        Warning(f"triggers are missing: {what}", hint=hint, id="flagstaff.W015")
        for what, hint in _mended(lacking)
    ]


def check_triggers_fire(connection: BaseDatabaseWrapper) -> list[CheckMessage]:
    """flagstaff.W016: a trigger is disabled."""
    lacking = {table.watched: table.silent() for table in _tables(connection)}
    return [
        Warning(f"triggers are disabled: {what}", hint=hint, id="flagstaff.W016")
        for what, hint in _mended(lacking)
    ]


def check_triggers_are_current(connection: BaseDatabaseWrapper) -> list[CheckMessage]:
    """flagstaff.W017: a trigger is not what would be installed now."""
    lacking = {table.watched: table.outdated() for table in _tables(connection)}
    return [
        Warning(f"triggers are outdated: {what}", hint=hint, id="flagstaff.W017")
        for what, hint in _mended(lacking, outdated=True)
    ]


def _mended(
    lacking: dict[WatchedTable, list[str]], *, outdated: bool = False
) -> Iterator[tuple[str, str]]:
    """What is wrong on which tables, and what mends it."""
    wrong = {table: names for table, names in lacking.items() if names}
    # To find out what mends it, all migrations are read.
    mended = installations(wrong, outdated=outdated) if wrong else ()
    for tables, hint in mended:
        named = (f"{_listed(wrong[table])} on {table.table}" for table in tables)
        yield "; ".join(named), hint


def _listed(names: list[str]) -> str:
    return "all" if len(names) == len(_expected()) else ", ".join(names)


def _tables(connection: BaseDatabaseWrapper) -> Iterator[_Table]:
    """The watched tables. None where a table is missing, which W013 tells of."""
    tokens = find_table(connection, own_names(connection)["token_table"])
    if tokens is None:
        return
    for watched in watched_tables(connection, conf.flag_model, conf.value_model):
        if find_table(connection, watched.table):
            yield _Table(watched, tokens.schema, triggers_of(connection, watched.table))


@cache
def _expected() -> tuple[str, ...]:
    return tuple(re.findall(r"^CREATE OR REPLACE TRIGGER (\w+)", sql("triggers_v1"), re.MULTILINE))


@cache
def _always() -> tuple[str, ...]:
    return tuple(re.findall(r"ENABLE ALWAYS TRIGGER (\w+)", sql("triggers_v1")))


def _fires(trigger: Trigger) -> bool:
    return trigger.enabled == "A" if trigger.name in _always() else trigger.enabled in "OA"


def _stem(name: str) -> str:
    return re.sub(r"_v\d+$", "", name)


def _unquoted(name: str) -> str:
    quote = name[0]
    return name[1:-1].replace(quote * 2, quote)
