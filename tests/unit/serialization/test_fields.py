"""Fields in a file: each type, and those for which a project has no column."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import models
from django.test.utils import isolate_apps

from flagstaff._tables.model_fields import AnyField
from flagstaff.conf import Conf
from flagstaff.serialization import read
from flagstaff.serialization.fields import ParseError, parse, serialize
from tests.support.models_of_others import flag_fields, model_of

TIME = datetime(2026, 11, 20, 8, 17, 5, 250_000, tzinfo=timezone.utc)
FIELDS: dict[str, tuple[AnyField, Any]] = {
    "date": (models.DateField(), date(2026, 11, 20)),
    "time": (models.DateTimeField(), TIME),
    "duration": (models.DurationField(), timedelta(days=1, microseconds=3)),
    "decimal": (models.DecimalField(max_digits=9, decimal_places=3), Decimal("0.100")),
    "uuid": (models.UUIDField(), UUID(int=7)),
    "float": (models.FloatField(), 0.1),
    "large": (models.BigIntegerField(), 2**62),
    "boolean": (models.BooleanField(), True),
    "null": (models.BooleanField(null=True), None),
    "json": (models.JSONField(), {"on": [1, 1.5, None]}),
    "text": (models.TextField(), "on"),
    "reference": (models.ForeignKey(User, models.CASCADE, related_name="+"), 42),
}


@isolate_apps("flagstaff")
def row_with(name: str) -> tuple[AnyField, models.Model]:
    """Returns a field, and a row of a model that has it."""
    field, value = FIELDS[name]
    body = {"field": field, "__module__": __name__, "Meta": type("Meta", (), {"app_label": "x"})}
    row = type("Row", (models.Model,), body)()
    setattr(row, field.attname, value)
    return field, row


@pytest.mark.parametrize("name", FIELDS)
def test_serialized_field_is_parsed_to_the_same_value(name: str) -> None:
    field, row = row_with(name)
    value = parse(field, json.loads(json.dumps(serialize(field, row))))
    if name == "reference":
        value = int(str(value))
    assert (value, type(value)) == (FIELDS[name][1], type(FIELDS[name][1]))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("boolean", 1, "must be true or false, not a number"),
        ("boolean", None, "must not be null"),
        ("date", 20261120, "must be a string, not a number"),
        ("large", True, "must be an integer, not a boolean"),
        ("large", "7", "must be an integer, not a string"),
        ("float", [], "must be a number, not a list"),
        ("text", 7, "must be a string, not a number"),
        ("date", {}, "must be a string or a number, not a mapping"),
    ],
)
def test_value_of_a_wrong_type_is_rejected_without_showing_it(
    name: str, value: Any, message: str
) -> None:
    with pytest.raises(ParseError, match=f"^{message}$"):
        parse(row_with(name)[0], value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rules", [{"conditions": [{"segment": "enterprise"}]}]),
        ("owner", "payments"),
        ("tags", ["q3"]),
        ("review_on", "2027-03-01"),
    ],
)
def test_field_without_its_column_is_a_problem(
    monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    monkeypatch.setattr(Conf, "flag_model", model_of("Switch", flag_fields()))
    document = read(json.dumps({"flagstaff": 1, "flags": {"a": {name: value}}}))
    [problem] = document.problems.found
    assert problem.path == ("flags", "a", name)
    assert problem.text == (
        f"the flag model of this project has no field {name}; add it, or remove it from the file"
    )


def test_empty_fields_are_imported_without_the_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Conf, "flag_model", model_of("Switch", flag_fields()))
    fields: dict[str, object] = {"rules": [], "owner": "", "tags": [], "review_on": None}
    found = read(json.dumps({"flagstaff": 1, "flags": {"a": fields}}))
    assert not found.problems.found
    assert dict(found.items[0].fields) == {}
