"""Looks up users and groups: text or primary key to user, and user to name.

Two kinds of users, each read from one database:

- `allowed_user_table()`: the model that allowed users refer to, in the flags' database.
- `actor_table()`: AUTH_USER_MODEL, in the database that the project writes its users to.

A lookup of groups finds nothing where they cannot be read. Workers are told of the changes of
groups that Django makes. A change by SQL sends no signal: workers see it when they next read all
members, about every minute.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import chain, islice
from typing import Any, TypeAlias, TypeVar

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import DEFAULT_DB_ALIAS, Error, connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Count, Field, Func, Model, Q, QuerySet, TextField, Value
from django.db.models.signals import m2m_changed, post_delete, post_save

from flagstaff._connection import is_postgresql, is_same_database, run, savepoint
from flagstaff._core import is_storable
from flagstaff._tables.database import Reading, db, fill, names_of_groups, user_field
from flagstaff._tables.rows import (
    AnyField,
    GroupFields,
    PrimaryKey,
    find_field,
    group_fields,
    readable_groups,
    uncached,
)
from flagstaff._text import most_similar, say, some
from flagstaff.conf import conf
from flagstaff.exceptions import FlagstaffError, InvalidChangeError

#: Between an operator and the user that the operator acts as, in the actor of an entry.
ACTS_AS = " as "
#: The source of what `loaddata` writes, unless it is attributed: no person has decided it.
LOADDATA = "loaddata"
DELETED_USER = "a deleted user"
_MAX_SHOWN = 5
# How many usernames are compared with a misspelt one.
_MAX_COMPARED = 1_000

T = TypeVar("T")


@dataclass(frozen=True)
class FoundUser:
    """A user that was looked up by text."""

    pk: PrimaryKey
    #: The username, or None if no row has the primary key.
    name: str | None
    #: "primary key", the name of the USERNAME_FIELD, or None if no row has the primary key.
    by: str | None
    #: The user itself, or None if no row has the primary key.
    row: Model | None = field(default=None, compare=False, repr=False)

    def as_dict(self) -> dict[str, object]:
        """Returns a dict for JSON, without the row."""
        return {"pk": self.pk, "name": self.name, "by": self.by}


@dataclass(frozen=True)
class UserTable:
    """The users of a model in one database. Methods query it unless they say otherwise."""

    #: The field that identifies a user: what allowed users refer to, usually the primary key.
    field: AnyField
    database: str

    @property
    def rows(self) -> QuerySet[Model]:
        """All users."""
        return uncached(self.field.model._base_manager.using(self.database))

    @property
    def username_field(self) -> AnyField | None:
        """The model's USERNAME_FIELD, or None if it has no such column."""
        field = find_field(self.field.model, getattr(self.field.model, "USERNAME_FIELD", ""))
        return field if isinstance(field, Field) else None

    def parse(self, value: object) -> PrimaryKey | None:
        """Returns the primary key that `value` stands for, or None if it cannot be one.

        Does not query.
        """
        if isinstance(value, bool | float):
            return None
        try:
            pk: PrimaryKey | None = self.field.to_python(value)
            self.field.run_validators(pk)
        except (ValidationError, TypeError, ValueError, OverflowError):
            return None
        return None if isinstance(pk, str) and not is_storable(pk) else pk

    def parse_canonical(self, text: str) -> PrimaryKey | None:
        """Returns the primary key whose usual spelling is `text`, or None. Does not query.

        "042" is not the usual spelling of the integer 42, so it is taken for a name.
        """
        pk = self.parse(text)
        return None if pk is None or str(pk) != text else pk

    def pk_of(self, user: object) -> PrimaryKey:
        """Returns the primary key of a user object, or of a primary key itself. Does not query.

        Raises InvalidChangeError if `user` is neither.
        """
        if isinstance(user, Model) and not isinstance(user, self.field.model):
            raise InvalidChangeError("a {name} is not a user", name=type(user).__name__)
        value = getattr(user, self.field.attname) if isinstance(user, Model) else user
        pk = self.parse(value)
        if pk is None:
            raise InvalidChangeError(
                "{value} is neither a user nor a primary key of one", value=repr(user)
            )
        return pk

    def pks_of(self, users: object) -> list[PrimaryKey]:
        """Returns the primary keys of one user or of many, without duplicates. Does not query.

        Raises InvalidChangeError as `pk_of` does.
        """
        is_one = isinstance(users, str | Model)
        many = users if isinstance(users, Iterable) and not is_one else [users]
        return list(dict.fromkeys(map(self.pk_of, many)))

    def existing(self, pks: Iterable[PrimaryKey]) -> set[PrimaryKey]:
        """Returns the primary keys that belong to a user."""
        querysets = self._with(self.field, pks)
        return {pk for rows in querysets for pk in rows.values_list(self.field.name, flat=True)}

    def read_existing(self, users: Iterable[object]) -> Reading:
        """Reads which of these users exist; none of what cannot be a primary key."""
        pks = {pk for user in users if (pk := self.parse(user)) is not None}
        rows = yield self.rows.filter(**{f"{self.field.name}__in": pks}).only(self.field.name)
        return {getattr(row, self.field.attname) for row in rows}

    def require(self, pks: Iterable[PrimaryKey]) -> set[PrimaryKey]:
        """Returns the primary keys. Raises InvalidChangeError if no user has one of them."""
        wanted = list(pks)
        existing = self.existing(wanted)
        if missing := [pk for pk in wanted if pk not in existing]:
            raise InvalidChangeError(
                "no user has the primary key {keys}; nothing was changed",
                keys=some(missing, _MAX_SHOWN),
            )
        return existing

    def find(self, text: str) -> FoundUser:
        """Returns the user with this primary key, or else with this username.

        A text that could be a primary key stands for itself if no user has it, because flags are
        evaluated for bare primary keys too. Raises FlagstaffError if there is no such user, or if
        several users share the username.
        """
        pk, username = self.parse(text), self.username_field
        if pk is not None and (user := self.rows.filter(**{self.field.name: pk}).first()):
            return FoundUser(pk, self.name_of(user), "primary key", user)
        if username and (user := self._with_username(username.name, text)):
            found_pk = getattr(user, self.field.attname)
            return FoundUser(found_pk, self.name_of(user), username.name, user)
        if pk is None:
            tried = (
                say("primary key or {field}", field=username.name)
                if username
                else say("primary key")
            )
            is_default = self.database == DEFAULT_DB_ALIAS
            place = "" if is_default else say(' in database "{database}"', database=self.database)
            guess = self.guess(text)
            raise FlagstaffError(
                "no user has the {tried} {text}{place}{guess}",
                tried=tried,
                text=repr(text),
                place=place,
                guess=guess,
            )
        return FoundUser(pk, None, None)

    def find_many(self, texts: Iterable[str]) -> dict[str, PrimaryKey]:
        """Returns primary keys by the text that names the user: primary key or username.

        Texts without a user, and usernames that several users share, are left out.
        """
        wanted = list(dict.fromkeys(texts))
        parsed = {text: pk for text in wanted if (pk := self.parse(text)) is not None}
        existing = self.existing(parsed.values())
        by_text = {text: pk for text, pk in parsed.items() if pk in existing}
        by_username, _shared = self.by_username(text for text in wanted if text not in by_text)
        return {**by_text, **by_username}

    def by_username(self, names: Iterable[str]) -> tuple[dict[str, PrimaryKey], set[str]]:
        """Returns primary keys by username, and separately the usernames that users share."""
        username = self.username_field
        by_name: dict[str, PrimaryKey] = {}
        shared: set[str] = set()
        if username is None:
            return {}, set()
        for rows in self._with(username, [*filter(is_storable, names)]):
            for name, pk in rows.values_list(username.name, self.field.name):
                if by_name.setdefault(name, pk) != pk:
                    shared.add(name)
        return {name: pk for name, pk in by_name.items() if name not in shared}, shared

    def guess(self, text: str) -> str:
        """Returns "; did you mean 'alice'?" for a text that is nearly a username, or ""."""
        similar = self.similar(text)
        return "" if similar is None else say("; did you mean {name}?", name=repr(similar))

    def similar(self, text: str) -> str | None:
        """Returns the username that is most similar to a text, or None.

        Reads at most 1,000 usernames: those with the same first character.
        """
        username = self.username_field
        if username is None or not is_storable(text):
            return None
        rows = self.rows.filter(**{f"{username.name}__istartswith": text[:1]}).order_by()
        names = rows.values_list(username.name, flat=True)[:_MAX_COMPARED]
        return most_similar(text, map(str, names))

    def unique_usernames(self, pks: Iterable[PrimaryKey]) -> dict[PrimaryKey, str]:
        """Returns the usernames of these users, except empty and shared ones."""
        username = self.username_field
        if username is None:
            return {}
        columns = self.field.name, username.name
        pairs = (
            pair for rows in self._with(self.field, pks) for pair in rows.values_list(*columns)
        )
        names = {pk: name for pk, name in pairs if name and isinstance(name, str)}
        shared = set[str]() if username.unique else self.by_username(names.values())[1]
        return {pk: name for pk, name in names.items() if name not in shared}

    def argument_names(self, pks: Iterable[PrimaryKey]) -> dict[PrimaryKey, str]:
        """Returns the usernames that `find_many` reads as these users.

        Left out are names that several users share, that are the primary key of another user, or
        that begin with "-", as options do.
        """
        names = {
            pk: name
            for pk, name in self.unique_usernames(pks).items()
            if not name.startswith("-") and name.isprintable()
        }
        by_name = self.find_many(names.values())
        return {pk: name for pk, name in names.items() if by_name.get(name) == pk}

    def names(self, texts: Iterable[str]) -> dict[str, str]:
        """Returns usernames by the text of the primary key, as the history stores it.

        Of an operator who acted as a user, both: "alice as bob" by "1 as 42".
        """
        wanted = {*texts}
        pairs = {text: text.split(ACTS_AS) for text in wanted if ACTS_AS in text}
        single = [*wanted, *chain.from_iterable(pairs.values())]
        pks = {pk for text in single if (pk := self.parse_canonical(text)) is not None}
        names: dict[str, str] = {}
        for rows in self._with(self.field, pks):
            for user in rows:
                names[str(getattr(user, self.field.attname))] = self.name_of(user)
        for text, pair in pairs.items():
            if not names.keys().isdisjoint(pair):
                names[text] = ACTS_AS.join(names.get(pk, pk) for pk in pair)
        return names

    def name_of(self, user: Model) -> str:
        """Returns the username, or the primary key if the model has no username. Does not query."""
        return str(getattr(user, getattr(user, "USERNAME_FIELD", self.field.attname)))

    def _with(self, field: AnyField, values: Iterable[object]) -> Iterator[QuerySet[Model]]:
        """Yields the users with these values of a field, in as few queries as possible."""
        return (self.rows.filter(**{f"{field.name}__in": batch}) for batch in db.batches(values))

    def _with_username(self, field: str, text: str) -> Model | None:
        users = list(self.rows.filter(**{field: text})[:2]) if is_storable(text) else []
        if len(users) > 1:
            raise FlagstaffError(
                "several users have the {field} {name}; use a primary key",
                field=field,
                name=repr(text),
            )
        return users[0] if users else None


def forget_actor(rows: QuerySet[Any], pk: str) -> None:
    """Replaces a user as the actor of rows by "a deleted user". Of two users, the other one stays.

    Without that, the change of an operator would become one of the user that the operator acted as.
    The history has a statement of its own: forget_user_v1.sql.
    """
    rows.filter(actor=pk).update(actor=DELETED_USER)
    users = Func("actor", Value(ACTS_AS), function="string_to_array")
    others = Func(users, Value(pk), Value(DELETED_USER), function="array_replace")
    text = Func(others, Value(ACTS_AS), function="array_to_string", output_field=TextField())
    pair = Q(actor__startswith=f"{pk}{ACTS_AS}") | Q(actor__endswith=f"{ACTS_AS}{pk}")
    rows.filter(pair).update(actor=text)


def allowed_user_table() -> UserTable:
    """Returns the users that a flag can allow, in the flags' database: foreign keys need them."""
    return UserTable(user_field(conf.flag_model), db.alias)


def actor_table() -> UserTable:
    """Returns the users who change flags: AUTH_USER_MODEL, in the database it is written to."""
    model = get_user_model()
    return UserTable(model._meta.pk, router.db_for_write(model))


# How many names are compared with a misspelt one.

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
