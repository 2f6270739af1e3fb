"""Validation of fields of a project's own model."""

from __future__ import annotations

from typing import Any

import pytest
from django.db.models import JSONField

from flagstaff.changes.fields import problems_of_new, validate
from flagstaff.exceptions import InvalidChangeError
from tests.support.models_of_others import value_model_of

EMPTY: list[Any] = ["", [], {}]


@pytest.fixture(scope="module")
def model() -> Any:
    """A value model whose JSONField is not `blank`."""
    return value_model_of(value=JSONField())


@pytest.mark.parametrize("value", EMPTY)
def test_empty_json_is_valid(value: object, model: Any) -> None:
    assert problems_of_new(model(key="a", value=value)) == {}
    validate(model(key="a", value=5), "value", value)


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [("value", None, "value: must not be null; write JSON"), ("key", "", "key")],
)
def test_null_value_and_empty_key_are_rejected(
    name: str, given: object, message: str, model: Any
) -> None:
    assert [*problems_of_new(model(**{"key": "a", "value": 5, name: given}))] == [name]
    with pytest.raises(InvalidChangeError, match=message):
        validate(model(key="a", value=5), name, given)
