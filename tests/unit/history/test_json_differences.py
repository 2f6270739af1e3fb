"""The differences of two JSON objects."""

import copy
import json
from functools import reduce
from operator import getitem
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flagstaff.history.log import Path, json_differences, path_text

_SCALARS = (
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-2, 2) | st.text("ab.", max_size=2)
)
_PARTS = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text("abc", max_size=2), inner),
    max_leaves=12,
)
_OBJECTS = st.dictionaries(st.text("abc", max_size=2), _PARTS)


def differences(old: Any, new: Any) -> list[tuple[str, str, Any, Any]]:
    return [
        (difference.action, path_text(difference.path), difference.old, difference.new)
        for difference in json_differences(old, new)
    ]


def text(value: object) -> str:
    return json.dumps(value, sort_keys=True)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({"retries": {"max": 3}}, {"retries": {"max": 5}}, [("changed", "retries.max", 3, 5)]),
        ({"a": 1}, {}, [("removed", "a", 1, None)]),
        ({}, {"a": None}, [("added", "a", None, None)]),
        ({"a": [1, 2]}, {"a": [1, 3]}, [("changed", "a", [1, 2], [1, 3])]),
        ({"a": 1}, {"a": True}, [("changed", "a", 1, True)]),
        ({"a": 1}, {"a": 1.0}, [("changed", "a", 1, 1.0)]),
        ({"a": [1]}, {"a": {"b": 1}}, [("changed", "a", [1], {"b": 1})]),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, []),
    ],
)
def test_differences_are_the_smallest_members(old: Any, new: Any, expected: object) -> None:
    assert differences(old, new) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (("hosts", "name"), "hosts.name"),
        (("a.b", "c d"), '["a.b"]["c d"]'),
        (("größe", "max-age"), "größe.max-age"),
        (("", "1"), '[""]["1"]'),
    ],
)
def test_path_is_written_without_ambiguity(path: Path, expected: str) -> None:
    assert path_text(path) == expected


def test_deep_members_are_compared_as_a_whole() -> None:
    old: Any = 1
    for _ in range(400):
        old = {"a": old}
    [difference] = json_differences(old, json.loads(json.dumps(old).replace("1", "2")))
    assert 0 < len(difference.path) < 400


@settings(deadline=None)
@given(_OBJECTS, _OBJECTS)
@pytest.mark.thorough
def test_each_difference_is_true_and_only_equal_objects_have_none(old: Any, new: Any) -> None:
    assert differences(old, copy.deepcopy(old)) == []
    parts = [*json_differences(old, new)]
    assert bool(parts) == (text(old) != text(new))
    for difference in parts:
        if difference.action == "removed":
            assert text(reduce(getitem, difference.path, old)) == text(difference.old)
        else:
            assert text(reduce(getitem, difference.path, new)) == text(difference.new)
        if difference.action == "changed":
            assert text(difference.old) != text(difference.new)
