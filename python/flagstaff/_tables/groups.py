"""The tables that hold the groups of users: which they are, and why a project may have none."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import cast

from django.db import router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import ForeignKey, ManyToManyField, Model

from flagstaff._connection.aliases import is_same_database
from flagstaff._tables.model_fields import AnyField, find_field, through_model
from flagstaff._tables.tenants import is_of_tenants, shared_schema


class NoGroups(Enum):
    """Why the groups of users cannot be read."""

    #: The user model has no ManyToManyField `groups`, as without PermissionsMixin.
    NO_FIELD = "no field"
    #: The model of the groups has no column `name` in the table that the memberships refer to.
    NO_NAME = "no name"
    #: The memberships do not refer to the primary keys of the users.
    NO_PRIMARY_KEY = "no primary key"
    OTHER_DATABASE = "other database"
    #: Each tenant has tables of its own.
    OF_TENANTS = "of tenants"


_TEXTS = {
    NoGroups.NO_FIELD: '{model} has no ManyToManyField "groups"',
    NoGroups.NO_NAME: '{model} has no column "name" in its own table',
    NoGroups.NO_PRIMARY_KEY: "{model} does not refer to the primary key of the users",
    NoGroups.OTHER_DATABASE: "the table of {model} is in another database than the flags",
    NoGroups.OF_TENANTS: "each tenant has a table of {model}, and all tenants share the flags",
}


@dataclass(frozen=True)
class UnreadableGroups:
    """The reason why groups cannot be read, and the model that causes it."""

    reason: NoGroups
    model: type[Model]

    @property
    def text(self) -> str:
        """The reason as the end of a message."""
        return _TEXTS[self.reason].format(model=self.model._meta.label)


@dataclass(frozen=True)
class GroupFields:
    """The fields of memberships and groups. Only these are read."""

    users: type[Model]
    membership: type[Model]
    user: AnyField
    group: ForeignKey[Model, Model]
    #: What `group` refers to, and the name. Both are columns of one table.
    key: AnyField
    name: AnyField

    @property
    def models(self) -> tuple[type[Model], type[Model]]:
        """The models of the two tables."""
        return self.membership, self.name.model


def group_fields(users: type[Model]) -> GroupFields | UnreadableGroups:
    """Returns the fields that hold the groups of a user model, or why there are none.

    The model may be one of a migration's state. Does not consider databases and tenants.
    """
    groups = find_field(users, "groups")
    if not isinstance(groups, ManyToManyField):
        return UnreadableGroups(NoGroups.NO_FIELD, users)
    membership = through_model(groups)
    user = _reference(membership, groups.m2m_field_name())
    group = _reference(membership, groups.m2m_reverse_field_name())
    if not _is_primary_key(user.target_field, users):
        return UnreadableGroups(NoGroups.NO_PRIMARY_KEY, membership)
    model = groups.related_model
    name = find_field(model, "name")
    key = _in_table_of(name, group.target_field) if name and _is_column(name) else None
    if name is None or key is None:
        return UnreadableGroups(NoGroups.NO_NAME, model)
    return GroupFields(users, membership, user, group, key, name)


def unreadable_groups(
    connection: BaseDatabaseWrapper, flag_model: type[Model], users: type[Model]
) -> UnreadableGroups | None:
    """Returns why the groups of a user model cannot be read with the flags; None if they can.

    Does not query. So a missing table or right is no reason.
    """
    fields = group_fields(users)
    if isinstance(fields, UnreadableGroups):
        return fields
    with_tenants = shared_schema(connection) is not None
    for model in fields.models:
        # Compared are the databases that are written to: flags may be read from a replica.
        if not is_same_database(router.db_for_write(model), router.db_for_write(flag_model)):
            return UnreadableGroups(NoGroups.OTHER_DATABASE, model)
        if with_tenants and is_of_tenants(model._meta.app_label):
            return UnreadableGroups(NoGroups.OF_TENANTS, model)
    return None


def _reference(membership: type[Model], name: str) -> ForeignKey[Model, Model]:
    return cast("ForeignKey[Model, Model]", membership._meta.get_field(name))


def _is_column(field: AnyField) -> bool:
    # A relation of another model has no such members.
    return getattr(field, "concrete", False) and not field.many_to_many


def _is_primary_key(field: AnyField, users: type[Model]) -> bool:
    """Whether a field has the same values as the primary key of the users."""
    key: AnyField | None = users._meta.pk
    while key is not None and key != field:
        key = _of_parent(key)
    return key is not None


def _in_table_of(name: AnyField, target: AnyField) -> AnyField | None:
    """Returns the column with the values of `target` in the table of `name`, or None."""
    key: AnyField | None = target
    while key is not None and key.model._meta.db_table != name.model._meta.db_table:
        key = _of_parent(key)
    return key


def _of_parent(key: AnyField) -> AnyField | None:
    """Returns what the key of an inheriting model refers to in the table of its parent."""
    is_link = key.remote_field is not None and getattr(key.remote_field, "parent_link", False)
    return cast("ForeignKey[Model, Model]", key).target_field if is_link else None
