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


def test_null_value_is_rejected(model: Any) -> None:
    with pytest.raises(ValidationError, match="value"):
        validate_new(model(key="a", value=None))
    with pytest.raises(InvalidChangeError, match="value cannot be null"):
        validate(model(key="a", value=5), "value", None)


def test_empty_key_is_rejected(model: Any) -> None:
    with pytest.raises(ValidationError, match="key"):
        validate_new(model(key="", value=5))
    with pytest.raises(InvalidChangeError, match="key"):
        validate(model(key="a", value=5), "key", "")
