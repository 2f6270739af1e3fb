"""The rows of flags, values and segments: their kinds, their fields, and one by its key.

A field is set by the caller, by Django's clock, or by the database. Other fields hold the groups of
users, or say why a project has none. Projects with a schema for each tenant, by django-tenants or
django-tenant-schemas, see the tables of the tenant, then those of the schema that all tenants
share. Workers read flags and values from the shared schema only.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol, TypeAlias, cast

from django.apps import apps
from django.conf import settings
from django.core.exceptions import FieldDoesNotExist
from django.db import Error, IntegrityError, connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Field, ForeignKey, ManyToManyField, Model, Q, QuerySet
from django.db.models.base import ModelState
from django.db.models.functions import Now
from django.db.models.lookups import IsNull
from django.db.models.options import Options

from flagstaff._connection import is_same_database
from flagstaff._core import is_storable
from flagstaff._declared import DECLARED, Flag, Value, declared_flag, declared_value
from flagstaff._text import Sentence, most_similar, say
from flagstaff.conf import conf
from flagstaff.exceptions import (
    FlagstaffError,
    UnknownFlagError,
    UnknownSegmentError,
    UnknownValueError,
)
from flagstaff.extensions import KEYS

AnyField: TypeAlias = "Field[Any, Any]"

#: The names of some fields of flags and values.
RULES, CONDITIONS = "rules", "conditions"
OWNER, TAGS, REVIEW_ON = "owner", "tags", "review_on"
#: The bucketing unit of a row: what its percentages count.
BUCKET_BY = "bucket_by"
#: The units that are not the name of an attribute.
USER, VISITOR = "user", "visitor"

# The characters of an attribute's name in a label or a sentence.
_MAX_SHOWN = 24


def find_field(model: type[Model], name: str) -> AnyField | None:
    """Returns the field of this name, or None."""
    try:
        return cast("AnyField", model._meta.get_field(name))
    except FieldDoesNotExist:
        return None


def segment_model() -> type[Model]:
    """Returns the model of segments. Looked up, because apps may not be loaded at the import."""
    return apps.get_model("flagstaff", "Segment")


def stored_fields(model: type[Model]) -> list[AnyField]:
    """Returns the fields that are columns of the model's own table."""
    return list(model._meta.local_concrete_fields)


def through_model(field: ManyToManyField[Model, Model]) -> type[Model]:
    """Returns the model of the table between the two models."""
    return cast("type[Model]", field.remote_field.through)


def auto_now_fields(model: type[Model]) -> list[AnyField]:
    """Returns the fields that Django sets to the current time at every save."""
    return [field for field in stored_fields(model) if is_auto_now(field)]


def auto_now_columns(model: type[Model]) -> list[str]:
    """Returns the columns of these fields, unquoted. An update of them alone is no change."""
    return [str(field.column) for field in auto_now_fields(model)]


def fields_to_set(model: type[Model]) -> list[AnyField]:
    """Returns the fields that neither the database nor Django's clock sets, nor the primary key."""
    return [
        field
        for field in stored_fields(model)
        if not (field.primary_key or is_generated(field))
        and not (is_auto_now(field) or is_auto_now_add(field))
    ]


def is_auto_now(field: AnyField) -> bool:
    """Whether Django sets the field to the current time at every save."""
    return bool(getattr(field, "auto_now", False))


def is_auto_now_add(field: AnyField) -> bool:
    """Whether Django sets the field to the current time when a row is created."""
    return bool(getattr(field, "auto_now_add", False))


def is_generated(field: AnyField) -> bool:
    """Whether the database computes the field."""
    return bool(getattr(field, "generated", False))


def short_unit(unit: str) -> str:
    """Returns the name of a unit, without the end of a long one."""
    return unit if len(unit) <= _MAX_SHOWN else f"{unit[: _MAX_SHOWN - 1]}…"


# The groups of users.


