"""The tables of groups: a change of a group that rules read writes a change token."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from flagstaff._tables.catalog import qualified, query_catalog, schema_of, type_of_column
from flagstaff._tables.names import (
    fill,
    flag_names,
    names_of_groups,
    segment_names,
    sql,
    user_field,
)
from flagstaff._tables.optional_fields import RULES, FlagModel

#: The template of the function and the triggers.
TRIGGERS = "group_triggers_v1"

_COMMENT = re.compile(r"^--.*\n", re.MULTILINE)
# Where the conditions are in the rules of a flag, and in the conditions of a segment.
_IN_RULES, _IN_CONDITIONS = "$[*].conditions[*]", "$[*]"


@dataclass(frozen=True)
class _Index:
    """An index of the groups that a table of flags or segments reads. All names are quoted."""

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
    segments = segment_names(connection, segment_model)
    names = {**flags, **segments, **groups}
    names |= {
        name: qualified(connection, table)
        for name, table in names.items()
        if name.endswith("_table")
    }
    of_flags = _Index(
        "flagstaff_flag_groups",
        schema_of(connection, flags["flag_table"]),
        names["flag_table"],
        names["flag_rules"],
        _references(names["flag_rules"], _IN_RULES),
    )
    of_segments = _Index(
        "flagstaff_segment_groups",
        schema_of(connection, segments["segment_table"]),
        names["segment_table"],
        names["segment_conditions"],
        _references(names["segment_conditions"], _IN_CONDITIONS),
    )
    names |= {
        "schema": function_schema,
        "flag_references": of_flags.references,
        "segment_references": of_segments.references,
    }
    return WatchedGroups(
        names["membership_table"],
        names["group_table"],
        names,
        (of_flags, of_segments) if FlagModel.of(flag_model).has(RULES) else (of_segments,),
    )


def problem_of_rules(connection: BaseDatabaseWrapper, flag_model: type[Model]) -> str | None:
    """Returns why the rules of a flag model cannot be indexed, and what to do; None if they can."""
    field = FlagModel.of(flag_model).fields.get(RULES)
    if field is None:
        return None
    names = flag_names(connection, flag_model)
    found = type_of_column(connection, names["flag_table"], str(field.column))
    if found in (None, "jsonb"):
        return None
    table, column = qualified(connection, names["flag_table"]), names["flag_rules"]
    return (
        f"the column {column} of {table} has the type {found}, but the index that WatchGroups "
        f"creates needs jsonb; run: ALTER TABLE {table} ALTER COLUMN {column} TYPE jsonb "
        f"USING {column}::jsonb;"
    )


def _references(document: str, conditions: str) -> str:
    """Returns the expression that both the index and the queries of the function contain."""
    template = _COMMENT.sub("", sql("group_references_v1")).strip()
    return fill(template, {"document": document, "conditions": conditions})
