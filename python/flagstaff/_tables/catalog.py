"""Tables in PostgreSQL's catalog, and the triggers of flagstaff that the watched ones have.

Table names are resolved by the search path. Each change of a watched table writes a change token
and entries of the history. `sql/identify_v1.sql` has the same rules for tokens.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from flagstaff._connection import is_postgresql
from flagstaff._tables.database import flag_names, segment_names, sql, value_names
from flagstaff._tables.rows import auto_now_columns
from flagstaff._text import Sentence, say
from flagstaff.validators import SECRET_FIELDS

# Functions and operators are schema-qualified: others in the search path could match the arguments
# better, and would run with our privileges.
_CURRENT_SCHEMA = "SELECT pg_catalog.quote_ident(pg_catalog.current_schema())"
_FIND_TABLES = """
    SELECT
        given.name,
        pg_catalog.quote_ident(nspname),
        pg_catalog.concat(
            pg_catalog.quote_ident(nspname), '.', pg_catalog.quote_ident(relname)
        ),
        pg_catalog.has_table_privilege(c.oid, 'SELECT'),
        pg_catalog.quote_ident(current_user),
        pg_catalog.row_security_active(c.oid),
        pg_catalog.has_schema_privilege('public', n.oid, 'CREATE'),
        pg_catalog.quote_ident(r.rolname),
        c.relforcerowsecurity AND c.relrowsecurity AND NOT (r.rolsuper OR r.rolbypassrls),
        c.oid
    FROM pg_catalog.unnest(%s::text[]) AS given (name)
    JOIN pg_catalog.pg_class AS c
        ON c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(given.name)::oid
    JOIN pg_catalog.pg_roles AS r ON r.oid OPERATOR(pg_catalog.=) c.relowner
    JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
"""
_FOREIGN_OBJECTS = """
    SELECT
        pg_catalog.concat(
            pg_catalog.quote_ident(n.nspname), '.', pg_catalog.quote_ident(o.name)
        ),
        pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(o.owner)),
        pg_catalog.quote_ident(current_user)
    FROM (
        SELECT relname AS name, relowner AS owner, relnamespace AS namespace
        FROM pg_catalog.pg_class
        UNION ALL
        SELECT proname, proowner, pronamespace FROM pg_catalog.pg_proc
    ) AS o
    JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) o.namespace
    WHERE pg_catalog.quote_ident(n.nspname) OPERATOR(pg_catalog.=) %s
        AND o.name::text OPERATOR(pg_catalog.=) ANY (%s)
        AND pg_catalog.pg_get_userbyid(o.owner) OPERATOR(pg_catalog.<>) current_user
        AND pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(o.owner)) OPERATOR(pg_catalog.<>) %s
    ORDER BY 1
