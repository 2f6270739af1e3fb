"""The receivers that write changes of rows to our flags."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Any

from django.apps import apps
from django.db.models import Model
from django.db.models.signals import (
    m2m_changed,
    post_delete,
    post_migrate,
    post_save,
    pre_migrate,
)

from flagstaff.contrib.waffle import writing
from flagstaff.contrib.waffle.migrated import after_migration, before_migration
from flagstaff.contrib.waffle.shown_columns import (
    changed_columns,
    evaluates_itself,
    remember_saved,
    stored_name,
)
from waffle import get_waffle_flag_model
from waffle.models import BaseModel

_UID = "flagstaff.contrib.waffle"
# What a relation had before it was cleared, remembered in the instance.
_CLEARED = "_flagstaff_cleared"


def connect() -> None:
    """Connects the receivers for waffle's models and those of the project in their place."""
    for model in apps.get_models(include_swapped=True):
        if not issubclass(model, BaseModel):
            continue
        # Before a test replaces one of its methods.
        evaluates_itself(model)
        post_save.connect(_row_saved, model, dispatch_uid=_UID)
        post_delete.connect(_row_deleted, model, dispatch_uid=_UID)
        for relation in model._meta.many_to_many:
            through = relation.remote_field.through
            # A model that another one replaces has none, and no sender means all senders.
            if through is None:
                continue
            receiver = partial(_membership_changed, flag_model=model, relation=relation.name)
            m2m_changed.connect(receiver, through, weak=False, dispatch_uid=_UID)
    pre_migrate.connect(before_migration, dispatch_uid=_UID)
    post_migrate.connect(after_migration, dispatch_uid=_UID)


def write_new(row: Any, using: str) -> None:
    """Writes the flag of a row that was created."""
    if writing.is_written(type(row), row.KIND):
        writing.write(using, writing.write_created, row.KIND, row.name, using)
    remember_saved(row, None)


def _row_saved(
    sender: type[Model],
    instance: Any,
    created: bool,  # noqa: FBT001 (Django's argument)
    using: str,
    update_fields: Collection[str] | None = None,
    **_: Any,
) -> None:
    if created:
        write_new(instance, using)
        return
    changed, former = changed_columns(instance, update_fields), stored_name(instance)
    name = instance.name if update_fields is None or "name" in update_fields else former
    # Each save has a new time.
    if changed - {"modified"} and writing.is_written(sender, instance.KIND):
        arguments = (instance.KIND, name, former, changed, using)
        writing.write(using, writing.write_changed, *arguments)
    remember_saved(instance, update_fields)


def _row_deleted(sender: type[Model], instance: Any, using: str, **_: Any) -> None:
    if writing.is_written(sender, instance.KIND):
        writing.write(using, writing.write_deleted, instance.KIND, stored_name(instance))


def flag_membership_changed(sender: type[Model], instance: Any, action: str, **kwargs: Any) -> None:
    """Clears the cache of the flags whose relation changed.

    For handlers of a project that call it for relations of their own.
    """
    if action not in {"post_add", "post_remove", "post_clear"}:
        return
    flag_model = get_waffle_flag_model()
    if isinstance(instance, flag_model):
        rows: Any = [instance]
    else:
        # After a clear, Django does not say which flags there were.
        rows = flag_model.objects.filter(pk__in=kwargs["pk_set"] or ())
    for row in rows:
        row.flush()


def _membership_changed(  # noqa: PLR0913, PLR0917 (Django's arguments)
    sender: type[Model],
    instance: Any,
    action: str,
    reverse: bool,  # noqa: FBT001
    pk_set: Collection[Any] | None,
    using: str,
    *,
    flag_model: type[Model],
    relation: str,
    **_: Any,
) -> None:
    """Writes the users and groups of flags; `instance` is a flag, a user or a group."""
    if action == "pre_clear":
        # After it, nothing in the database says what was there.
        instance.__dict__[_CLEARED] = _related(instance, flag_model, relation, using, reverse)
    if not action.startswith("post_"):
        return
    others = instance.__dict__.pop(_CLEARED, ()) if pk_set is None else pk_set
    if reverse:
        rows: list[Any] = [*flag_model._base_manager.using(using).filter(pk__in=others)]
        others = [instance.pk]
    else:
        rows = [instance]
    for row in rows:
        row.flush()
        if writing.is_written(flag_model, "flag"):
            _write_related(row, relation, others, using, is_added=action == "post_add")


def _write_related(
    row: Any, relation: str, pks: Collection[Any], using: str, *, is_added: bool
) -> None:
    name = stored_name(row)
    if relation == "users":
        writing.write(using, partial(writing.write_users, is_added=is_added), name, [*pks])
    else:
        writing.write(using, writing.write_changed, "flag", name, name, {relation}, using)


def _related(
    instance: Any,
    flag_model: type[Model],
    relation: str,
    using: str,
    reverse: bool,  # noqa: FBT001
) -> list[Any]:
    """Returns the primary keys on the other side of a relation."""
    rows = flag_model._base_manager.using(using)
    if reverse:
        return [*rows.filter(**{relation: instance}).values_list("pk", flat=True)]
    pks = rows.filter(pk=instance.pk).values_list(relation, flat=True)
    return [pk for pk in pks if pk is not None]
