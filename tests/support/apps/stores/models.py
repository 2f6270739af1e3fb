"""Value models with fields that decode their column themselves."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from django.db import models

from flagstaff.validators import validate_value_rules


class DecimalDecoder(json.JSONDecoder):
    def __init__(self) -> None:
        super().__init__(parse_float=Decimal)


class LoudField(models.JSONField):
    """Returns texts in upper case."""

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        value = super().from_db_value(value, expression, connection)
        return value.upper() if isinstance(value, str) else value


class Store(models.Model):
    key = models.CharField(max_length=255, unique=True)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.key


class DecimalStore(Store):
    value = models.JSONField(decoder=DecimalDecoder)
    rules = models.JSONField(default=list, validators=[validate_value_rules])
    bucket_by = models.CharField(max_length=100, default="user")

    class Meta:
        app_label = "stores"


class LoudStore(Store):
    value = LoudField()

    class Meta:
        app_label = "stores"


class TextStore(Store):
    """Stores plain text instead of JSON."""

    value = models.TextField()

    class Meta:
        app_label = "stores"
