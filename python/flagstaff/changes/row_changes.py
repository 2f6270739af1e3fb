"""The path of each change: lock the row, compare, clean, save, read the version.

The functions of flags, values and segments call these. A kind differs from the others in few
things: a flag has allowed users, a value has a schema and may be secret, and rules name flags and
segments.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import date
from typing import Any, cast

from flagstaff._declared import DECLARED
from flagstaff._tables.database import db
from flagstaff._tables.rows import (
    CONDITIONS,
    RULES,
    Fields,
    Kind,
    PrimaryKey,
    Row,
    all_rows,
    declaration,
    declared_row,
    fields_to_set,
    is_auto_now_add,
    key_is_taken,
    model_of,
    stored_fields,
    taken_keys,
)
from flagstaff._tables.user_lookup import allowed_user_table
from flagstaff._text import MASK, Sentence, is_same_json, joined, say, some, truncated
from flagstaff._text.rules import ALL, places_of
from flagstaff.changes.fields import (
    ALLOWED,
    AllowedUsersChange,
    Changed,
    allowed_pks,
    change_allowed_users,
    cleaned,
    differing,
    in_order,
    insert,
    refusal,
    users_to_change,
    write,
    written_together,
)
from flagstaff.changes.locking import (
    LockedRow,
    block_of_change,
    compare_version,
    locked_row,
    require_version,
    row_to_change,
)
from flagstaff.changes.row_states import RowState, assign, copied, is_preview, rules_of
from flagstaff.changes.rule_use import (
    delete_unused,
    needs_alone,
    require_names,
    require_unused,
    uses_by_name,
)
from flagstaff.conf import conf
from flagstaff.exceptions import ConflictError, InvalidChangeError
from flagstaff.extensions import deciding_code
from flagstaff.history.log import deleted_pk, has_history, version_of, versions_of
from flagstaff.validators import SECRET, VALUE, is_secret, value_rule_problem

_EXISTS = {
    Kind.FLAG: say("a flag {key} already exists; change it, or use another key"),
    Kind.VALUE: say("a value {key} already exists; change it, or use another key"),
    Kind.SEGMENT: say("a segment {key} already exists; change it, or use another key"),
}
# The length of the value of a rule in a text.
_MAX_LENGTH = 80


def update_row(
    kind: Kind,
    key: str,
    fields: Fields,
    *,
    expect_version: int | None = None,
    expect: Fields | None = None,
) -> Changed:
    """Changes several fields of a row at once, as `changes.flags.update` documents."""
    fields, expect = dict(fields), dict(expect or {})
    users, seen = _pop_users(fields), _pop_users(expect)
    with locked_row(kind, key, expect_version) as locked:
        row, change = locked.row, AllowedUsersChange()
        if users is not None:
            present = allowed_pks(row)
            change = users_to_change(
                present, users if seen is None else _merge(present, users, seen)
            )
        changed = [
            name
            for name in differing(row, expect)
            if name not in fields or differing(row, {name: fields[name]})
        ]
        if changed:
            raise ConflictError(
                # Without the values: one of them may be secret.
                say(
                    "{key} has changed since you read it: {fields}; read it again",
                    key=row.key,
                    fields=some(changed),
                ),
                key=row.key,
            )
        return change_row(kind, locked, fields, change, expect_version)


def change_row(
    kind: Kind,
    locked: LockedRow,
    fields: Fields,
    users: AllowedUsersChange,
    expect_version: int | None,
) -> Changed:
    """Changes the fields and the allowed users of a row of `locked_row` with this version."""
    row, is_new = locked
    _require_own(row, fields)
    # A text of a file may be a date, so what differs is known when it is clean.
    values: Fields = differing(row, cleaned(row, differing(row, fields)))
    if is_new and VALUE in fields:
        # Somebody decides that it stays, whatever the default becomes.
        values = {**values, VALUE: fields[VALUE]}
    if values or users:
        compare_version(kind, row.key, None if is_new else row.pk, expect_version)
    if "key" in values:
        _require_free(kind, values["key"])
        _require_unused(kind, row)
    named = CONDITIONS if kind is Kind.SEGMENT else RULES
    if values.keys() & {named, "key"}:
        require_names(row, values.get(named, rules_of(row)), values.get("key", row.key))
    changed = write_change(kind, row, values, users)
    if not changed.written:
        present = _columns(row, fields)
        kept = _kept_by_rules(row, fields)
        changed = replace(changed, old=present, new=present, kept_by_rules=kept)
    return _with_version(changed, row.pk, is_known=expect_version is not None)


def _require_own(row: Row, fields: Fields) -> None:
    """Raises InvalidChangeError for another value of a field that code owns."""
    declared = declaration(model_of(row), row.key)
    if declared is None:
        return
    owned = {name: fields[name] for name in fields.keys() & declared.owned.keys()}
    problem = say("it is declared in {place}; change it there", place=declared.place.path)
    if refused := differing(row, owned):
        raise refusal(dict.fromkeys(refused, problem))


def write_change(kind: Kind, row: Row, values: Fields, users: AllowedUsersChange) -> Changed:
    """Writes cleaned fields and users of a locked row. What rules name is not checked.

    The result has no version, as those of `insert_row` and `delete_locked`.
    """
    old = _columns(row, values)
    new = {name: values[name] for name in old}
    if users:
        old[ALLOWED], new[ALLOWED] = list(users.removed), list(users.added)
    kept = _kept_by_rules(row, new)
    before = RowState(kind, copied(row), users.present if users else None)
    change_allowed_users(row, users)
    if values:
        write(row, values)
    return Changed(
        kind,
        row.key,
        old,
        new,
        written=bool(new),
        missing=users.missing,
        kept_by_rules=kept,
        before=before,
        after=RowState(kind, row, users.after if users else None),
    )


def write_fields(kind: Kind, planned: Iterable[Changed]) -> dict[str, Changed]:
    """Writes those of the previewed changes of locked rows that only change fields, together.

    Returns them by key, with their versions. Not those that change rules or a key, for which other
    rows are locked, and not what is as it would be.
    """
    changes = [
        change
        for change in planned
        if change.written and change.old and change.new
        if change.new.keys().isdisjoint({ALLOWED, RULES, CONDITIONS, "key"})
    ]
    rows = [cast("RowState", change.after).row for change in changes]
    with written_together():
        for row, change in zip(rows, changes, strict=True):
            write(row, _columns(row, change.new or ()))
    versions = versions_of(kind, [row.pk for row in rows]) if has_history() else {}
    return {
        change.key: replace(change, version=versions.get(str(row.pk)))
        for row, change in zip(rows, changes, strict=True)
    }


def _kept_by_rules(row: Row, new: Fields) -> Sentence | None:
    """Returns which rules give some users another value after a change, or None. Does not query.

    `new` are the fields to write. Without a new value, the users do not expect one.
    """
    if VALUE not in new or not isinstance(row, conf.value_model):
        return None
    rules = new.get(RULES, getattr(row, RULES))
    if rules != [] and (problem := value_rule_problem(rules)):
        return say(
            "the rules cannot be read, so workers may keep earlier ones, which give users another "
            "value: {problem}",
            problem=problem,
        )
    secret, texts = is_secret(row) or bool(new.get(SECRET)), []
    for place, rule in places_of(rules):
        percent, value = rule.get("rollout_percent", ALL), rule.get(VALUE)
        if percent == 0 or is_same_json(new[VALUE], value):
            continue
        text = MASK if secret else truncated(json.dumps(value, ensure_ascii=False), _MAX_LENGTH)
        shown = {"place": place, "value": text}
        texts.append(
            say("{place} → {value}", **shown)
            if percent == ALL
            else say("{place} → {value} for {percent} %", **shown, percent=str(percent))
        )
    kept = say("users for whom a rule decides keep another value: {rules}", rules=joined(texts))
    return kept if texts else None


def _columns(row: Row, names: Collection[str]) -> dict[str, Any]:
    """Returns the values of these fields, in the order in which the history describes them.

    Of a foreign key the value of its column: the row that it names may be gone.
    """
    columns = row._meta.concrete_fields
    return {field.name: getattr(row, field.attname) for field in columns if field.name in names}


def create_row(kind: Kind, key: str, fields: Fields) -> Changed:
    """Creates a row, unless an equal one exists."""
    fields = dict(fields)
    users = allowed_user_table().pks_of(fields.pop(ALLOWED, ()))
    row = new_row(kind, key, fields)
    with block_of_change():
        present = row_to_change(kind, key)
        change = users_to_change((), () if present else users)
        try:
            if present is None:
                _require_free(kind, key)
                with db.atomic():
                    require_names(row, rules_of(row), row.key)
                    changed = insert_row(kind, row, change)
                return _with_version(changed, row.pk)
        except InvalidChangeError:
            # A concurrent call may have created the same row.
            present = kind.find(key, lock=not is_preview())
            if present is None:
                raise
        return _exists_already(kind, present, row, users)


def insert_row(kind: Kind, row: Row, users: AllowedUsersChange) -> Changed:
    """Inserts a row. A primary key and a time of creation that it has stay."""
    fields = (field.attname for field in stored_fields(model_of(row)) if is_auto_now_add(field))
    times = {name: time for name in fields if isinstance(time := getattr(row, name), date)}
    insert(row)
    if times and not is_preview():
        # Django has set them to the present.
        all_rows(kind.model).filter(pk=row.pk).update(**times)
    change_allowed_users(row, users)
    after = RowState(kind, row, users.after)
    return _whole_row_changed(RowState(kind, None), after, missing=users.missing)


def delete_row(kind: Kind, key: str, *, expect_version: int | None = None) -> Changed:
    """Deletes a row, as `changes.flags.delete` documents."""
    with block_of_change():
        row = row_to_change(kind, key)
        if row is None:
            pk = deleted_pk(kind, key)
            if pk is None:
                kind.row(key)  # Raises, because there is no such row.
            return _with_version(Changed(kind, key, None, None, written=False), pk)
        require_version(kind, key, row.pk, expect_version)
        _require_unused(kind, row)
        pk = row.pk
        changed = delete_locked(kind, row, allowed_pks(row) if kind is Kind.FLAG else ())
        return _with_version(changed, pk, is_known=expect_version is not None)


def _require_unused(kind: Kind, row: Row) -> None:
    """Raises InUseError before a row is deleted, or gets another key, if rules name it."""
    if kind is Kind.FLAG:
        needs_alone()
    if kind is not Kind.VALUE:
        uses = uses_by_name(of_segments=kind is Kind.SEGMENT)
        require_unused((kind, row.key), uses[kind, row.key])


def delete_locked(kind: Kind, row: Row, users: Iterable[PrimaryKey]) -> Changed:
    """Deletes a locked row and its allowed users. Whether rules name it is not checked."""
    before = RowState(kind, copied(row), frozenset(users))
    if not is_preview():
        delete_unused(row)
    return _whole_row_changed(before, RowState(kind, None))


def _pop_users(fields: dict[str, object]) -> list[PrimaryKey] | None:
    """Takes the allowed users out of the fields; None if they are not among them."""
    return allowed_user_table().pks_of(fields.pop(ALLOWED)) if ALLOWED in fields else None


def _merge(
    present: set[PrimaryKey], users: Collection[PrimaryKey], seen: Collection[PrimaryKey]
) -> list[PrimaryKey]:
    """Returns the present users with the difference between those that were seen and the new."""
    removed, old = {*seen}.difference(users), {*seen}
    return [*(present - removed), *(pk for pk in users if pk not in old)]


def new_row(kind: Kind, key: str, fields: Fields) -> Row:
    """Returns a row to insert, with cleaned fields. Raises InvalidChangeError."""
    is_open = kind is Kind.FLAG and "enabled" not in fields
    if is_open and deciding_code([key], is_limited=False):
        # It only turns the code off: creating it takes it from nobody.
        fields = {"enabled": True, "kind": "ops", **fields}
    declared = declaration(kind.model, key)
    if declared is not None:
        fields = {**declared.new_row, **fields, **declared.owned}
        del fields["key"]
    try:
        row = cast("Row", kind.model(key=str(key), **fields))
    except TypeError as error:
        raise InvalidChangeError(str(error)) from error
    assign(row, cleaned(row, {**_editable_fields(row), **fields}))
    return row


def _require_free(kind: Kind, key: str) -> None:
    for other in () if kind is Kind.SEGMENT else taken_keys(kind.value, [key]).values():
        raise InvalidChangeError(key_is_taken(key, other))


def _exists_already(kind: Kind, present: Row, row: Row, users: list[PrimaryKey]) -> Changed:
    """Nothing to do if the rows are equal, as after a form was sent twice."""
    equal = not differing(present, _editable_fields(row))
    if not equal or (kind is Kind.FLAG and allowed_pks(present) != set(users)):
        raise InvalidChangeError(say(_EXISTS[kind], key=repr(present.key)))
    state = RowState(kind, present)
    return _with_version(_whole_row_changed(state, state), present.pk)


def _with_version(changed: Changed, pk: object, *, is_known: bool = False) -> Changed:
    """Returns what was done with the version of the row. A preview makes none.

    `is_known` is whether `require_versions` has found the history before this write.
    """
    if is_preview():
        return changed
    if is_known:
        return replace(changed, version=versions_of(changed.kind, [pk]).get(str(pk), 0))
    return replace(changed, version=version_of(changed.kind, pk))


def _whole_row_changed(
    before: RowState, after: RowState, *, missing: tuple[PrimaryKey, ...] = ()
) -> Changed:
    """Returns a change of all fields: of a row that was created or deleted, or is there already."""
    return Changed(
        after.kind,
        (after.row or before.row).key,
        _whole_row(before, is_deleted=after.row is None),
        _whole_row(after),
        written=before is not after,
        missing=missing,
        before=before,
        after=after,
    )


def _whole_row(state: RowState, *, is_deleted: bool = False) -> dict[str, Any] | None:
    if state.row is None:
        return None
    fields, users = _editable_fields(state.row), state.allowed_users or ()
    # Of a deleted flag also that it had none.
    if users or (is_deleted and state.kind is Kind.FLAG):
        fields[ALLOWED] = list(in_order(users))
    return fields


def _editable_fields(row: Row) -> dict[str, Any]:
    """All fields but those that the database or the clock sets."""
    values = {field.name: getattr(row, field.attname) for field in fields_to_set(model_of(row))}
    # A new row has an expression where the column has a default of the database only.
    return {
        name: value for name, value in values.items() if not hasattr(value, "resolve_expression")
    }


# What code declares, for SQL and for the console of another service.


def write_declared_rows() -> list[Changed]:
    """Makes the rows that declared keys lack, and writes the texts of the others: all or none.

    What decides stays. Returns what was written, by kind and key. Raises InvalidChangeError.
    """
    with db.atomic():
        return [
            changed
            for kind in (Kind.FLAG, Kind.VALUE)
            for key in sorted(DECLARED)
            if (changed := _write_declared_row(kind, key)) is not None
        ]


def _write_declared_row(kind: Kind, key: str) -> Changed | None:
    """Writes the row of a key; None if code declares another kind, or nothing differs."""
    declared = declaration(kind.model, key)
    if declared is None:
        return None
    rows: Any = all_rows(kind.model).filter(key=key)
    stored = rows.select_for_update().values(*declared.owned).first()
    if stored is None:
        return insert_row(kind, cast("Row", declared_row(kind.model, key)), AllowedUsersChange())
    row = rows.get()
    # The row that was read shows the texts of the code already.
    assign(row, stored)
    changes = differing(row, declared.owned)
    return write_change(kind, row, changes, AllowedUsersChange()) if changes else None
