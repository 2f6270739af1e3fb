"""Looks up users: text or primary key to user, and user to name.

Two groups of users, each read from one database:

- `allowed_user_table()`: the model that allowed users refer to, in the flags' database.
- `actor_table()`: AUTH_USER_MODEL, in the database that the project writes its users to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, TypeVar

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import DEFAULT_DB_ALIAS, router
from django.db.models import Field, Func, Model, Q, QuerySet, TextField, Value

from flagstaff._tables.database import Reading, db, user_field
from flagstaff._tables.rows import AnyField, PrimaryKey, find_field, uncached
from flagstaff._text import is_storable, most_similar, say, some
from flagstaff.conf import conf
from flagstaff.exceptions import FlagstaffError, InvalidChangeError

#: Between an operator and the user that the operator acts as, in the actor of an entry.
ACTS_AS = " as "
#: The source of what `loaddata` writes, unless it is attributed: no person has decided it.
LOADDATA = "loaddata"
_DELETED_USER = "a deleted user"
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
    """Removes a user as the actor of rows. Of two users, the other one stays.

    The place of the forgotten one is kept: the change of an operator must not become one of the
    user that the operator acted as. The history has a statement of its own: forget_user_v1.sql.
    """
    rows.filter(actor=pk).update(actor="")
    users = Func("actor", Value(ACTS_AS), function="string_to_array")
    others = Func(users, Value(pk), Value(_DELETED_USER), function="array_replace")
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
