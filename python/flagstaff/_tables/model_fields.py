"""Fields of a model by what sets them: the caller, Django's clock, or the database.

Also those that hold the groups of users, and why a project may have none. Projects with a schema
for each tenant, by django-tenants or django-tenant-schemas, see the tables of the tenant, then
those of the schema that all tenants share. Workers read flags and values from the shared schema
only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from django.apps import apps
from django.conf import settings
from django.core.exceptions import FieldDoesNotExist
from django.db import router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Field, ForeignKey, ManyToManyField, Model

from flagstaff._connection import is_same_database

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
