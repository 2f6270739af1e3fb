"""Conditions of segments, and rules that name segments."""

from typing import Any

import pytest

from flagstaff.exceptions import InvalidChangeError
from flagstaff.models import FeatureFlag
from tests.support.conditions import condition

PAYING = [condition("plan", "in", "paid")]
LARGE = [condition("seats", "gte", 100)]


def rules(*segments: str) -> list[dict[str, Any]]:
    """One rule for each segment."""
    return [{"conditions": [{"segment": segment}]} for segment in segments]


def rules_of(key: str = "new_checkout") -> Any:
    """The stored rules of a flag."""
    return FeatureFlag.objects.get(key=key).rules


def message_of(call: Any, *arguments: Any, **options: Any) -> str:
    """The message of the InvalidChangeError that a call raises."""
    with pytest.raises(InvalidChangeError) as error:
        call(*arguments, **options)
    return str(error.value)
