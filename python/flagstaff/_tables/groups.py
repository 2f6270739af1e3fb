"""Groups of users: looks them up by name, and tells workers of changes that Django makes.

A lookup finds nothing where groups cannot be read. A change by SQL sends no signal: workers see it
when they next read all members, about every minute.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial
from itertools import islice
from typing import Any, TypeAlias

from django.db import Error, connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Count, Model, QuerySet
from django.db.models.signals import m2m_changed, post_delete, post_save

from flagstaff._connection import is_postgresql, is_same_database, run, savepoint
from flagstaff._tables.database import db, fill, names_of_groups, user_field
from flagstaff._tables.rows import GroupFields, group_fields, readable_groups, uncached
from flagstaff._text import is_storable, most_similar
from flagstaff.conf import conf
from flagstaff.exceptions import FlagstaffError

# How many names are compared with a misspelt one.
_MAX_COMPARED = 1_000

_logger = logging.getLogger("flagstaff")

# A statement and its parameters.
_Call: TypeAlias = tuple[Any, ...]

# A token has at most 64 pairs of group and user; with more, workers read all members.
_MAX_USERS = 65
# The functions are where the tokens are.
_SCHEMA = """
    SELECT pg_catalog.quote_ident(n.nspname)
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
    WHERE c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass('flagstaff_token')::oid
"""
# The names of the groups, their keys, and those of the users who join or leave; NULL for any.
_OF_ANY_USER = "SELECT {schema}.flagstaff_groups_v1(%s::text[], NULL, NULL)"
_OF_THESE = """
    SELECT {schema}.flagstaff_groups_v1(
        pg_catalog.array_agg({group_name}::text), pg_catalog.array_agg({group_pk}::text), %s::text[]
    )
    FROM {group_table} WHERE {group_pk} OPERATOR(pg_catalog.=) ANY (%s)
    HAVING pg_catalog.count(*) OPERATOR(pg_catalog.>) 0
