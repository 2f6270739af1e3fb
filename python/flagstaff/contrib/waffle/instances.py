"""The instances of the stand-in's models: they show our flags, and what they change is written.

What was read is remembered in the instance, so that a stale one changes nothing of our flag.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from typing import Any

from django.db import connections, router

from flagstaff import changes, explain, ready
from flagstaff._evaluation import Explanation
from flagstaff._tables.database import db
from flagstaff._tables.rows import Kind, all_rows
from flagstaff.conf import conf
from flagstaff.contrib.waffle.importing import TEST_RULES, fields_of, import_rows, whole
from flagstaff.contrib.waffle.rows import SEEN, Row, has_own_code, read_kind, seen_name
from flagstaff.contrib.waffle.settings import WAFFLE_KINDS, WaffleKind, key_of, waffle_model
from flagstaff.exceptions import InvalidChangeError, UnknownFlagError
from flagstaff.history.log import entries_of_key, has_history
from flagstaff.validators import rule_problem

_ALL = 100
_LOG = logging.getLogger("flagstaff")
#: The column that turns a row on or off.
DECIDING: dict[WaffleKind, str] = {"flag": "everyone", "switch": "active", "sample": "percent"}


def show(instance: Any) -> None:
    """Replaces the loaded columns that decide by the present state of the flag."""
    kind, loaded = instance.KIND, instance.__dict__
    if not has_own_code(instance._meta.model) and {"everyone", "active", "percent"} & loaded.keys():
        key = key_of(kind, instance.name)
        explanation = explain(key)
        if explanation.error_code == "PROVIDER_NOT_READY" and ready():
            explanation = explain(key)
        # A row of the table without a flag is off: somebody has deleted the flag here.
        if explanation.error_code != "FLAG_NOT_FOUND" or not instance._state.adding:
            present = _present(kind, explanation, loaded)
            loaded.update({name: value for name, value in present.items() if name in loaded})
    remember(instance)


def _present(kind: WaffleKind, explanation: Explanation, loaded: dict[str, Any]) -> dict[str, Any]:
    """Returns the columns that decide."""
    if kind == "switch":
        return {"active": explanation.value}
    stored, rollout = loaded.get("percent"), explanation.rollout_percent
    if kind == "sample":
        if rollout is None or explanation.reason == "DISABLED":
            return {"percent": _ALL if explanation.value else 0}
        return {"percent": stored if whole(stored, most=_ALL) == rollout else rollout}
    # Waffle stores a part after the decimal point, and at most 99.9 %.
    is_equal = rollout is None or rollout >= _ALL or whole(stored, most=_ALL - 1) == rollout
    return {"everyone": _everyone(explanation), "percent": stored if is_equal else rollout}


def _everyone(explanation: Explanation) -> bool | None:
    """Returns False if the flag is off, True if it is on for everyone, else None."""
    if explanation.override is not None or explanation.reason == "DISABLED":
        return explanation.value
    if explanation.error_code is not None:
        return None if explanation.error_code == "PARSE_ERROR" else False
    rules = [step.values["percent"] for step in explanation.steps if "percent" in step.values]
    return True if min(explanation.rollout_percent or 0, *rules, _ALL) >= _ALL else None


def remember(instance: Any, names: Collection[str] | None = None) -> None:
    """Remembers columns, by default all: the next save writes what differs from them."""
    seen = instance.__dict__.setdefault(SEEN, {})
    seen.update(_columns(instance, names))


def _has_own_code(kind: WaffleKind) -> bool:
    """Whether code of the project decides about the rows, whose flags only turn them off."""
    return has_own_code(waffle_model(kind))


def _columns(instance: Any, names: Collection[str] | None = None) -> dict[str, Any]:
    """Returns the loaded columns, by default all."""
    loaded = instance.__dict__
    columns = (field.attname for field in instance._meta.concrete_fields)
    wanted = [name for name in columns if name in loaded and (names is None or name in names)]
    return {name: loaded[name] for name in wanted}


def write_created(row: Row) -> None:
    """Creates the flag of a new row. A flag that is here already stays as it is.

    Raises InvalidChangeError if it belongs to a row of another kind.
    """
    if not _flags(row.key).exists():
        users = () if _has_own_code(row.kind) else row.users
        changes.flags.create(row.key, **{"enabled": True, **fields_of(row)}, allowed_users=[*users])
        return
    for kind in WAFFLE_KINDS:
        is_shared = kind != row.kind and key_of(kind, row.name) == row.key
        if is_shared and waffle_model(kind)._base_manager.filter(name=row.name).exists():
            raise InvalidChangeError(
                "{kind} {name} would share the flag {key} with {other}; set a key of its own in "
                'FLAGSTAFF["WAFFLE"]["KEYS"], such as {example}',
                kind=row.kind,
                name=repr(row.name),
                key=repr(row.key),
                other=f"the {kind} {row.name!r}",
                example=f'{{"{row.kind}:{row.name}": "{row.key}.{row.kind}"}}',
            )


def write_saved(
    instance: Any,
    created: bool,  # noqa: FBT001 (Django's argument)
    update_fields: Collection[str] | None = None,
    **_: Any,
) -> None:
    """Writes what a save has changed to the flag, and no more; a receiver of `post_save`.

    A flag that is off, or was deleted here, is turned on only by a column that says so: Yes for
    everyone, a switch that is on, a percentage of a sample; and by no column if own code decides.
    """
    # Django saves a deserialized object outside of a transaction.
    with db.atomic():
        _write_saved(instance, update_fields, created=created)
    remember(instance, update_fields)


def _write_saved(instance: Any, update_fields: Collection[str] | None, *, created: bool) -> None:
    kind: WaffleKind = instance.KIND
    present = {"name": instance.name, **_columns(instance)}
    seen, saved = instance.__dict__.get(SEEN, {}), _columns(instance, update_fields)
    before, after = Row(kind, {**present, **seen}), Row(kind, {**present, **seen, **saved})
    if created:
        write_created(after)
        return
    decides = DECIDING[kind]
    is_changed = bool(after[decides]) and after[decides] != seen.get(decides)
    is_turned_on = is_changed and not _has_own_code(kind)
    flag = _flags(before.key).select_for_update().first()
    if flag is None and is_turned_on:
        stored = read_kind(kind, instance._state.db)
        write_created(next(row for row in stored if row.name == after.name))
    elif flag is not None:
        # Without what was read, such as of a fixture, all columns are new.
        old, new = fields_of(before) if seen else {}, fields_of(after)
        fields = {name: value for name, value in new.items() if old.get(name) != value}
        if "rules" in fields:
            fields["rules"] = _merged(flag, old.get("rules", []), new["rules"])
        if fields.pop("enabled", True) is False or is_turned_on:
            fields["enabled"] = is_turned_on
        if not flag.enabled and saved.get(decides) is not None and not saved[decides]:
            # It is off already, but what waits must not turn it on.
            fields["enabled"] = False
        if before.key != after.key:
            if _has_own_code(kind) and not flag.enabled:
                # The one that is off stays, for the next row of the old name.
                changes.flags.create(after.key, {**new, "enabled": False})
                return
            fields["key"] = after.key
        changes.flags.update(before.key, fields)
        if is_turned_on and kind != "sample":
            # Also for users whom other rules keep out.
            changes.flags.release(after.key)


def _merged(flag: Any, old: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[Any]:
    """Returns the rules of a flag, with the differences between the old rules and the new ones."""
    present = flag.rules if rule_problem(flag.rules) is None else []
    names = {rule["name"] for rule in [*old, *new] if not (rule in old and rule in new)}
    unchanged = [rule for rule in present if rule.get("name") not in names]
    added = [rule for rule in new if rule["name"] in names]
    # Only the test can turn the flag off, so it is before the others.
    return sorted([*unchanged, *added], key=lambda rule: rule.get("name") not in TEST_RULES)


def write_deleted(instance: Any, **_: Any) -> None:
    """Deletes the flag of a row; a receiver of `post_delete`.

    Of rows with own code, one that is off stays, for the next row of this name. So does one that
    has a rollout or rules.
    """
    key = key_of(instance.KIND, seen_name(instance))
    with suppress(UnknownFlagError), db.atomic():
        flag = _flags(key).select_for_update().first()
        is_unused = flag is None or (flag.enabled and not (flag.rollout_percent or flag.rules))
        if is_unused or not _has_own_code(instance.KIND):
            changes.flags.delete(key)


def write_related(
    instance: Any, relation: str, pks: Iterable[Any] | None, *, is_added: bool
) -> None:
    """Writes users who were added to a row or removed from it, all by None; or its groups."""
    if _has_own_code("flag"):
        return
    key = key_of("flag", seen_name(instance))
    with suppress(UnknownFlagError), db.atomic():
        if relation == "groups":
            names = [*instance.groups.order_by("name").values_list("name", flat=True)]
            flag = _flags(key).select_for_update().first()
            new = fields_of(Row("flag", {}, groups=names))["rules"]
            if flag is not None:
                old = [{"name": "groups"}]
                changes.flags.update(key, {"rules": _merged(flag, old, new)})
        elif relation == "users" and pks is None:
            changes.flags.update(key, {"allowed_users": []})
        elif relation == "users" and is_added:
            changes.flags.allow(key, [*(pks or ())], skip_unknown=True)
        elif relation == "users":
            changes.flags.disallow(key, [*(pks or ())])


def _flags(key: str) -> Any:
    return all_rows(conf.flag_model).filter(key=key)


# The rows before a migration, by the alias that it migrates.
_before: dict[str, set[tuple[WaffleKind, str]]] = {}


def before_migration(using: str, **_: Any) -> None:
    """Remembers the rows that exist; a receiver of `pre_migrate`."""
    _before[using] = {*_stored_names(using)}


def after_migration(using: str, **_: Any) -> None:
    """Imports rows that migrations have created, whose key our history has never had.

    A receiver of `post_migrate`: migrations send no signals of rows.
    """
    before = _before.pop(using, None)
    if before is None or not _has_table(conf.flag_model, db.alias):
        return
    new = {*_stored_names(using)} - before
    rows = [row for kind in {kind for kind, _ in new} for row in read_kind(kind, using)]
    rows = [row for row in rows if (row.kind, row.name) in new and not _has_entries(row.key)]
    for imported in import_rows(rows):
        if imported.changed is None:
            row, notes = imported.converted.row, "; ".join(imported.converted.notes)
            _LOG.warning("no flag for waffle's %s %r: %s", row.kind, row.name, notes)


def _stored_names(using: str) -> Iterator[tuple[WaffleKind, str]]:
    for kind in WAFFLE_KINDS:
        model = waffle_model(kind)
        if router.allow_migrate_model(using, model) and _has_table(model, using):
            for name in model._base_manager.using(using).values_list("name", flat=True):
                yield kind, name


def _has_table(model: Any, using: str) -> bool:
    return model._meta.db_table in connections[using].introspection.table_names()


def _has_entries(key: str) -> bool:
    return has_history() and entries_of_key(Kind.FLAG, key).exists()