@dataclass(frozen=True)
class GroupFields:
    """The fields of memberships and groups. Only these are read."""

    users: type[Model]
    membership: type[Model]
    user: ForeignKey[Model, Model]
    group: ForeignKey[Model, Model]
    #: What `group` refers to, and the name. Both are columns of one table.
    key: AnyField
    name: AnyField


def group_fields(users: type[Model]) -> GroupFields | str:
    """Returns the fields that hold the groups of a user model, or why there are none.

    The model may be one of a migration's state. Does not consider databases and tenants.
    """
    groups = find_field(users, "groups")
    if not isinstance(groups, ManyToManyField):
        return f'{users._meta.label} has no ManyToManyField "groups"'
    membership = through_model(groups)
    user, group = (
        cast("ForeignKey[Model, Model]", membership._meta.get_field(name))
        for name in (groups.m2m_field_name(), groups.m2m_reverse_field_name())
    )
    if user.target_field not in _with_parents(users._meta.pk):
        return f"{membership._meta.label} does not refer to the primary key of the users"
    model = groups.related_model
    name = find_field(model, "name")
    if name is not None and name.concrete and not name.many_to_many:
        for key in _with_parents(group.target_field):
            if key.model._meta.db_table == name.model._meta.db_table:
                return GroupFields(users, membership, user, group, key, name)
    return f'{model._meta.label} has no column "name" in its own table'


def readable_groups(
    connection: BaseDatabaseWrapper, flag_model: type[Model], users: type[Model]
) -> GroupFields | str:
    """Returns the fields of groups that can be read with the flags, or why there are none.

    Does not query. So a missing table or right is no reason.
    """
    fields = group_fields(users)
    if isinstance(fields, str):
        return fields
    with_tenants = shared_schema(connection) is not None
    for model in (fields.membership, fields.name.model):
        # Compared are the databases that are written to: flags may be read from a replica.
        if not is_same_database(router.db_for_write(model), router.db_for_write(flag_model)):
            return f"the table of {model._meta.label} is in another database than the flags"
        if with_tenants and is_of_tenants(model._meta.app_label):
            label = model._meta.label
            return f"each tenant has a table of {label}, and all tenants share the flags"
    return fields


def _with_parents(key: AnyField) -> list[AnyField]:
    """Returns a field, and the keys of the parents of its model that have the same values."""
    keys = [key]
    while getattr(keys[-1].remote_field, "parent_link", False):
        keys.append(cast("ForeignKey[Model, Model]", keys[-1]).target_field)
    return keys


def shared_schema(connection: BaseDatabaseWrapper) -> str | None:
    """Returns the unquoted schema that all tenants share; None without tenants."""
    return _shared_schema() if hasattr(connection, "set_schema_to_public") else None


def is_of_tenants(app: str) -> bool:
    """Whether the schemas of tenants have the tables of the app with this label."""
    names = {*getattr(settings, "TENANT_APPS", ())}
    # In place of TENANT_APPS: the apps of each type of tenants, and of the shared schema.
    for tenant_type, options in getattr(settings, "TENANT_TYPES", {}).items():
        if tenant_type != _shared_schema():
            names.update(options.get("APPS", ()))
    config = apps.get_app_config(app)
    return not names.isdisjoint({config.name, f"{type(config).__module__}.{type(config).__name__}"})


def _shared_schema() -> str:
    return str(getattr(settings, "PUBLIC_SCHEMA_NAME", "public"))


# What a key that no row has raises: the error, its text, and the advice without similar keys.
_UNKNOWN: Mapping[str, tuple[type[FlagstaffError], str, str]] = {
    "flag": (
        UnknownFlagError,
        say("there is no flag {key}; {advice}"),
        say('"manage.py flags list" lists all keys'),
    ),
    "value": (
        UnknownValueError,
        say("there is no value {key}; {advice}"),
        say('"manage.py flags value list" lists all keys'),
    ),
    "segment": (
        UnknownSegmentError,
        say("there is no segment {key}; {advice}"),
        say('"manage.py flags segment list" lists all segments'),
    ),
}

