"""What a change may write into a field of a project's own model."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ValidationError

from flagstaff.changes.fields import validate, validate_new
from flagstaff.exceptions import InvalidChangeError
from tests.models_of_others import model_of, value_fields

EMPTY: list[Any] = ["", [], {}]


@pytest.fixture(scope="module")
def model() -> Any:
    """A model of values as the book has it: its JSON is not said to be allowed to be blank."""
    return model_of("Setting", value_fields())


@pytest.mark.parametrize("value", EMPTY)
def test_empty_json_is_a_value_like_any_other(value: object, model: Any) -> None:
    validate_new(model(key="a", value=value))
    validate(model(key="a", value=5), "value", value)


def test_no_value_at_all_is_refused(model: Any) -> None:
    with pytest.raises(ValidationError, match="value"):
        validate_new(model(key="a", value=None))
    with pytest.raises(InvalidChangeError, match="value cannot be null"):
        validate(model(key="a", value=5), "value", None)


def test_empty_text_is_refused_where_the_model_does(model: Any) -> None:
    with pytest.raises(ValidationError, match="key"):
        validate_new(model(key="", value=5))
    with pytest.raises(InvalidChangeError, match="key"):
        validate(model(key="a", value=5), "key", "")