"""
_OF_ALL_OF_USER = _OF_THESE.replace(
    "ANY (%s)",
    "ANY (SELECT {membership_group} FROM {membership_table} "
    "WHERE {membership_user} OPERATOR(pg_catalog.=) %s)",
)


def missing_groups(names: Iterable[str], database: str) -> dict[str, str | None]:
    """Returns the names that no group has, each with the most similar name or None."""
    wanted = sorted({*names})

    def read(fields: GroupFields) -> Iterator[str]:
        for batch in db.batches(filter(is_storable, wanted)):
            yield from _names(fields, database).filter(**{f"{fields.name.name}__in": batch})

    existing = _found(database, read) if wanted else None
    missing = [] if existing is None else [name for name in wanted if name not in {*existing}]
    known_names = group_names(database, _MAX_COMPARED) if missing else []
    return {name: most_similar(name, known_names) for name in missing}


def group_members(names: Iterable[str], database: str) -> dict[str, int]:
    """Returns the number of members of each of these groups, by name."""
    wanted = sorted({*filter(is_storable, names)})

    def read(fields: GroupFields) -> Iterator[tuple[str, int]]:
        name = f"{fields.group.name}__{fields.name.name}"
        rows = uncached(fields.membership._base_manager.using(database)).order_by()
        members = Count(fields.user.name, distinct=True)
        for batch in db.batches(wanted):
            of_groups = rows.filter(**{f"{name}__in": batch}).values_list(name)
            yield from of_groups.annotate(flagstaff_members=members)

    counts = _found(database, read) if wanted else None
    return {} if counts is None else {name: dict(counts).get(name, 0) for name in wanted}


def group_names(database: str, most: int) -> list[str]:
    """Returns the first names of groups, in order. Makes one query."""
    return _found(database, lambda fields: _names(fields, database)[:most]) or []


def can_read_groups(database: str) -> bool:
    """Whether the project has groups that rules can read. Does not query."""
    return not isinstance(_fields(database), str)


def _names(fields: GroupFields, database: str) -> QuerySet[Model, str]:
    name = fields.name.name
    rows = uncached(fields.name.model._base_manager.using(database)).exclude(**{name: None})
    return rows.order_by(name).values_list(name, flat=True)


def _fields(database: str) -> GroupFields | str:
    users = user_field(conf.flag_model).model
    return readable_groups(connections[database], conf.flag_model, users)


def _found(database: str, read: Callable[[GroupFields], Iterable[Any]]) -> list[Any] | None:
    """Returns what `read` returns; None where groups cannot be read."""
    fields = _fields(database)
    if isinstance(fields, str):
        return None
    try:
        with transaction.atomic(using=database):
            return [*read(fields)]
    except Error:
        return None


def connect_group_signals(users: type[Model]) -> None:
    """Connects the receivers for the groups of a user model, if it has groups."""
    fields = group_fields(users)
    if isinstance(fields, str):
        return
    members, group = partial(_receive, fields, _of_members), partial(_receive, fields, _of_group)
    m2m_changed.connect(members, fields.membership, weak=False, dispatch_uid="flagstaff")
    for model in {fields.name.model, fields.group.related_model}:
        for signal in (post_save, post_delete):
            signal.connect(group, model, weak=False, dispatch_uid="flagstaff")


def _of_members(
    fields: GroupFields, instance: Model, action: str, pk_set: Any = None, **signal: Any
) -> _Call | None:
    """Returns the call for a change of members; None if nothing has changed yet."""
    is_clear = action == "pre_clear"
    if not (is_clear or (pk_set and action in ("post_add", "post_remove"))):
        return None
    # Code of a project may send the signal without `reverse`.
    if signal.get("reverse", isinstance(instance, fields.group.related_model)):
        group = fields.group.target_field.value_from_object(instance)
        users = None if is_clear else [*map(str, islice(pk_set, _MAX_USERS))]
        return _OF_THESE, users, [group]
    user = [str(instance.pk)]
    # After a clear, the groups would be unknown.
    return (_OF_ALL_OF_USER, user, instance.pk) if is_clear else (_OF_THESE, user, [*pk_set])


def _of_group(fields: GroupFields, instance: Model, **signal: Any) -> _Call:
    # An update may have changed the name, and the one before is unknown.
    is_known = signal.get("created", True)
    return _OF_ANY_USER, [fields.name.value_from_object(instance)] if is_known else None


def _receive(
    fields: GroupFields, call_of: Callable[..., _Call | None], using: str = "", **signal: Any
) -> None:
    """Writes a change token in the transaction of the change, if rules read the groups.

    Nothing that fails here reaches the project: its transaction goes on as before.
    """
    try:
        call = call_of(fields, **signal)
        connection = connections[using or router.db_for_write(fields.membership)]
        if call is None or not _are_read_with_flags(connection, fields):
            return
        connection.ensure_connection()
    except Exception as error:  # noqa: BLE001
        _warn(error)
        return
    statement, *parameters = call
    with savepoint(connection) as errors:
        run(connection, _filled(statement, connection.alias, fields), parameters)
    for failed in errors:
        _warn(failed)


def _are_read_with_flags(connection: BaseDatabaseWrapper, fields: GroupFields) -> bool:
    flags = conf.flag_model
    return (
        is_postgresql(connection)
        and is_same_database(connection.alias, router.db_for_write(flags))
        and readable_groups(connection, flags, fields.users) == fields
    )


@lru_cache(maxsize=16)
def _filled(call: str, alias: str, fields: GroupFields) -> str:
    connection = connections[alias]
    for [schema] in run(connection, _SCHEMA):
        return fill(call, {"schema": schema, **names_of_groups(connection, fields)})
    raise FlagstaffError('there is no table flagstaff_token, run "manage.py migrate"')


def _warn(error: Exception) -> None:
    # The other lines quote a part of the statement.
    reason = str(error).partition("\n")[0]
    _logger.warning("workers see a change of groups only within about a minute: %s", reason)