# The keys of a model that messages do not suggest.
_HiddenKeys: TypeAlias = "Callable[[type[Model]], Collection[str]]"
_hidden_keys: ContextVar[_HiddenKeys] = ContextVar("hidden_keys", default=lambda _model: ())

#: An int, a str, a UUID, or what else the field of a project's model reads.
PrimaryKey: TypeAlias = Hashable
#: Values of model fields by name.
Fields: TypeAlias = Mapping[str, Any]

#: What can have a key, in a sentence.
OWNERS = {
    "flag": say("a flag"),
    "value": say("a value"),
    "experiment": say("an experiment"),
}


class Row(Protocol):
    """What flags, values and segments have in common, whichever model the project uses."""

    pk: Any
    key: str
    _state: ModelState

    @property
    def _meta(self) -> Options[Any]: ...
    def delete(self, *, using: str | None = None) -> tuple[int, dict[str, int]]: ...
    def save(
        self,
        *,
        force_insert: bool = False,
        using: str | None = None,
        update_fields: list[str] | None = None,
    ) -> None: ...


class AllowedUsers(Protocol):
    """The manager of the users that a flag refers to."""

    def add(self, *users: object) -> None: ...
    def remove(self, *users: object) -> None: ...
    def using(self, alias: str) -> QuerySet[Any]: ...


class FlagRow(Row, Protocol):
    """A row of FLAG_MODEL."""

    enabled: bool
    rollout_percent: int
    rules: Any
    bucket_by: str

    @property
    def allowed_users(self) -> AllowedUsers: ...


def model_of(row: Row) -> type[Model]:
    """Returns the model of a row."""
    return cast("type[Model]", type(row))


def flag_row(key: str, *, lock: bool = False) -> FlagRow:
    """Returns the flag `key`. With `lock`, it stays locked until the transaction ends.

    Raises UnknownFlagError if there is no such flag.
    """
    return cast("FlagRow", existing_row(conf.flag_model, key, lock=lock))


def similar_key(model: type[Model], key: str) -> Sentence | None:
    """Returns the question whether a row with a similar key is meant; None without one."""
    return _similar(key, _keys(model))


def hidden_keys(model: type[Model]) -> Collection[str]:
    """Returns the keys of a model that messages do not name."""
    return {*_hidden_keys.get()(model)}


@contextmanager
def hiding(hidden_keys: _HiddenKeys) -> Iterator[None]:
    """Suggests none of these keys in messages of the block: a person may not see them."""
    token = _hidden_keys.set(hidden_keys)
    try:
        yield
    finally:
        _hidden_keys.reset(token)


def all_rows(model: type[Model]) -> QuerySet[Any]:
    """Returns all rows, also those that managers of the model hide: evaluations use them too."""
    return uncached(QuerySet(model, using=conf.database))


def uncached(rows: QuerySet[Any]) -> QuerySet[Any]:
    """Returns the same rows, which no query cache serves: triggers and SQL write behind it."""
    # Always true. django-cachalot does not cache a query that depends on the time.
    rows = rows.filter(IsNull(Now(), False))  # noqa: FBT003 (IS NOT NULL)
    # Django sets this for reads before a write, and django-cacheops does not cache them.
    vars(rows)["_for_write"] = True
    return rows


def find_row(model: type[Model], key: str, *, lock: bool = False) -> Row | None:
    """Returns the row of a key, or None. Unlike the error of `flag_row`, None costs one query."""
    rows = all_rows(model)
    rows = rows.select_for_update() if lock else rows
    row: Row | None = rows.filter(key=key).first() if is_storable(key) else None
    return row


def existing_row(model: type[Model], key: str, *, lock: bool = False) -> Row:
    """Returns the row of a key, or what code declares. Raises the error about an unknown key."""
    row = present_row(model, key, lock=lock)
    if row is None:
        raise unknown_row(model, key)
    return row


def present_row(model: type[Model], key: str, *, lock: bool = False) -> Row | None:
    """Returns the row of a key, or else what code declares, or None."""
    return find_row(model, key, lock=lock) or declared_row(model, key)


