"""Compares, validates and writes the fields of one row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime
from typing import cast

from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db import DataError, IntegrityError, transaction
from django.db.models import Field, JSONField, Model

from flagstaff._stored_value_schema import is_secret, value_schema_problems
from flagstaff._tables.bucket_units import BUCKET_BY
from flagstaff._tables.impossible_values import impossible_problem
from flagstaff._tables.model_fields import (
    REVIEW_ON,
    RULES,
    TAGS,
    AnyField,
    auto_now_fields,
    find_field,
    segment_model,
)
from flagstaff._tables.rows import Fields, Row, model_of
from flagstaff._tables.sqlstate import error_text
from flagstaff._words.json_text import canonical_json
from flagstaff._words.text import Text, is_storable, joined, text_of
from flagstaff.base_models import AbstractKeyValueStore
from flagstaff.changes.preview import is_preview
from flagstaff.changes.segment_use import require_segments
from flagstaff.changes.value_schema import value_schema_field_problem, value_schema_problems_of
from flagstaff.conf import conf
from flagstaff.exceptions import InvalidChangeError
from flagstaff.validators import (
    condition_problem,
    key_problem,
    rule_problem,
    tags_problem,
    unit_problem,
    value_rule_problem,
)

# The field of a segment.
_CONDITIONS = "conditions"


def differing(row: Row, fields: Fields) -> dict[str, object]:
    """Returns the fields that have another value in the row."""
    return {name: new for name, new in fields.items() if not _has(row, name, new)}


def write(row: Row, fields: Fields, *, savepoint: bool = True, is_past: bool = False) -> None:
    """Validates and writes these fields of a row, and its auto_now fields.

    Raises InvalidChangeError. Without `savepoint`, the caller then rolls back the whole change.
    `is_past` works as in `require_valid`.
    """
    require_valid(row, fields, is_past=is_past)
    if RULES in fields:
        require_segments(row, fields[RULES])
    # A secret that cannot be made public stays a secret.
    secret = is_secret(row)
    assign(row, fields)
    update_fields = [*fields, *_auto_now_names(row)]
    _save(row, secret=secret, savepoint=savepoint, update_fields=update_fields)


def require_valid(row: Row, fields: Fields, *, is_past: bool = False) -> None:
    """Raises InvalidChangeError if the model does not accept these fields of a row.

    With `is_past` they are those of the history, so values that never match are no reason against
    them. Whether the segments of rules exist is not checked.
    """
    if isinstance(row, segment_model()) and "key" in fields:
        raise InvalidChangeError(
            "{field}: {problem}",
            field="key",
            problem=Text(
                "the key of a segment cannot be changed, because rules name it; create another "
                "segment"
            ),
        )
    for name, new in fields.items():
        validate(row, name, new, is_past=is_past)
    for problem in value_schema_problems_of(row, fields).values():
        raise InvalidChangeError("{field}: {problem}", field=row.key, problem=problem)


def assign(row: Row, fields: Fields) -> None:
    """Sets these fields of a row in memory."""
    for name, new in fields.items():
        # Of a foreign key, the history has the value of the column.
        field = None if isinstance(new, Model) else find_field(model_of(row), name)
        setattr(row, getattr(field, "attname", name), new)


def insert(row: Row, *, savepoint: bool = True) -> None:
    """Writes a new row. Raises InvalidChangeError as `write` does."""
    require_segments(row, getattr(row, RULES, []))
    _save(row, savepoint=savepoint, force_insert=True)


def touch(row: Row) -> None:
    """Updates the auto_now fields of a flag whose allowed users have changed."""
    if (names := _auto_now_names(row)) and not is_preview():
        row.save(using=conf.database, update_fields=names)


def validate(row: Row, name: str, new: object, *, is_past: bool = False) -> None:
    """Raises InvalidChangeError if the model does not accept the new value of one field.

    The other fields are not validated, so that disabling a flag never fails because of them.
    """
    if problem := problem_of(row, name, new, is_past=is_past):
        raise InvalidChangeError("{field}: {problem}", field=name, problem=problem)


def problem_of(row: Row, name: str, new: object, *, is_past: bool = False) -> str | None:
    """Returns why the model does not accept the new value of one field, or None."""
    field = _field(row, name)
    if problem := _problem(row, field, new):
        return problem
    if not is_past and (problem := _impossible_problem(row, field, new)):
        return problem
    if new is None and not field.null:
        return (
            Text('must not be null; write JSON, such as "stripe", 25 or [], or delete the row')
            if isinstance(field, JSONField)
            else Text("must not be null")
        )
    try:
        if not _is_empty_json(field, new):
            field.validate(new, cast("Model", row))
        field.run_validators(new)
    except ValidationError as error:
        return text_of(error.error_list)
    is_key = name == "key" and isinstance(row, AbstractKeyValueStore)
    return key_problem(cast("str", new)) if is_key else None


def problems_of_new(row: Model) -> dict[str, str]:
    """Returns why the model does not accept a new row, by the names of its fields."""
    fields = row._meta.local_concrete_fields
    values = {field: getattr(row, field.attname) for field in fields}
    # Not by the validators: a project's own field may have none, and they ignore empty JSON.
    problems: dict[str, str] = {
        field.name: problem
        for field, value in values.items()
        if (problem := _problem(row, field, value) or _impossible_problem(row, field, value))
    }
    if not problems and isinstance(row, conf.value_model):
        problems |= value_schema_problems(row)
    empty = {field.name for field, value in values.items() if _is_empty_json(field, value)}
    try:
        row.full_clean(
            exclude=empty | {*problems}, validate_unique=False, validate_constraints=False
        )
    except ValidationError as error:
        of_model = {name: text_of(one) for name, one in error.error_dict.items()}
        return {**of_model, **problems}
    return problems


def problems_text(problems: Mapping[str, str]) -> Text:
    """Returns the problems of several fields in one line."""
    return joined(
        [Text("{field}: {problem}", field=name, problem=text) for name, text in problems.items()],
        "; ",
    )


def _problem(row: Row | Model, field: AnyField, new: object) -> Text | None:
    """Returns what is wrong with a new value that the field's validators may not see, or None."""
    if new is None and field.null:
        return None
    return (
        _optional_field_problem(row, field, new)
        or _condition_problem(row, field, new)
        or value_schema_field_problem(row, field, new)
        or _text_problem(field, new)
    )