"""


@dataclass(frozen=True)
class FoundTable:
    """A table that exists."""

    #: The quoted name of its schema, and its quoted name with the schema.
    schema: str
    qualified: str
    may_read: bool
    #: The quoted name of the current role, to which `may_read` and `hides_rows` apply.
    role: str
    #: Whether row level security can hide rows.
    hides_rows: bool
    #: Whether every role may create objects in the schema.
    open_schema: bool
    #: The quoted name of its owner, and whether row level security can hide rows from it.
    owner: str
    hides_rows_from_owner: bool
    oid: int


@dataclass(frozen=True)
class ForeignObject:
    """A table, an index or a function of another role, with the name of one of ours."""

    #: Its quoted name with the schema, the quoted name of its owner, and that of the current role.
    qualified: str
    owner: str
    role: str


def current_schema(connection: BaseDatabaseWrapper) -> str:
    """Returns the quoted schema in which a new table is created, or "" without one."""
    for [schema] in query_catalog(connection, _CURRENT_SCHEMA):
        return str(schema or "")
    return ""


def why_unavailable(connection: BaseDatabaseWrapper, *tables: str) -> Sentence | None:
    """Returns why not all rows of the tables with these quoted names can be read, or None.

    One query.
    """
    by_name = find_tables(connection, *tables) if is_postgresql(connection) else {}
    for table in tables:
        if table not in by_name:
            return say('use PostgreSQL and run "manage.py migrate"')
        if by_name[table].hides_rows:
            return why_hidden(by_name[table])
    return None


def why_hidden(table: FoundTable) -> Sentence:
    """Returns that row level security can hide rows from the current role, and what to do."""
    return say(
        "row level security can hide rows of {table} from role {role}; as the owner of the table, "
        "run: ALTER TABLE {table} DISABLE ROW LEVEL SECURITY; or as a superuser: ALTER ROLE "
        "{role} BYPASSRLS;",
        table=table.qualified,
        role=table.role,
    )


def find_table(connection: BaseDatabaseWrapper, table: str) -> FoundTable | None:
    """Returns the table with this quoted name, or None."""
    return find_tables(connection, table).get(table)


def find_tables(connection: BaseDatabaseWrapper, *tables: str) -> dict[str, FoundTable]:
    """Returns those of the tables with these quoted names that exist, by name. One query."""
    rows = query_catalog(connection, _FIND_TABLES, [*tables])
    return {name: FoundTable(*row) for name, *row in rows}


def qualified(connection: BaseDatabaseWrapper, table: str) -> str:
    """Returns a quoted name with its schema: where the table is, or where it would be created."""
    if existing := find_table(connection, table):
        return existing.qualified
    return table if '"."' in table else f"{current_schema(connection)}.{table}"


def foreign_objects(
    connection: BaseDatabaseWrapper, schema: str, names: Collection[str], *, trusted: str = ""
) -> list[ForeignObject]:
    """Returns objects with these names that belong neither to the current role nor to `trusted`.

    `schema` and `trusted` are quoted, `names` are not.
    """
    rows = query_catalog(connection, _FOREIGN_OBJECTS, schema, [*names], trusted)
    return [ForeignObject(*row) for row in rows]


def query_catalog(
    connection: BaseDatabaseWrapper, query: str, *parameters: str | list[str]
) -> list[tuple[Any, ...]]:
    """Returns the rows of a query."""
    with connection.cursor() as cursor:
        cursor.execute(query, parameters or None)
        return list(cursor.fetchall())


# The watched tables and their triggers.

# Of flags, values and segments: what reads their names, the prefix of these, the relation, and the
# columns that are masked of a secret value, as the text of an array.
_KINDS = (
    (flag_names, "flag", "f", "''"),
    (value_names, "value", "k", "'{" + ",".join(SECRET_FIELDS) + "}'"),
    (segment_names, "segment", "s", "''"),
)
_TOKEN_FUNCTION = "flagstaff_token_v1"  # noqa: S105 (no password)
_TOKEN_FUNCTIONS = re.compile(r"flagstaff_token_v")
_TOKEN_TRIGGER = re.compile(r"flagstaff_token_([a-z]+)_")
_HISTORY_FUNCTIONS = re.compile(r"flagstaff_(row|allowed_users)_history_v")
# The bits of `Trigger.events`.
_EVENTS = {"INSERT": 4, "UPDATE": 16, "DELETE": 8, "TRUNCATE": 32}


@dataclass(frozen=True)
class WatchedTable:
    """A watched table. All names are quoted, so that they can be put into a statement."""

    #: The table as the model names it, and with its schema.
    name: str
    table: str
    #: The relation of its tokens and entries: f, m, k or s.
    relation: str
    #: The columns of the primary key, or of the pair of flag and user.
    pk_columns: tuple[str, ...]
    #: The function of the history triggers, and its arguments after the relation.
    history_function: str
    arguments: tuple[str, ...]

    def placeholders(self) -> dict[str, str]:
        """Returns the values of the placeholders in the SQL of its triggers."""
        return {
            "table": self.table,
            "relation": self.relation,
            "pk_columns": ", ".join(self.pk_columns),
            "history_function": self.history_function,
            "arguments": ", ".join(self.arguments),
        }


def watched_tables(
    connection: BaseDatabaseWrapper,
    flag_model: type[Model] | None,
    value_model: type[Model] | None,
    segment_model: type[Model] | None = None,
) -> Iterator[WatchedTable]:
    """Yields the watched tables of these models, which may be models of a migration's state.

    Queries the catalog for their schemas.
    """
    models = (flag_model, value_model, segment_model)
    for model, (names_of, kind, relation, masked) in zip(models, _KINDS, strict=True):
        if model is None:
            continue
        names = names_of(connection, model)
        name, pk, key = (names[f"{kind}_{part}"] for part in ("table", "pk", "key"))
        yield WatchedTable(
            name,
            qualified(connection, name),
            relation,
            (pk,),
            "flagstaff_row_history_v1",
            (pk, key, masked, *map(connection.ops.quote_name, auto_now_columns(model))),
        )
        if kind == "flag":
            yield _allowed_users(connection, names)


def _allowed_users(connection: BaseDatabaseWrapper, names: dict[str, str]) -> WatchedTable:
    name = names["allowed_users_table"]
    flag_table = qualified(connection, names["flag_table"]).replace("'", "''")
    pair = (names["allowed_users_flag"], names["allowed_users_user"])
    return WatchedTable(
        name,
        qualified(connection, name),
        "m",
        pair,
        "flagstaff_allowed_users_history_v1",
        (*pair, f"'{flag_table}'", names["flag_pk"], names["flag_key"]),
    )


@dataclass(frozen=True)
class Trigger:
    """A trigger of flagstaff that exists."""

    name: str
    #: When it fires: O in ordinary sessions, R in replicating ones, A in both, D in none.
    enabled: str
    #: The bits of the events after which it fires once for each statement, whatever that changes.
    events: int
    #: The quoted schema of its function, and the name of the function.
    schema: str
    function: str
    arguments: tuple[str, ...]
    #: Whether the function, and the one that it calls, are those that were installed.
    is_original: bool


#: By name.
Triggers: TypeAlias = dict[str, Trigger]


@dataclass(frozen=True)
class FamilyTriggers:
    """The triggers of flagstaff on a table and on those that inherit from it."""

    own: Triggers
    #: By the quoted name of the table with its schema. Partitions are included.
    heirs: dict[str, Triggers]

    @property
    def write_tokens(self) -> bool:
        """Whether every kind of change writes a change token, so that workers see it by the poll.

        A load also reads the rows of tables that inherit from this one.
        """
        return all(
            _write_tokens(triggers.values()) for triggers in (self.own, *self.heirs.values())
        )

    @property
    def write_history(self) -> bool:
        """Whether every change of the table itself leaves an entry."""
        firing = {
            _without_version(trigger.name)
            for trigger in self.own.values()
            if trigger.enabled in {"A", "O"}
            and trigger.is_original
            and _HISTORY_FUNCTIONS.match(trigger.function)
        }
        history = (name for name in expected_triggers() if not _TOKEN_TRIGGER.match(name))
        return firing.issuperset(map(_without_version, history))

    def are_as_installed(self, table: WatchedTable, function_schema: str) -> bool:
        """Whether all triggers of a watched table are enabled and as they would be installed now.

        `function_schema` is the quoted schema of flagstaff's functions.
        """
        return all(
            name in self.own and _is_as_installed(self.own[name], table, function_schema)
            for name in expected_triggers()
        )


def triggers_of(
    connection: BaseDatabaseWrapper, tables: Collection[str]
) -> dict[str, FamilyTriggers]:
    """Returns the triggers of each of the tables with these quoted names. One query.

    A table that is missing has none.
    """
    families = {table: FamilyTriggers({}, {}) for table in tables}
    for table, member, is_heir, name, *trigger in query_catalog(
        connection, sql("triggers_of_v1"), [*tables]
    ):
        family = families[table]
        triggers = family.heirs.setdefault(member, {}) if is_heir else family.own
        if name is not None:
            enabled, events, schema, function, packed, is_original = trigger
            # Each argument ends with a zero byte.
            arguments = bytes(packed).decode(errors="replace").split("\0")[:-1]
            triggers[name] = Trigger(
                name, enabled, events, schema, function, (*arguments,), is_original
            )
    return families


@cache
def expected_triggers() -> tuple[str, ...]:
    """Returns the names of all triggers that a watched table has, in the order of the templates."""
    templates = sql("token_trigger_v1") + sql("history_triggers_v1")
    return tuple(re.findall(r"^CREATE OR REPLACE TRIGGER (\w+)", templates, re.MULTILINE))


def _write_tokens(triggers: Iterable[Trigger]) -> bool:
    """Whether the triggers write a token after every kind of change and in each session.

    A trigger that is not ENABLE ALWAYS is silent in sessions that replicate or restore.
    """
    covered = 0
    for trigger in triggers:
        is_ours = trigger.is_original and _TOKEN_FUNCTIONS.match(trigger.function)
        if is_ours and trigger.enabled == "A":
            covered |= trigger.events
    return all(covered & bit for bit in _EVENTS.values())


def _is_as_installed(trigger: Trigger, table: WatchedTable, function_schema: str) -> bool:
    if match := _TOKEN_TRIGGER.match(trigger.name):
        function, arguments, enabled = _TOKEN_FUNCTION, table.pk_columns, {"A"}
        if trigger.events != _EVENTS[match[1].upper()]:
            return False
    else:
        function, arguments, enabled = table.history_function, table.arguments, {"A", "O"}
    expected = (function_schema, function, table.relation, *map(_unquoted, arguments))
    is_same = (trigger.schema, trigger.function, *trigger.arguments) == expected
    return is_same and trigger.enabled in enabled and trigger.is_original


def _without_version(name: str) -> str:
    return re.sub(r"_v\d+$", "", name)


def _unquoted(name: str) -> str:
    quote = name[0]
    return name[1:-1].replace(quote * 2, quote)
