"""Validation of fields of a project's own model."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ValidationError

from flagstaff.changes.fields import validate, validate_new
from flagstaff.exceptions import InvalidChangeError
from tests.support.models_of_others import model_of, value_fields

EMPTY: list[Any] = ["", [], {}]


@pytest.fixture(scope="module")
def model() -> Any:
    """A value model whose JSONField is not `blank`."""
    return model_of("Setting", value_fields())


@pytest.mark.parametrize("value", EMPTY)
def test_empty_json_is_valid(value: object, model: Any) -> None:
    validate_new(model(key="a", value=value))
    validate(model(key="a", value=5), "value", value)


@pytest.mark.parametrize(
    ("name", "given", "message"), [("value", None, "value cannot be null"), ("key", "", "key")]
)
def test_null_value_and_empty_key_are_rejected(
    name: str, given: object, message: str, model: Any
) -> None:
    with pytest.raises(ValidationError, match=name):
        validate_new(model(**{"key": "a", "value": 5, name: given}))
    with pytest.raises(InvalidChangeError, match=message):
        validate(model(key="a", value=5), name, given)
