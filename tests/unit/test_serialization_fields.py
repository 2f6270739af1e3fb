"""A field of any kind stands in a file, and is read again as it was."""

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

from flagstaff.serialization.fields import parse, serialize

MOMENT = datetime(2026, 11, 20, 8, 17, 5, 250_000, tzinfo=timezone.utc)
FIELDS: dict[str, tuple[models.Field[Any, Any], Any]] = {
    "date": (models.DateField(), date(2026, 11, 20)),
    "time": (models.DateTimeField(), MOMENT),
    "duration": (models.DurationField(), timedelta(days=1, microseconds=3)),
    "decimal": (models.DecimalField(max_digits=9, decimal_places=3), Decimal("0.100")),
    "uuid": (models.UUIDField(), UUID(int=7)),
    "float": (models.FloatField(), 0.1),
    "large": (models.BigIntegerField(), 2**62),
    "switch": (models.BooleanField(), True),
    "nothing": (models.BooleanField(null=True), None),
    "json": (models.JSONField(), {"on": [1, 1.5, None]}),
    "text": (models.TextField(), "on"),
    "reference": (models.ForeignKey(User, models.CASCADE, related_name="+"), 42),
}


@isolate_apps("flagstaff")
def row(name: str) -> tuple[Any, models.Model]:
    field, value = FIELDS[name]
    body = {"held": field, "__module__": __name__, "Meta": type("Meta", (), {"app_label": "x"})}
    made = type("Held", (models.Model,), body)()
    setattr(made, field.attname, value)
    return field, made


@pytest.mark.parametrize("name", FIELDS)
def test_field_is_read_as_it_was_written(name: str) -> None:
    field, held = row(name)
    said = json.loads(json.dumps(serialize(field, held)))
    again = parse(field, said)
    if name == "reference":
        again = int(again)
    assert (again, type(again)) == (FIELDS[name][1], type(FIELDS[name][1]))


WRONG: list[tuple[str, Any, str]] = [
    ("switch", 1, "is true or false, and not a number"),
    ("switch", None, "cannot be null"),
    ("large", True, "is a whole number, and not true or false"),
    ("large", "7", "is a whole number, and not a text"),
    ("float", [], "is a number, and not a list"),
    ("text", 7, "is a text, and not a number"),
    ("date", {}, "is a text or a number, and not a mapping"),
]


@pytest.mark.parametrize(("name", "said", "told"), WRONG)
def test_what_a_field_cannot_hold_is_told_without_what_it_was(
    name: str, said: Any, told: str
) -> None:
    with pytest.raises(ValueError, match=f"^{told}$"):
        parse(row(name)[0], said)
