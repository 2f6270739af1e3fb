"""The health of the triggers on the watched tables. `sql/identify_v1.sql` has the same rules."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from flagstaff._tables.found_triggers import (
    Trigger,
    Triggers,
    triggers_of,
    triggers_of_tables,
)
from flagstaff._tables.names import sql
from flagstaff._tables.watched import WatchedTable, watched_tables

_TOKEN_FUNCTION = "flagstaff_token_v1"  # noqa: S105 (no password)
_TOKEN_TRIGGER = re.compile(r"flagstaff_token_([a-z]+)_")
_TOKEN_FUNCTIONS = re.compile(r"flagstaff_token_v")
# The bits of `Trigger.events`.
_EVENTS = {"INSERT": 4, "UPDATE": 16, "DELETE": 8, "TRUNCATE": 32}
_HISTORY_FUNCTIONS = re.compile(r"flagstaff_(row|allowed_users)_history_v")


@dataclass(frozen=True)
class TriggerHealth:
    """The triggers of flagstaff on one watched table. A missing table has none."""

    table: WatchedTable
    triggers: Triggers
    #: The triggers on the tables that inherit from it, by their quoted names.
    heirs: dict[str, Triggers]

    @property
    def writes_tokens(self) -> bool:
        """Whether every kind of change writes a change token, so that workers see it by the poll.

        A load also reads the rows of tables that inherit from this one.
        """
        families = (self.triggers, *self.heirs.values())
        return not any(
            _events_without_token(trigger for trigger in triggers.values() if trigger.is_original)
            for triggers in families
        )

    def missing(self) -> list[str]:
        """Returns the names of triggers that exist in no version."""
        found = set(map(_without_version, self.triggers))
        return [name for name in expected_triggers() if _without_version(name) not in found]

    def silent_heirs(self) -> dict[str, list[str]]:
        """Returns the inheriting tables, with the kinds of change that fire no token trigger."""
        events = {
            heir: _events_without_token(triggers.values()) for heir, triggers in self.heirs.items()
        }
        return {heir: silent for heir, silent in events.items() if silent}

    def disabled(self) -> list[str]:
        """Returns the names of triggers that do not fire in every session in which they should."""
        return [
            name
            for name in expected_triggers()
            if name in self.triggers and not _fires_as_installed(self.triggers[name])
        ]

    def outdated(self, function_schema: str) -> list[str]:
        """Returns the names of triggers that exist, but not as they would be installed now.

        `function_schema` is the quoted schema of flagstaff's functions.
        """
        missing = self.missing()
        return [
            name
            for name in expected_triggers()
            if name not in missing and not self._is_current(name, function_schema)
        ]

    def _is_current(self, name: str, function_schema: str) -> bool:
        trigger = self.triggers.get(name)
        if trigger is None:
            return False
        function, arguments = self.table.history_function, self.table.arguments
        if found := _TOKEN_TRIGGER.match(name):
            function, arguments = _TOKEN_FUNCTION, self.table.pk_columns
            if trigger.events != _EVENTS[found[1].upper()]:
                return False
        unquoted = map(_unquoted, arguments)
        expected = (function_schema, function, self.table.relation, *unquoted)
        return (trigger.schema, trigger.function, *trigger.arguments) == expected


def trigger_health(
    connection: BaseDatabaseWrapper,
    flag_model: type[Model] | None,
    value_model: type[Model] | None,
    segment_model: type[Model] | None = None,
) -> Iterator[TriggerHealth]:
    """Yields the health of each watched table of these models. Queries the catalog.

    Raises ConfigurationError if a model lacks a required field.
    """
    for table in watched_tables(connection, flag_model, value_model, segment_model):
        found = triggers_of(connection, table.name)
        yield TriggerHealth(table, found.own, found.heirs)


@cache
def expected_triggers(template: str = "triggers_v1") -> tuple[str, ...]:
    """Returns the names of all triggers that a watched table has, in the order of the template."""
    return tuple(re.findall(r"^CREATE OR REPLACE TRIGGER (\w+)", sql(template), re.MULTILINE))


@cache
def _always_firing() -> tuple[str, ...]:
    return tuple(re.findall(r"ENABLE ALWAYS TRIGGER (\w+)", sql("triggers_v1")))


def tables_without_history(connection: BaseDatabaseWrapper, *tables: str) -> list[str]:
    """Returns those of the tables with these quoted names whose changes may leave no entry.

    One query.
    """
    found = triggers_of_tables(connection, tables)
    return [table for table, triggers in found.items() if not _write_history(triggers.own)]


def _write_history(triggers: Triggers) -> bool:
    firing = {
        _without_version(trigger.name)
        for trigger in triggers.values()
        if trigger.fires and trigger.is_original and _HISTORY_FUNCTIONS.match(trigger.function)
    }
    return firing.issuperset(map(_without_version, _history_triggers()))


def _history_triggers() -> list[str]:
    return [name for name in expected_triggers() if not _TOKEN_TRIGGER.match(name)]


def _events_without_token(triggers: Iterable[Trigger]) -> list[str]:
    """Returns the kinds of change after which none of the triggers writes a token in each session.

    A trigger that is not ENABLE ALWAYS is silent in sessions that replicate or restore.
    """
    covered = 0
    for trigger in triggers:
        if trigger.enabled == "A" and _TOKEN_FUNCTIONS.match(trigger.function):
            covered |= trigger.events
    return [event for event, bit in _EVENTS.items() if not covered & bit]


def _fires_as_installed(trigger: Trigger) -> bool:
    return trigger.enabled == "A" if trigger.name in _always_firing() else trigger.fires


def _without_version(name: str) -> str:
    return re.sub(r"_v\d+$", "", name)


def _unquoted(name: str) -> str:
    quote = name[0]
    return name[1:-1].replace(quote * 2, quote)
