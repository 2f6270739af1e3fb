"""Tells workers of the changes of groups that Django makes: receivers of its signals.

A change by SQL sends none. Workers see it when they next read all members, about every minute.
"""

from __future__ import annotations

import logging
from functools import lru_cache, partial
from itertools import islice
from typing import Any

from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model
from django.db.models.signals import m2m_changed, post_delete, post_save

from flagstaff._connection.aliases import is_same_database
from flagstaff._connection.driver import run
from flagstaff._connection.vendor import is_postgresql
from flagstaff._tables.groups import GroupFields, group_fields, readable_groups
from flagstaff._tables.names import fill, names_of_groups
from flagstaff.conf import conf
from flagstaff.exceptions import FlagstaffError

_logger = logging.getLogger("flagstaff")

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


def connect_group_signals(users: type[Model]) -> None:
    """Connects the receivers for the groups of a user model, if it has groups."""
    fields = group_fields(users)
    if isinstance(fields, str):
        return
    members, group = partial(_members_changed, fields), partial(_group_changed, fields)
    m2m_changed.connect(members, fields.membership, weak=False, dispatch_uid="flagstaff")
    for model in {fields.name.model, fields.group.related_model}:
        for signal in (post_save, post_delete):
            signal.connect(group, model, weak=False, dispatch_uid="flagstaff")


def _members_changed(
    fields: GroupFields, instance: Model, action: str, using: str, **signal: Any
) -> None:
    given = signal["pk_set"]
    if signal["reverse"]:
        group = [fields.group.target_field.value_from_object(instance)]
        if action == "pre_clear":
            _notify(fields, using, _OF_THESE, None, group)
        elif given and action in ("post_add", "post_remove"):
            users = [*map(str, islice(given, _MAX_USERS))]
            _notify(fields, using, _OF_THESE, users, group)
    elif action == "pre_clear":
        # Afterwards, the groups are unknown.
        _notify(fields, using, _OF_ALL_OF_USER, [str(instance.pk)], instance.pk)
    elif given and action in ("post_add", "post_remove"):
        _notify(fields, using, _OF_THESE, [str(instance.pk)], [*given])


def _group_changed(fields: GroupFields, instance: Model, using: str, **signal: Any) -> None:
    # An update may have changed the name, and the one before is unknown.
    is_known = signal.get("created", True)
    names = [fields.name.value_from_object(instance)] if is_known else None
    _notify(fields, using, _OF_ANY_USER, names)


def _notify(fields: GroupFields, using: str, call: str, *parameters: object) -> None:
    """Writes a change token in the transaction of the change, if rules read the groups.

    Nothing that fails here reaches the project: its transaction goes on as before.
    """
    connection = connections[using]
    try:
        if not _are_read_with_flags(connection, fields):
            return
        in_transaction = not connection.get_autocommit()
    except Exception as error:  # noqa: BLE001
        _warn(error)
        return
    # A statement about a savepoint fails only as the project's next statement would.
    if in_transaction:
        run(connection, "SAVEPOINT flagstaff_groups")
    try:
        run(connection, _filled(call, using, fields), parameters)
    except Exception as error:  # noqa: BLE001
        _warn(error)
        if in_transaction:
            run(connection, "ROLLBACK TO SAVEPOINT flagstaff_groups")
    if in_transaction:
        run(connection, "RELEASE SAVEPOINT flagstaff_groups")


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
