"""The receivers that write changes of rows to our flags."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Any

from django.apps import AppConfig, apps
from django.db.models import Model
from django.db.models.signals import (
    m2m_changed,
    post_delete,
    post_migrate,
    post_save,
    pre_migrate,
)

from flagstaff.contrib.waffle import instances, rows
from flagstaff.contrib.waffle.rows import overridden_methods
from waffle import get_waffle_flag_model
from waffle.models import BaseModel


def connect(waffle: AppConfig) -> None:
    """Connects the receivers for waffle's models or those of the project in their place."""
    pre_migrate.connect(instances.before_migration, waffle)
    post_migrate.connect(instances.after_migration, waffle)
    for model in apps.get_models():
        if not issubclass(model, BaseModel):
            continue
        # Again, for a method that a decorator of the class has replaced; and before a test does.
        rows.guard(model)
        overridden_methods(model)
        post_save.connect(instances.write_saved, model)
        post_delete.connect(instances.write_deleted, model)
        for relation in model._meta.many_to_many:
            receiver = partial(_related_changed, flag_model=model, relation=relation.name)
            m2m_changed.connect(receiver, relation.remote_field.through, weak=False)


def flag_membership_changed(sender: type[Model], instance: Any, action: str, **kwargs: Any) -> None:
    """Clears the cache of the flags whose relation changed.

    For handlers of a project that call it for relations of their own.
    """
    if action in {"post_add", "post_remove", "post_clear"}:
        pks = kwargs.get("pk_set")
        for row in _rows_of(get_waffle_flag_model(), instance, pks):
            row.flush()


def _rows_of(model: Any, instance: Any, pks: Collection[Any] | None) -> list[Any]:
    """Returns the flags of a change; `instance` is one of them, or what was related to them."""
    if isinstance(instance, model):
        return [instance]
    # After a clear, Django does not say which flags there were.
    rows = model._base_manager.all() if pks is None else model._base_manager.filter(pk__in=pks)
    return [*rows]


def _related_changed(
    instance: Any, action: str, pk_set: Any, flag_model: type[Model], relation: str, **_: Any
) -> None:
    if action in {"post_add", "post_remove", "post_clear"}:
        for row in _rows_of(flag_model, instance, pk_set):
            row.flush()
            pks = pk_set if row is instance else [instance.pk]
            instances.write_related(row, relation, pks, is_added=action == "post_add")
