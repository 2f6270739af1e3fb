"""Converts rows of waffle to flags, with notes on what is different, and writes these flags."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from django.db import transaction
from django.db.models import Model

from flagstaff import changes
from flagstaff._attribution import from_source
from flagstaff._tables.attributes import key_in_rules, known_objects
from flagstaff._tables.database import db
from flagstaff._tables.rows import Kind, all_rows
from flagstaff.changes import Changed
from flagstaff.changes.fields import allowed_pks_of, differing
from flagstaff.conf import conf
from flagstaff.contrib.waffle.rows import DECIDING_COLUMNS, Row, code_text, has_own_code, read_rows
from flagstaff.contrib.waffle.settings import (
    LANGUAGE_ATTRIBUTE,
    SAMPLE_UNIT,
    TEST_ATTRIBUTE,
    waffle_model,
    waffle_settings,
)
from flagstaff.exceptions import FlagstaffError, InvalidChangeError
from flagstaff.history.log import has_history
from flagstaff.models import Change

#: How well a flag can replace a row: the same results for every request; some results differ; a
#: part is lost; there is no flag for it. Notes say how, which and why.
STATUSES = EXACT, DIFFERS, LOST, REFUSED = "exact", "differs", "lost", "refused"

#: The names of the rules of a flag that may be set for a test.
TEST_RULES = ("waffle test on", "waffle test off")

_ALL = 100
_SWITCHES = {"authenticated": "is_authenticated", "staff": "is_staff", "superusers": "is_superuser"}

#: Where the history says that an import comes from. Nothing else writes with this source.
SOURCE = "waffle"


@dataclass(frozen=True)
class Converted:
    """A row of waffle, and the flag that it becomes."""

    row: Row
    #: One of STATUSES, and what is different, lost or refused, as sentences.
    status: str
    notes: tuple[str, ...]
    #: The fields of the flag, as `changes.flags.create` takes them, without allowed users.
    fields: Mapping[str, Any] = field(default_factory=dict)
    #: Its allowed users; None leaves those that it has.
    allowed_users: Collection[Any] | None = None


def convert(row: Row) -> Converted:
    """Returns the flag that a row becomes.

    convert(Row("switch", {"name": "search", "active": True})).fields["enabled"]  # True
    """
    if missing := [name for name in DECIDING_COLUMNS[row.kind] if name not in row.columns]:
        columns = f"the columns {', '.join(missing)}" if missing[1:] else f"the column {missing[0]}"
        return Converted(row, REFUSED, (f"its table lacks {columns} of django-waffle 5",))
    fields, notes = fields_of(row), [(EXACT, f"its key is {row.key}")] * (row.key != row.name)
    notes += [(DIFFERS, note) for note in _object_notes(row)]
    if code := code_text(waffle_model(row.kind)):
        texts = (*(text for _status, text in notes), f"{code} decides, unless the flag is off here")
        return Converted(row, DIFFERS, texts, fields)
    notes += [(LOST, f"the column {name} is lost; evaluate it in your code") for name in row.own]
    percent, rollout = row["percent"], fields["rollout_percent"]
    if percent and row["everyone"] is None:
        if rollout != percent:
            notes.append((DIFFERS, f"{percent:f} % becomes {rollout} %"))
        if row.kind == "flag":
            unit = f"the bucket of the {waffle_settings().unit} decides"
            notes.append((DIFFERS, f"{unit} in place of a random number in a cookie"))
    if row["testing"] and row.users and row["everyone"] is None:
        notes.append((DIFFERS, "its users keep the flag with dwft_…=0"))
    status = max((status for status, _ in notes), key=STATUSES.index, default=EXACT)
    users = row.users if row.kind == "flag" else None
    return Converted(row, status, tuple(note for _, note in notes), fields, users)


def fields_of(row: Row) -> dict[str, Any]:
    """Returns the fields of the flag that a row becomes, without allowed users.

    Of a row with own code, the flag only turns it off, and no field of it says so. Its objects are
    rules that decide once the code is gone.
    """
    if has_own_code(waffle_model(row.kind)):
        rules = {"rules": _object_rules(row)} if row.objects else {}
        return {"description": row["note"] or "", "kind": "ops", **rules}
    fields: dict[str, Any] = {
        "description": row["note"] or "",
        "enabled": True,
        "rules": [],
        "kind": "ops",
    }
    if row.kind == "switch":
        return {**fields, "enabled": bool(row["active"]), "rollout_percent": _ALL}
    if row.kind == "sample":
        rollout = whole(row["percent"], most=_ALL)
        return {**fields, "rollout_percent": rollout, "bucket_by": SAMPLE_UNIT}
    everyone = row["everyone"]
    return {
        **fields,
        "enabled": everyone is not False,
        "rollout_percent": _ALL if everyone else whole(row["percent"], most=_ALL - 1),
        "rules": _rules(row),
        "bucket_by": waffle_settings().unit,
        "kind": "release",
    }


def whole(percent: Any, *, most: int) -> int:
    """Returns a percentage of waffle in whole percent: at least 1 above 0, below 100 at most 99."""
    exact = Decimal(str(percent or 0))
    if exact in {0, most}:
        return int(exact)
    return min(max(int(exact.to_integral_value(ROUND_HALF_UP)), 1), _ALL - 1)


def _rules(row: Row) -> list[dict[str, Any]]:
    """Returns the rules. Each stands for one column, whose name it has."""
    rules = []
    # "Everyone = Yes" precedes a test; no other column can turn the flag off.
    if row["testing"] and not row["everyone"]:
        on, off = TEST_RULES
        rules = [_rule(on, TEST_ATTRIBUTE, ["1"]), _rule(off, TEST_ATTRIBUTE, ["0"], rollout=0)]
    if row.languages:
        rules.append(_rule("languages", LANGUAGE_ATTRIBUTE, row.languages))
    rules += [_rule(name, user, [True]) for name, user in _SWITCHES.items() if row[name]]
    if row.groups:
        rules.append(_rule("groups", "groups", [*row.groups]))
    return [*rules, *_object_rules(row)]


def _object_rules(row: Row) -> list[dict[str, Any]]:
    """Returns a rule for each relation to objects of the project, such as organizations."""
    if row["everyone"] is not None and has_own_code(waffle_model(row.kind)):
        # The code may read it; the flag is on.
        return []
    return [
        _rule(name, _attribute_of(name, model), sorted(map(key_in_rules, pks)))
        for name, model, pks in row.objects
    ]


def _object_notes(row: Row) -> Iterator[str]:
    """Yields what the code has to pass for the rules of relations."""
    code = code_text(waffle_model(row.kind))
    for name, model, _pks in row.objects if _object_rules(row) else ():
        attribute, label = _attribute_of(name, model), model._meta.label
        text = (
            f"{name} becomes a rule: let the function of ATTRIBUTES return {attribute!r}, or pass "
            f'it in "context": the primary keys of {label}'
        )
        if attribute not in known_objects():
            entry = {"name": attribute, "model": label, "path": "…"}
            text += f"; for names and counts, add {entry} to ATTRIBUTES"
        yield f"{text}; then remove {code}" if code else text


def _attribute_of(relation: str, model: type[Model]) -> str:
    """Returns the attribute of ATTRIBUTES that holds objects of a model; else the relation."""
    names = [name for name, objects in known_objects().items() if objects.model is model]
    return relation if relation in names or not names else names[0]


def _rule(name: str, attribute: str, values: list[Any], rollout: int = _ALL) -> dict[str, Any]:
    condition = {"attribute": attribute, "operator": "in", "values": values}
    return {"name": name, "conditions": [condition], "rollout_percent": rollout}


@dataclass(frozen=True)
class Imported:
    """A row of waffle, and what the import has written of it."""

    converted: Converted
    #: None if the row is refused. `written` is False if the flag was like this already.
    changed: Changed | None = None


def import_waffle(*, overwrite: Collection[str] = ()) -> list[Imported]:
    """Writes all rows that are not refused, in one transaction or in the surrounding one.

    A flag is refused if its newest change is not one of an import, unless its key is in
    `overwrite`: so a flag that was killed here stays off. Raises FlagstaffError for a key in
    `overwrite` that no row has.
    """
    with db.atomic():
        _wait_for_other_imports()
        rows = [*read_rows()]
        if unknown := sorted({*overwrite} - {row.key for row in rows}):
            raise FlagstaffError("no row of waffle has the key {key}", key=repr(unknown[0]))
        return import_rows(rows, overwrite=overwrite)


def import_rows(rows: Iterable[Row], *, overwrite: Collection[str] = ()) -> list[Imported]:
    """Writes rows, as `import_waffle` does."""
    with db.atomic(), from_source(SOURCE):
        conversions = [convert(row) for row in rows]
        keys = Counter(converted.row.key for converted in conversions)
        # Locked before their history is read, so that no newer change is missed.
        locked = all_rows(conf.flag_model).filter(key__in=keys).order_by("pk").select_for_update()
        flags = {flag.key: flag for flag in locked}
        users = allowed_pks_of(flags.values())
        done = []
        for converted in conversions:
            key = converted.row.key
            note = _collision(converted) if keys[key] > 1 else ""
            if note or converted.status == REFUSED:
                done.append(_refused(converted, note))
            elif key in flags and _is_equal(flags[key], users[flags[key].pk], converted):
                done.append(Imported(converted, Changed(Kind.FLAG, key, {}, {}, written=False)))
            else:
                pk = flags[key].pk if key in flags else None
                done.append(_write(converted, pk, is_overwritten=key in overwrite))
        return done


def _wait_for_other_imports() -> None:
    """Blocks until no other import is running, which may write newer rows than were read here."""
    if db.is_postgresql:
        db.lock(__name__)


def _is_equal(flag: Any, users: Collection[Any], converted: Converted) -> bool:
    """Whether a flag is as its row. Queries nothing, unlike an update."""
    is_same_list = converted.allowed_users is None or {*users} == {*converted.allowed_users}
    return is_same_list and not differing(flag, converted.fields)


def _write(converted: Converted, pk: Any, *, is_overwritten: bool) -> Imported:
    """Writes a row to its flag, or undoes that if the newest change was not one of an import."""
    key, fields = converted.row.key, {**converted.fields}
    if converted.allowed_users is not None:
        fields["allowed_users"] = [*converted.allowed_users]
    newest = _newest_change(key, pk)
    try:
        with db.atomic():
            changed = (
                changes.flags.create(key, **{"enabled": True, **fields})
                if pk is None
                else changes.flags.update(key, fields)
            )
            is_new = pk is None and newest is None
            is_own = newest is not None and newest.source == SOURCE
            if changed.written and not (is_new or is_own or is_overwritten):
                transaction.set_rollback(True, using=db.alias)
                return _refused(converted, _conflict(key, newest, changed))
    except InvalidChangeError as error:
        return _refused(converted, str(error.message))
    return Imported(converted, changed)


def _newest_change(key: str, pk: Any) -> Change | None:
    """Returns the newest entry about a flag, or about a deleted one that had its key."""
    if not has_history():
        return None
    of_key = Change.objects.filter(relation=Kind.FLAG.row_relation, key=key)
    return (of_key if pk is None else Change.objects.of_row(Kind.FLAG, pk)).newest().first()


def _conflict(key: str, newest: Change | None, changed: Changed) -> str:
    advice = f"pass --overwrite {key} to write the values of waffle"
    if newest is None:
        return f"the history does not say who has changed its flag; {advice}"
    actor = f" by {newest.actor}" if newest.actor else ""
    source = f" (source {newest.source})" if newest.source else ""
    if changed.action == "create":
        return f"its flag was deleted here{actor}{source}; {advice}"
    names = ", ".join(changed.new or ())
    return f"its flag was changed here{actor}{source}; waffle has another {names}; {advice}"


def _collision(converted: Converted) -> str:
    key, row = converted.row.key, converted.row
    return (
        f"another row has its key {key}, too; add "
        f'"{row.kind}:{row.name}": "{key}.{row.kind}" to FLAGSTAFF["WAFFLE"]["KEYS"]'
    )


def _refused(converted: Converted, note: str) -> Imported:
    notes = (note,) if note else converted.notes
    return Imported(replace(converted, status=REFUSED, notes=notes))
