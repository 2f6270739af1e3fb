"""The tables of groups: a change of a group that rules read writes a change token."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from flagstaff._tables.catalog import (
    qualified,
    query_catalog,
    schema_of,
    table_exists,
)
from flagstaff._tables.model_fields import RULES, AnyField, find_field
from flagstaff._tables.names import fill, names_of_groups, sql, user_field
from flagstaff.extensions import TABLES

#: The template of the function and the triggers.
TRIGGERS = "group_triggers_v1"

_COMMENT = re.compile(r"^--.*\n", re.MULTILINE)
# Where the conditions are in rules, and in the conditions of a segment.
_IN_RULES, _IN_CONDITIONS = "$[*].conditions[*]", "$[*]"


@dataclass(frozen=True)
class _Index:
    """An index of the groups that the rows of a table read. Names are quoted."""

    name: str
    schema: str
    table: str
    #: The column of the rules or conditions.
    document: str
    references: str

    def fill(self, template: str) -> str:
        """Fills a template that names the index or its table, such as `group_index_v1`."""
        names = {
            "index": self.name,
            "index_schema": self.schema,
            "table": self.table,
            "document": self.document,
            "references": self.references,
        }
        return fill(template, names)


@dataclass(frozen=True)
class WatchedGroups:
    """The tables of memberships and groups, which have triggers, and the indexes that these use."""

    #: Quoted names with their schemas.
    membership_table: str
    group_table: str
    #: The values of the placeholders in `group_triggers_v1`.
    placeholders: dict[str, str]
    indexes: tuple[_Index, ...]

    @property
    def body(self) -> str:
        """The body of the function."""
        return fill(sql(TRIGGERS), self.placeholders).split("$function$")[1]

    def install(self) -> Iterator[str]:
        """Yields the statements that create the indexes, the function and the triggers."""
        for index in self.indexes:
            yield index.fill(sql("group_index_v1"))
        yield fill(sql(TRIGGERS), self.placeholders)

    def remove(self) -> Iterator[str]:
        """Yields the statements that drop them."""
        yield fill(sql("drop_group_triggers_v1"), self.placeholders)
        for index in self.indexes:
            yield index.fill(sql("drop_group_index_v1"))


class Watch(Enum):
    """The health of the triggers of groups."""

    CURRENT = "current"
    #: A trigger is missing, or does not fire in every session.
    INCOMPLETE = "incomplete"
    #: The function is not the one that would be installed now.
    OUTDATED = "outdated"


def watch_of(connection: BaseDatabaseWrapper, watched: WatchedGroups) -> Watch:
    """Returns the health of the triggers of groups. Queries the catalog."""
    [[is_complete, is_current]] = query_catalog(
        connection,
        sql("group_triggers_of_v1"),
        watched.body,
        watched.membership_table,
        watched.group_table,
        f"{watched.placeholders['schema']}.flagstaff_groups_v1()",
    )
    if not is_complete:
        return Watch.INCOMPLETE
    return Watch.CURRENT if is_current else Watch.OUTDATED


def watched_groups(
    connection: BaseDatabaseWrapper,
    flag_model: type[Model],
    value_model: type[Model],
    segment_model: type[Model],
    function_schema: str,
) -> WatchedGroups | None:
    """Returns the tables of groups of the users of a flag model; None if its users have no groups.

    The models may be those of a migration's state; those of optional apps are looked up.
    `function_schema` is quoted. Queries the catalog for the schemas of the tables.
    """
    groups = names_of_groups(connection, user_field(flag_model).model)
    if not groups:
        return None
    fields = {
        "flag": (find_field(flag_model, RULES), _IN_RULES),
        "value": (find_field(value_model, RULES), _IN_RULES),
        "segment": (find_field(segment_model, "conditions"), _IN_CONDITIONS),
    }
    for model in models_with_rules(connection):
        fields[str(model._meta.model_name)] = find_field(model, RULES), _IN_RULES
    # Without a column, there is nothing to index or to look up.
    indexes = tuple(
        _index(connection, f"flagstaff_{name}_groups", field, conditions)
        for name, (field, conditions) in fields.items()
        if field is not None
    )
    tables = {
        name: qualified(connection, groups[name]) for name in ("membership_table", "group_table")
    }
    names = {
        **groups,
        **tables,
        "schema": function_schema,
        "reads_any": _any_reads(indexes, "any_group_read_v1"),
        "reads_concerned": _any_reads(indexes, "concerned_group_read_v1"),
    }
    return WatchedGroups(names["membership_table"], names["group_table"], names, indexes)


def models_with_rules(connection: BaseDatabaseWrapper) -> list[type[Model]]:
    """Returns the models of optional apps that have rules, without those before their migration."""
    quote = connection.ops.quote_name
    found = (model for of_app in TABLES for model in of_app.values() if find_field(model, RULES))
    return [model for model in found if table_exists(connection, quote(model._meta.db_table))]


def _index(connection: BaseDatabaseWrapper, name: str, field: AnyField, conditions: str) -> _Index:
    """Returns the index of the groups that conditions at this path of a JSON field read."""
    quote = connection.ops.quote_name
    table, document = quote(field.model._meta.db_table), quote(str(field.column))
    return _Index(
        name,
        schema_of(connection, table),
        qualified(connection, table),
        document,
        fill(_part("group_references_v1"), {"document": document, "conditions": conditions}),
    )


def _any_reads(indexes: Iterable[_Index], file: str) -> str:
    """Returns the condition that a row of one of these tables reads a group."""
    return " OR ".join(index.fill(_part(file)) for index in indexes)


def _part(file: str) -> str:
    """Returns a file that is a part of a statement, without its comment."""
    return _COMMENT.sub("", sql(file)).strip()
