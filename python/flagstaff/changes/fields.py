"""Compares, validates and writes the fields of one row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db import DataError, IntegrityError, transaction
from django.db.models import Field, IntegerField, JSONField, Model

from flagstaff._stored_value_schema import is_secret
from flagstaff._tables.impossible_values import impossible_problem
from flagstaff._tables.model_fields import (
    RULES,
    AnyField,
    auto_now_fields,
    find_field,
    segment_model,
)
from flagstaff._tables.rows import Fields, Row, model_of
from flagstaff._tables.sqlstate import error_text
from flagstaff._words.json_text import canonical_json
from flagstaff._words.text import Text, joined, text_of
from flagstaff.changes.preview import is_preview
from flagstaff.changes.segment_use import require_segments
from flagstaff.changes.value_schema import value_schema_problems_of
from flagstaff.conf import conf
from flagstaff.exceptions import InvalidChangeError

# The field of a segment.
_CONDITIONS = "conditions"


def differing(row: Row, fields: Fields) -> dict[str, object]:
    """Returns the fields that have another value in the row."""
    return {name: new for name, new in fields.items() if not _has(row, name, new)}


def cleaned(row: Row, fields: Fields, *, is_past: bool = False) -> dict[str, Any]:
    """Returns these new fields of a row as its model's fields clean them.

    The other fields are not validated, so that disabling a flag never fails because of them. With
    `is_past` they are those of the history, so values that never match are no reason against them.
    Whether the segments of rules exist is not checked.

    Raises InvalidChangeError with all problems.
    """
    values, problems = clean_each(row, fields)
    if not is_past and not problems:
        problems |= impossible_problems(row, values)
    if isinstance(row, segment_model()) and "key" in fields:
        problems["key"] = Text(
            "the key of a segment cannot be changed, because rules name it; create another segment"
        )
    require_none(problems)
    for problem in value_schema_problems_of(row, values).values():
        require_none({row.key: problem})
    return values


def clean_each(row: Row, fields: Fields) -> tuple[dict[str, Any], dict[str, str]]:
    """Returns fields as their model's fields clean them, and why it refuses others, by name."""
    values: dict[str, Any] = {}
    problems: dict[str, str] = {}
    for name, new in fields.items():
        field = _field(row, name)
        try:
            # Django would cut decimals, and take True for 1.
            if isinstance(field, IntegerField) and isinstance(new, bool | float):
                text = field.error_messages["invalid"]
                raise ValidationError(text, params={"value": new})  # noqa: TRY301
            # Of a foreign key, the history has the value of the column.
            values[name] = field.clean(getattr(new, "pk", new), cast("Model", row))
        except ValidationError as error:
            problems[name] = text_of(error.error_list)
        # Django's fields let some values through to Python, such as an int to that of a date.
        except (TypeError, ValueError, OverflowError):
            problems[name] = Text("the value has a wrong type")
    return values, problems


def require_none(problems: Mapping[str, str]) -> None:
    """Raises InvalidChangeError if there are problems, by the names of their fields."""
    if problems:
        lines = (
            Text("{field}: {problem}", field=name, problem=text) for name, text in problems.items()
        )
        raise InvalidChangeError(joined(lines, "; "))


def impossible_problems(row: Row | Model, fields: Fields) -> dict[str, Text]:
    """Returns why conditions that never match are refused, by the field that has them."""
    problems = {}
    for name in (RULES, _CONDITIONS):
        # Those that are stored must not stop another change.
        stored = None if row._state.adding else getattr(row, name, None)
        if name in fields and (problem := impossible_problem(fields[name], stored)):
            problems[name] = problem
    return problems


def write(row: Row, fields: Fields, *, savepoint: bool = True) -> None:
    """Writes these cleaned fields of a row, and its auto_now fields.

    Raises InvalidChangeError if the database refuses them, or if rules name a segment that does not
    exist. Without `savepoint`, the caller then rolls back the whole change.
    """
    if RULES in fields:
        require_segments(row, fields[RULES])
    # A secret that cannot be made public stays a secret.
    secret = is_secret(row)
    assign(row, fields)
    update_fields = [*fields, *_auto_now_names(row)]
    _save(row, secret=secret, savepoint=savepoint, update_fields=update_fields)


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
    # psycopg cannot encode half of a surrogate pair.
    except (IntegrityError, DataError, UnicodeEncodeError) as error:
        # The database's error contains the whole row, and no log may contain a secret.
        cause = None if secret else error
        raise InvalidChangeError(
            "the database rejected the change: {reason}", reason=error_text(error)
        ) from cause


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
