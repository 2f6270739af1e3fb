"""Writes to our flags what code changes in rows of waffle: what a save has changed, and no more."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import Model

from flagstaff import changes
from flagstaff._tables.rows import all_rows
from flagstaff.conf import conf
from flagstaff.contrib.waffle.converting import changed_fields, convert
from flagstaff.contrib.waffle.evaluating import is_for_all
from flagstaff.contrib.waffle.names import key_of
from flagstaff.contrib.waffle.rows import SourceRow, overridden_methods, read_kind, waffle_model
from flagstaff.contrib.waffle.settings import WAFFLE_KINDS, WaffleKind
from flagstaff.exceptions import InvalidChangeError, UnknownFlagError
from flagstaff.validators import rule_problem

_ALL = 100
# The columns that turn a row on or off.
_DECIDING = {"flag": "everyone", "switch": "active", "sample": "percent"}


def is_written(model: type[Model], kind: WaffleKind) -> bool:
    """Whether changes of the rows of a model are written to our flags."""
    return issubclass(model, waffle_model(kind)) and not overridden_methods(model)


def write(using: str, function: Callable[..., None], *arguments: Any) -> None:
    """Writes in the transaction of the row; after its commit, if the flags have another alias.

    What fails in the transaction rolls the row back.
    """
    if using == conf.database:
        with transaction.atomic(using=conf.database):
            function(*arguments)
    else:
        transaction.on_commit(partial(function, *arguments), using=using)


def write_created(kind: WaffleKind, name: str, using: str) -> None:
    """Creates the flag of a new row. A flag that is here already stays as it is.

    Raises InvalidChangeError if it belongs to another row of waffle.
    """
    for source in read_kind(kind, [name], using):
        key = key_of(kind, name)
        if not all_rows(conf.flag_model).filter(key=key).exists():
            create_flag(source)
        elif other := _other_row(kind, name, key):
            raise InvalidChangeError(
                "{kind} {name} would share the flag {key} with {other}; set a key of its own in "
                'FLAGSTAFF["WAFFLE"]["KEYS"], such as {example}',
                kind=kind,
                name=repr(name),
                key=repr(key),
                other=other,
                example=f'{{"{kind}:{name}": "{key}.{kind}"}}',
            )


def create_flag(source: SourceRow) -> None:
    """Creates the flag that a row becomes. Raises InvalidChangeError."""
    converted = convert(source)
    changes.create(converted.key, **converted.fields, allowed_users=list(source.users))


def write_changed(
    kind: WaffleKind, name: str, former: str, changed: Collection[str], using: str
) -> None:
    """Writes what follows from the changed columns and relations of a row to its flag.

    `former` is its name before. A flag that somebody has deleted here is created again only if the
    row was turned on, off, or to another percentage.
    """
    key, former_key = key_of(kind, name), key_of(kind, former)
    if key != former_key:
        with suppress(UnknownFlagError):
            changes.update(former_key, {"key": key})
    for source in read_kind(kind, [name], using):
        flag = all_rows(conf.flag_model).filter(key=key).select_for_update().first()
        if source.everyone is None and (flag is None or not flag.enabled):
            # A row does not know who has turned the flag off, so only Yes turns it on.
            changed = {*changed} - {"everyone"}
        if flag is not None:
            if fields := _fields(source, changed, flag):
                changes.update(key, fields)
        elif _DECIDING[kind] in changed:
            create_flag(source)


def write_deleted(kind: WaffleKind, name: str) -> None:
    """Deletes the flag of a row."""
    with suppress(UnknownFlagError):
        changes.delete(key_of(kind, name))


def write_users(name: str, users: Collection[Any], *, is_added: bool) -> None:
    """Adds users of waffle's row to the allowed users of its flag, or removes them."""
    key = key_of("flag", name)
    with suppress(UnknownFlagError):
        if is_added:
            changes.add_allowed_users(key, [*users], skip_unknown=True)
        else:
            changes.remove_allowed_users(key, [*users])


def _fields(source: SourceRow, changed: Collection[str], flag: Any) -> dict[str, Any]:
    """Returns the fields of our flag to write. A flag that is off stays so without a decision."""
    rules = flag.rules if rule_problem(flag.rules) is None else []
    is_all = is_for_all(flag.rollout_percent, (rule.get("rollout_percent", 0) for rule in rules))
    if source.kind != "flag" or "everyone" not in changed:
        everyone = (True if is_all else None) if flag.enabled else False
        shown = replace(source, everyone=everyone) if source.kind == "flag" else source
        fields = changed_fields(shown, changed, rules)
    elif source.everyone is False:
        others = {*changed} - {"everyone"}
        fields = changed_fields(replace(source, everyone=None), others, rules)
        fields["enabled"] = False
        if rule_problem(fields.get("rules", [])) is not None:
            # Such as too many languages: they must not keep the flag from being turned off.
            del fields["rules"]
    else:
        fields = changed_fields(source, changed, rules)
    if source.kind == "sample" and source.percent and "percent" in changed:
        fields["enabled"] = True
    if source.kind == "switch" and fields.get("enabled"):
        fields |= {"rollout_percent": _ALL, "rules": []}
    return fields


def _other_row(kind: WaffleKind, name: str, key: str) -> str | None:
    """Returns another row of waffle whose flag has this key, in words."""
    for other in WAFFLE_KINDS:
        names = waffle_model(other)._base_manager.values_list("name", flat=True)
        for found in names:
            if (other, found) != (kind, name) and key_of(other, found) == key:
                return f"the {other} {found!r}"
    return None