def is_stored(row: Row) -> bool:
    """Whether there is a row: what code declares need not have one."""
    return not row._state.adding


def declared_row(model: type[Model], key: str) -> Row | None:
    """Returns what code declares for a key, as a row that is not stored; None without it."""
    declared = declaration(model, key)
    if declared is None:
        return None
    fields = (*model._meta.concrete_fields,)
    # Nothing has happened to it; a new row would have the time of the database.
    times = {field.name: None for field in fields if is_auto_now(field) or is_auto_now_add(field)}
    return cast("Row", model(**declared.new_row, **times))


def declaration(model: type[Model], key: str) -> Flag | Value[Any] | None:
    """Returns what code declares for a key of this model, or None."""
    if key not in DECLARED:
        return None
    if model is conf.flag_model:
        return declared_flag(key)
    return declared_value(key) if model is conf.value_model else None


def declared_rows(model: type[Model]) -> list[Any]:
    """Returns what code declares and has no row, as rows that are not stored, by key. One query."""
    keys = [key for key in DECLARED if declaration(model, key) is not None]
    stored = all_rows(model).filter(key__in=keys).values_list("key", flat=True) if keys else ()
    return [declared_row(model, key) for key in sorted({*keys}.difference(stored))]


def store(row: Row) -> bool:
    """Makes the row of a declared key, in the transaction of the caller.

    Returns False if another transaction has made it meanwhile: the row becomes that one, locked.
    """
    try:
        with transaction.atomic(using=conf.database):
            row.save(using=conf.database, force_insert=True)
    except IntegrityError:
        stored = find_row(model_of(row), row.key, lock=True)
        if stored is None:
            raise
        vars(row).update(vars(stored))
        return False
    return True


def unknown_key(key: str) -> UnknownFlagError:
    """Returns the error for a key without a flag, a value or a segment, with similar keys."""
    models = (conf.flag_model, conf.value_model, segment_model())
    keys = [key for model in models for key in _readable_keys(model)]
    advice = _similar(key, keys) or say(
        '"manage.py flags list", "value list" and "segment list" list all keys'
    )
    return UnknownFlagError(
        "there is no flag, value or segment {key}; {advice}", key=repr(key), advice=advice
    )


def case_variants(model: type[Model], key: str) -> list[str]:
    """Returns the other keys that differ from this one only in upper and lower case."""
    if not is_storable(key):
        return []
    variants = all_rows(model).filter(key__iexact=key).exclude(key__in=[key, *hidden_keys(model)])
    return list(variants.order_by("key").values_list("key", flat=True))


def unknown_row(model: type[Model], key: str) -> FlagstaffError:
    """Returns the error for a key without a row, with similar keys. Reads all keys.

    So only for a message that is shown.
    """
    kinds = {segment_model(): "segment", conf.value_model: "value"}
    error, text, others = _UNKNOWN[kinds.get(model, "flag")]
    similar = _similar(key, _keys(model))
    return error(text, key=repr(key), advice=similar or say(others))


def _keys(model: type[Model]) -> list[str]:
    """Returns the keys of rows, and those that code declares, which messages may name."""
    declared = (key for key in DECLARED if declaration(model, key) is not None)
    keys = {*all_rows(model).values_list("key", flat=True), *declared}
    return [*keys.difference(hidden_keys(model))]


def _readable_keys(model: type[Model]) -> list[str]:
    """Returns the keys, or none if the role may not read the table."""
    try:
        with transaction.atomic(using=conf.database):
            return _keys(model)
    except Error:
        return []


def _similar(key: str, keys: list[str]) -> Sentence | None:
    similar = most_similar(key, keys)
    return None if similar is None else say("did you mean {keys}?", keys=repr(similar))


def shown_keys(model: type[Model]) -> list[str]:
    """Returns the keys that messages and pages may name, in order."""
    return sorted(_keys(model))


