"""The tables of groups: a change of a group that rules read writes a change token."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from flagstaff._tables.catalog import qualified, query_catalog, schema_of, type_of_column
from flagstaff._tables.model_fields import AnyField
from flagstaff._tables.names import (
    fill,
    flag_names,
    names_of_groups,
    segment_names,
    sql,
    user_field,
    value_names,
)
from flagstaff._tables.optional_fields import RULES, FlagModel, value_rule_fields

#: The template of the function and the triggers.
TRIGGERS = "group_triggers_v1"

_COMMENT = re.compile(r"^--.*\n", re.MULTILINE)
# Where the conditions are in the rules of a flag or a value, and in the conditions of a segment.
_IN_RULES, _IN_CONDITIONS = "$[*].conditions[*]", "$[*]"


@dataclass(frozen=True)
class _Index:
    """An index of the groups that a table of flags, values or segments reads. Names are quoted."""

    name: str
    schema: str
    table: str
    document: str
    references: str

    def placeholders(self) -> dict[str, str]:
        """Returns the values of the placeholders in `group_index_v1`."""
        return {
            "index": self.name,
            "index_schema": self.schema,
            "table": self.table,
            "document": self.document,
            "references": self.references,
        }


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
            yield fill(sql("group_index_v1"), index.placeholders())
        yield fill(sql(TRIGGERS), self.placeholders)

    def remove(self) -> Iterator[str]:
        """Yields the statements that drop them."""
        yield fill(sql("drop_group_triggers_v1"), self.placeholders)
        for index in self.indexes:
            yield fill(sql("drop_group_index_v1"), index.placeholders())


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

    The models may be those of a migration's state. `function_schema` is quoted. Queries the
    catalog for the schemas of the tables.
    """
    groups = names_of_groups(connection, user_field(flag_model).model)
    if not groups:
        return None
    flags = flag_names(connection, flag_model)
    values = value_names(connection, value_model)
    segments = segment_names(connection, segment_model)
    names = {**flags, **values, **segments, **groups}
    unqualified = {name: table for name, table in names.items() if name.endswith("_table")}
    names |= {name: qualified(connection, table) for name, table in unqualified.items()}

    def index(name: str, document: str, conditions: str) -> _Index:
        return _Index(
            f"flagstaff_{name}_groups",
            schema_of(connection, unqualified[f"{name}_table"]),
            names[f"{name}_table"],
            names[document],
            _references(names[document], conditions),
        )

    of_flags = index("flag", "flag_rules", _IN_RULES)
    of_values = index("value", "value_rules", _IN_RULES)
    of_segments = index("segment", "segment_conditions", _IN_CONDITIONS)
    names |= {
        "schema": function_schema,
        "flag_references": of_flags.references,
        "value_references": of_values.references,
        "segment_references": of_segments.references,
    }
    # Without a column, there is nothing to index.
    with_rules = {
        of_flags: FlagModel.of(flag_model).has(RULES),
        of_values: bool(value_rule_fields(value_model)),
        of_segments: True,
    }
    indexes = tuple(index for index, is_needed in with_rules.items() if is_needed)
    return WatchedGroups(names["membership_table"], names["group_table"], names, indexes)


def problem_of_rules(
    connection: BaseDatabaseWrapper, flag_model: type[Model], value_model: type[Model]
) -> str | None:
    """Returns why the rules of these models cannot be indexed, and what to do; None if they can."""
    fields = FlagModel.of(flag_model).fields.get(RULES), value_rule_fields(value_model).get(RULES)
    problems = (_problem_of_type(connection, field) for field in fields if field is not None)
    return next(filter(None, problems), None)


def _problem_of_type(connection: BaseDatabaseWrapper, field: AnyField) -> str | None:
    quote = connection.ops.quote_name
    name, column = quote(field.model._meta.db_table), quote(str(field.column))
    found = type_of_column(connection, name, str(field.column))
    if found in (None, "jsonb"):
        return None
    table = qualified(connection, name)
    return (
        f"the column {column} of {table} has the type {found}, but the index that WatchGroups "
        f"creates needs jsonb; run: ALTER TABLE {table} ALTER COLUMN {column} TYPE jsonb "
        f"USING {column}::jsonb;"
    )


def _references(document: str, conditions: str) -> str:
    """Returns the expression that both the index and the queries of the function contain."""
    template = _COMMENT.sub("", sql("group_references_v1")).strip()
    return fill(template, {"document": document, "conditions": conditions})
