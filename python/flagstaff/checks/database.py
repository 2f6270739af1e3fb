"""A database that checks query. What several checks need is read once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from django.db import Error, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model, QuerySet, TextField
from django.db.models.functions import Cast

from flagstaff._tables.bucket_units import BUCKET_BY, USER
from flagstaff._tables.catalog import find_table
from flagstaff._tables.model_fields import RULES, segment_model
from flagstaff._tables.names import own_names
from flagstaff._tables.rows import uncached
from flagstaff._tables.triggers import TriggerHealth, trigger_health
from flagstaff._words.rule_parts import reads_groups
from flagstaff.changes.segment_use import rules_of_apps
from flagstaff.checks.check import Problem
from flagstaff.conf import conf

Texts = dict[str, str]


@dataclass(frozen=True)
class StoredRules:
    """The JSON texts of all rules and of all conditions of segments, by key, as workers read them.

    None for a table that cannot be read, which W013 and W014 report.
    """

    flags: Texts | None
    segments: Texts | None
    values: Texts | None = field(default_factory=dict)
    #: The decoded rules of optional apps, such as those of experiments.
    others: Sequence[object] = ()

    @cached_property
    def rules(self) -> dict[str, object]:
        """The decoded rules by what has them, as "'new_checkout'" or "value 'max_items'"."""
        of_flags = {repr(key): rules for key, rules in _decoded(self.flags).items()}
        of_values = {_of_value(key): rules for key, rules in _decoded(self.values).items()}
        return of_flags | of_values

    @cached_property
    def conditions(self) -> dict[str, object]:
        """The decoded conditions by the key of the segment."""
        return _decoded(self.segments)

    @cached_property
    def read_groups(self) -> bool:
        """Whether a condition is about the groups of users."""
        found = (*self.rules.values(), *self.conditions.values(), *self.others)
        return any(map(reads_groups, found))


@dataclass(frozen=True)
class Database:
    """The database of a connection."""

    connection: BaseDatabaseWrapper

    @cached_property
    def encoding(self) -> str:
        """The encoding of PostgreSQL's texts."""
        with self.connection.cursor() as cursor:
            cursor.execute("SHOW server_encoding")
            return str(cursor.fetchone()[0])

    @cached_property
    def keys(self) -> list[str] | None:
        """The keys of all flags; None if the table cannot be read."""
        return self._keys_of(conf.flag_model)

    @cached_property
    def keys_of_values(self) -> list[str]:
        """The keys of all values; none if the table cannot be read."""
        return self._keys_of(conf.value_model) or []

    def _keys_of(self, model: type[Model]) -> list[str] | None:
        try:
            with transaction.atomic(using=self.connection.alias):
                return list(_with_keys(model, self.connection).values_list("key", flat=True))
        except Error:  # W013 and W014 report it
            return None

    @cached_property
    def units(self) -> dict[str, str]:
        """The bucketing units by flag or value, as in `rules`, without those of users.

        None if they cannot be read.
        """
        units = {repr(key): unit for key, unit in self._units_of(conf.flag_model).items()}
        of_values = self._units_of(conf.value_model)
        return units | {_of_value(key): unit for key, unit in of_values.items()}

    def _units_of(self, model: type[Model]) -> dict[str, str]:
        rows = _with_keys(model, self.connection)
        others = rows.exclude(**{BUCKET_BY: USER})
        try:
            with transaction.atomic(using=self.connection.alias):
                return dict(others.values_list("key", BUCKET_BY))
        except Error:  # W013 and W014
            return {}

    @cached_property
    def stored(self) -> StoredRules:
        """The rules and the conditions."""
        flags = _texts(self.connection, conf.flag_model, RULES)
        values = _texts(self.connection, conf.value_model, RULES)
        segments = _texts(self.connection, segment_model(), "conditions")
        others = [one.rules for one in rules_of_apps()]
        return StoredRules(flags, segments, values, others)

    @cached_property
    def token_schema(self) -> str | None:
        """The quoted schema of the token table; None without the table."""
        tokens = find_table(self.connection, own_names(self.connection)["token_table"])
        return tokens.schema if tokens else None

    @cached_property
    def watched(self) -> list[TriggerHealth]:
        """The state of the triggers of the watched tables that exist. W013 reports missing ones.

        Empty without the token table: no trigger can be installed without it.
        """
        if self.token_schema is None:
            return []
        models = (conf.flag_model, conf.value_model, segment_model())
        return [
            health
            for health in trigger_health(self.connection, *models)
            if find_table(self.connection, health.table.name)
        ]


def unreachable_database(database: Database) -> Iterator[Problem]:
    """Yields why Django cannot connect."""
    try:
        database.connection.ensure_connection()
    except Error as error:
        alias = database.connection.alias
        yield Problem(f'cannot connect to database "{alias}": {str(error).strip()}')


def database_without_engine(database: Database) -> Iterator[Problem]:
    """Yields that the database is not PostgreSQL, so every evaluation is a query."""
    name = database.connection.display_name
    yield Problem(
        f'database "{database.connection.alias}" is {name}: every evaluation is a query, and '
        "there is no history"
    )


def _of_value(key: str) -> str:
    return f"value {key!r}"


def _decoded(texts: Texts | None) -> dict[str, object]:
    return {key: json.loads(text) for key, text in (texts or {}).items()}


def _texts(connection: BaseDatabaseWrapper, model: type[Model], name: str) -> Texts | None:
    """Returns the JSON of a field as workers read it, by key; None if the table is unreadable."""
    text = Cast(name, TextField())
    try:
        with transaction.atomic(using=connection.alias):
            rows = _with_keys(model, connection).values_list("key", text)
            return dict(rows)
    except Error:
        return None


def _with_keys(model: type[Model], connection: BaseDatabaseWrapper) -> QuerySet[Model]:
    rows = uncached(model._base_manager.using(connection.alias))
    return rows.order_by("key")
