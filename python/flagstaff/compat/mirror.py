"""The mirror: writes here what changes in waffle's tables, until the project removes waffle.

It follows Django's signals, so `update()`, `bulk_create()` and SQL are not seen.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.apps import apps
from django.db import DEFAULT_DB_ALIAS, connections, router, transaction
from django.db.models import Model
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_delete, pre_save

from flagstaff._connection.aliases import is_same_database
from flagstaff.compat.mirror_context import is_evaluating
from flagstaff.compat.mirrored import WaffleChange, write_change
from flagstaff.compat.replacing import Method, replace_method
from flagstaff.compat.rows import kind_of_model
from flagstaff.compat.settings import waffle_settings
from flagstaff.conf import conf

_UID = "flagstaff.compat.mirror"
# The name in the table before a save or a deletion, and the flags of a user or a group before they
# are cleared. Both are remembered in the instance that the signal is about.
_NAME, _CLEARED = "_flagstaff_stored_name", "_flagstaff_cleared"
# The columns that turn a row on or off.
_DECIDING = {"flag": "everyone", "switch": "active", "sample": "percent"}


def connect() -> None:
    """Connects the receivers for waffle's models and those of the project in their place."""
    from waffle.models import BaseModel  # noqa: PLC0415 (the project may have removed it)

    for model in apps.get_models(include_swapped=True):
        if issubclass(model, BaseModel):
            _connect_model(model)
    _make_atomic(BaseModel, "save", position=2)
    _make_atomic(BaseModel, "delete", position=0)


def _connect_model(model: type[Model]) -> None:
    for signal in (pre_save, pre_delete):
        signal.connect(_remember_name, model, dispatch_uid=_UID)
    post_save.connect(_on_save, model, dispatch_uid=_UID)
    post_delete.connect(_on_delete, model, dispatch_uid=_UID)
    for relation in model._meta.many_to_many:
        through = relation.remote_field.through
        receiver = partial(_on_related, flag_model=model)
        m2m_changed.connect(receiver, through, weak=False, dispatch_uid=_UID)


def _make_atomic(model: type[Model], name: str, position: int) -> None:
    """Runs a method of waffle's models in a transaction, which a failing mirror rolls back.

    `position` is that of the alias among the arguments.
    """

    def made(method: Method) -> Method:
        def atomic(self: Any, *arguments: Any, **options: Any) -> Any:
            if not waffle_settings().mirror:
                return method(self, *arguments, **options)
            using = options.get("using") or next(iter(arguments[position : position + 1]), None)
            using = using or router.db_for_write(type(self), instance=self)
            with transaction.atomic(using=using):
                if using != DEFAULT_DB_ALIAS or using != conf.database:
                    # Waffle's own call may be in another transaction, or follow a failed mirror.
                    transaction.on_commit(self.flush, using=using)
                return method(self, *arguments, **options)

        return atomic

    replace_method(model, name, made)


def _is_mirrored(model: type[Model], using: str) -> bool:
    """Whether waffle evaluates the rows of this model in this database, and may change them."""
    return (
        not is_evaluating()
        and waffle_settings().mirror
        and kind_of_model(model) is not None
        and is_same_database(using, router.db_for_write(model))
    )


def _remember_name(sender: type[Model], instance: Model, using: str, **_: Any) -> None:
    """Reads the name that the row has in the table: the instance may have another one."""
    if instance.pk is not None and _is_mirrored(sender, using):
        instance.__dict__[_NAME] = next(iter(_names(sender, [instance.pk], using)), None)


def _on_save(
    sender: type[Model],
    instance: Any,
    using: str,
    update_fields: Collection[str] | None = None,
    **_: Any,
) -> None:
    old, kind = instance.__dict__.pop(_NAME, None), kind_of_model(sender)
    if kind is None or not _is_mirrored(sender, using):
        return
    name = instance.name if update_fields is None or "name" in update_fields else old
    renamed = {name: old} if old not in {None, name} else {}
    is_deciding = update_fields is None or _DECIDING[kind] in update_fields
    _mirror(sender, using, [name], renamed=renamed, is_deciding=is_deciding)


def _on_delete(sender: type[Model], instance: Any, using: str, **_: Any) -> None:
    name = instance.__dict__.pop(_NAME, None)
    if name is not None and _is_mirrored(sender, using):
        _mirror(sender, using, [name])


def _on_related(  # noqa: PLR0913 (Django's arguments)
    instance: Any,
    action: str,
    reverse: bool,  # noqa: FBT001
    pk_set: Collection[Any] | None,
    using: str,
    *,
    flag_model: type[Model],
    sender: type[Model],
    **_: Any,
) -> None:
    """Mirrors the flags whose users or groups have changed, or those of a user or a group."""
    if not _is_mirrored(flag_model, using):
        return
    if action == "pre_clear" and reverse:
        # After it, nothing in the database says which flags these were.
        instance.__dict__[_CLEARED] = _flags_of(instance, flag_model, sender, using)
    if not action.startswith("post_"):
        return
    pks = (pk_set or instance.__dict__.pop(_CLEARED, ())) if reverse else [instance.pk]
    if names := _names(flag_model, pks, using):
        _mirror(flag_model, using, names)


def _flags_of(
    instance: Model, flag_model: type[Model], through: type[Model], using: str
) -> Collection[Any]:
    relation = next(
        one for one in flag_model._meta.many_to_many if one.remote_field.through is through
    )
    flags = flag_model._base_manager.using(using).filter(**{relation.name: instance})
    return list(flags.values_list("pk", flat=True))


def _names(model: type[Model], pks: Collection[Any], using: str) -> list[str]:
    rows = model._base_manager.using(using).filter(pk__in=pks)
    return list(rows.values_list("name", flat=True))


def _mirror(
    model: type[Model],
    using: str,
    names: Collection[str],
    *,
    renamed: dict[str, str] | None = None,
    is_deciding: bool = False,
) -> None:
    """Writes the change in the transaction of waffle, or after its commit if it has another one."""
    kind = kind_of_model(model)
    if kind is None:
        return
    change = WaffleChange(kind, using, frozenset(names), renamed or {}, is_deciding=is_deciding)
    if using == conf.database:
        write_change(change)
    else:
        _write_after_commit(change)


@dataclass
class _AfterCommit:
    """Writes a change after the commit of waffle.

    The last one of a transaction raises what has failed: an earlier error would keep Django from
    calling the others, and lose a kill.
    """

    change: WaffleChange
    #: Those of all changes of the transaction.
    errors: list[Exception]
    is_last: bool = True

    def __call__(self) -> None:
        try:
            write_change(self.change)
        except Exception as error:  # noqa: BLE001 (raised after the last one)
            self.errors.append(error)
        if self.is_last and self.errors:
            raise self.errors[0]


def _write_after_commit(change: WaffleChange) -> None:
    callbacks = [callback for _, callback, *_ in connections[change.using].run_on_commit]
    earlier = [one for one in callbacks if isinstance(one, _AfterCommit)]
    for one in earlier:
        one.is_last = False
    errors = earlier[0].errors if earlier else []
    transaction.on_commit(_AfterCommit(change, errors), using=change.using)