def with_tags(model: type[Model], tags: Collection[str]) -> Q:
    """Returns the condition of the flags that have all these tags.

    Reads the tags of all flags if the database cannot look into JSON, as SQLite.
    """
    if connections[conf.database].features.supports_json_field_contains:
        return Q(**{f"{TAGS}__contains": list(tags)})
    rows = all_rows(model).values_list("pk", TAGS)
    wanted = set(tags)
    return Q(
        pk__in=[pk for pk, stored in rows if isinstance(stored, list) and _has(stored, wanted)]
    )


def _has(stored: list[object], wanted: set[str]) -> bool:
    # SQL may have written anything into the list.
    return wanted.issubset(tag for tag in stored if isinstance(tag, str))


def taken_keys(new: str, keys: Iterable[str]) -> dict[str, str]:
    """Returns what has each of these keys already: "flag", "value" or "experiment". Few queries.

    `new` is "flag" or "value": what shall have the keys. The column of its own table is unique.
    What code declares has its key without a row, too.
    """
    candidates = {key for key in keys if is_storable(key)}
    kind, model = ("value", conf.value_model) if new == "flag" else ("flag", conf.flag_model)
    of_code = [key for key in candidates if declaration(model, key) is not None]
    taken = {*_keys_of(model, candidates), *of_code}
    return {**dict.fromkeys(taken, kind), **keys_of_apps(candidates)}


def keys_of_apps(keys: Iterable[str]) -> dict[str, str]:
    """Returns what of the apps has each of these keys, such as "experiment". Few queries."""
    candidates = set(keys)
    return {
        key: kind
        for read in KEYS
        for kind, taken in read().items()
        for key in candidates.intersection(taken)
    }


def key_is_taken(key: str, kind: str) -> Sentence:
    """Returns why nothing new can have a key that `taken_keys` has found."""
    return say("{key} is the key of {owner}; choose another key", key=key, owner=OWNERS[kind])


def _keys_of(model: type[Model], keys: set[str]) -> set[str]:
    """Returns those of the keys that rows have; none if the role may not read the table."""
    rows: QuerySet[Model] = QuerySet(model, using=conf.database).filter(key__in=keys)
    try:
        with transaction.atomic(using=conf.database):
            return keys.intersection(rows.values_list("key", flat=True))
    except Error:
        return set()


#: The relation of the entries that hold users instead of rows.
ALLOWED_USERS = "m"


class Kind(Enum):
    """A flag, a value or a segment. The allowed users are part of the flag."""

    FLAG = "flag"
    VALUE = "value"
    SEGMENT = "segment"

    @property
    def relations(self) -> tuple[str, ...]:
        """The relations of all entries about this kind."""
        return _RELATIONS[self]

    @property
    def row_relation(self) -> str:
        """The relation of the entries that hold rows."""
        return self.relations[0]

    @property
    def model(self) -> type[Model]:
        """FLAG_MODEL, VALUE_MODEL or the model of segments."""
        if self is Kind.FLAG:
            return conf.flag_model
        return conf.value_model if self is Kind.VALUE else segment_model()

    def row(self, key: str, *, lock: bool = False) -> Row:
        """Returns the row of a key. Raises the error about an unknown key of this kind."""
        return existing_row(self.model, key, lock=lock)

    def find(self, key: str, *, lock: bool = False) -> Row | None:
        """Returns the row of a key, or None if there is none."""
        return find_row(self.model, key, lock=lock)

    @classmethod
    def of(cls, relation: str) -> Kind:
        """Returns the kind that entries of this relation are about."""
        return next(kind for kind, relations in _RELATIONS.items() if relation in relations)

    @classmethod
    def of_noun(cls, noun: str) -> Kind | None:
        """Returns the kind with this word; None for rows without a history."""
        return next((kind for kind in cls if kind.value == noun), None)

    @classmethod
    def of_model(cls, model: type[Model]) -> Kind | None:
        """Returns the kind whose rows are of this model; None for another model."""
        return next((kind for kind in cls if kind.model is model), None)


_RELATIONS = {Kind.FLAG: ("f", ALLOWED_USERS), Kind.VALUE: ("k",), Kind.SEGMENT: ("s",)}