def _optional_field_problem(row: Row | Model, field: AnyField, new: object) -> Text | None:
    """Returns why a row cannot have the value of an optional field; None for other fields."""
    if isinstance(row, conf.value_model):
        problem_of = _PROBLEMS_OF_VALUES.get(field.name)
    elif isinstance(row, conf.flag_model):
        problem_of = _PROBLEMS.get(field.name)
    else:
        return None
    return problem_of(new) if problem_of else None


def _condition_problem(row: Row | Model, field: AnyField, new: object) -> Text | None:
    is_condition = isinstance(row, segment_model()) and field.name == _CONDITIONS
    return condition_problem(new) if is_condition else None


def _text_problem(field: AnyField, new: object) -> Text | None:
    # Drivers raise other errors than the database does. A key has problems of its own.
    is_text = isinstance(new, str) and not isinstance(field, JSONField) and field.name != "key"
    if not is_text or is_storable(str(new)):
        return None
    return Text("contains a NUL character or half of a surrogate pair, which cannot be stored")


def _impossible_problem(row: Row | Model, field: AnyField, new: object) -> Text | None:
    is_own = isinstance(row, (conf.flag_model, conf.value_model, segment_model()))
    if not is_own or field.name not in (RULES, _CONDITIONS):
        return None
    # The row of a change has its stored conditions.
    stored = None if row._state.adding else getattr(row, field.attname)
    return impossible_problem(new, stored)


def _date_problem(new: object) -> Text | None:
    # The database would read a text, but the result of the change would have no date.
    is_date = isinstance(new, date) and not isinstance(new, datetime)
    return None if is_date else Text("this is not a date; pass a datetime.date")


_PROBLEMS: Mapping[str, Callable[[object], Text | None]] = {
    RULES: rule_problem,
    BUCKET_BY: unit_problem,
    TAGS: tags_problem,
    REVIEW_ON: _date_problem,
}
_PROBLEMS_OF_VALUES: Mapping[str, Callable[[object], Text | None]] = {
    RULES: value_rule_problem,
    BUCKET_BY: unit_problem,
}


def _auto_now_names(row: Row) -> list[str]:
    return [field.name for field in auto_now_fields(model_of(row))]


def _save(
    row: Row,
    *,
    savepoint: bool,
    secret: bool = False,
    force_insert: bool = False,
    update_fields: list[str] | None = None,
) -> None:
    if is_preview():
        return
    with rejections(secret=secret or is_secret(row), savepoint=savepoint):
        row.save(using=conf.database, force_insert=force_insert, update_fields=update_fields)


@contextmanager
def rejections(*, secret: bool, savepoint: bool = True) -> Iterator[None]:
    """Rolls back the block and raises InvalidChangeError if the database rejects a row."""
    try:
        with transaction.atomic(using=conf.database, savepoint=savepoint):
            yield
    except (IntegrityError, DataError) as error:
        # The database's error contains the whole row, and no log may contain a secret.
        cause = None if secret else error
        raise InvalidChangeError(
            "the database rejected the change: {reason}", reason=error_text(error)
        ) from cause


def _is_empty_json(field: AnyField, value: object) -> bool:
    """[], {} and "" are values like any other, even if the field is not `blank`."""
    return isinstance(field, JSONField) and value is not None and value in field.empty_values


def _has(row: Row, name: str, new: object) -> bool:
    """Whether the row has this value already."""
    field = _field(row, name)
    old = getattr(row, field.attname)
    if isinstance(field, JSONField):
        return _is_equal_json(old, new)
    return bool(old == getattr(new, "pk", new))


def _is_equal_json(old: object, new: object) -> bool:
    """Compares as JSON, because in Python True equals 1 and 1 equals 1.0."""
    try:
        return canonical_json(old, allow_nan=True) == canonical_json(new)
    except (TypeError, ValueError, RecursionError):  # To be rejected when it is validated.
        return False


def _field(row: Row, name: str) -> AnyField:
    try:
        field = row._meta.get_field(name)
    except FieldDoesNotExist:
        field = None
    if not isinstance(field, Field) or not field.concrete or field.primary_key:
        text = Text(
            "a {model} has no field {name} to change",
            model=str(row._meta.verbose_name),
            name=repr(name),
        )
        raise InvalidChangeError(text)
    return field
