"""The differences of two JSON documents."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flagstaff.history.differences import Path, json_differences, path_text

_SCALARS = (
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-2, 2) | st.text("ab.", max_size=2)
)
_DOCUMENTS = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text("abc", max_size=2), inner),
    max_leaves=12,
)


def differences(old: object, new: object) -> list[tuple[str, str, Any, Any]]:
    return [
        (one.action, path_text(one.path), one.old, one.new) for one in json_differences(old, new)
    ]


def at(document: Any, path: Path) -> Any:
    """Returns the part of a document. Raises KeyError or IndexError if there is none."""
    for part in path:
        document = document[part]
    return document


def text(value: object) -> str:
    return json.dumps(value, sort_keys=True)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({"retries": {"max": 3}}, {"retries": {"max": 5}}, [("changed", "retries.max", 3, 5)]),
        ({"a": 1}, {}, [("removed", "a", 1, None)]),
        ({}, {"a": None}, [("added", "a", None, None)]),
        ([1, 2], [1, 2, "x"], [("added", "[2]", None, "x")]),
        (["a", "b", "c"], ["a", "c"], [("removed", "[1]", "b", None)]),
        (["a", "c"], ["a", "b", "c"], [("added", "[1]", None, "b")]),
        ([{"a": 1}, 2], [{"a": 3}, 2], [("changed", "[0].a", 1, 3)]),
        ({"a": 1}, {"a": True}, [("changed", "a", 1, True)]),
        ({"a": 1}, {"a": 1.0}, [("changed", "a", 1, 1.0)]),
        ({"a": [1]}, {"a": {"b": 1}}, [("changed", "a", [1], {"b": 1})]),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, []),
    ],
)
def test_differences_are_the_smallest_parts(old: object, new: object, expected: object) -> None:
    assert differences(old, new) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (("hosts", 2, "name"), "hosts[2].name"),
        (("a.b", "c d"), '["a.b"]["c d"]'),
        (("größe", "max-age"), "größe.max-age"),
        (("", "1"), '[""]["1"]'),
        ((), ""),
    ],
)
def test_path_is_written_without_ambiguity(path: Path, expected: str) -> None:
    assert path_text(path) == expected


def test_deep_parts_are_compared_as_a_whole() -> None:
    old: Any = 1
    for _ in range(400):
        old = [old]
    [difference] = json_differences(old, json.loads(json.dumps(old).replace("1", "2")))
    assert 0 < len(difference.path) < 400


@settings(deadline=None)
@given(_DOCUMENTS, _DOCUMENTS)
def test_each_difference_is_true_and_only_equal_documents_have_none(old: Any, new: Any) -> None:
    assert differences(old, copy.deepcopy(old)) == []
    found = [*json_differences(old, new)]
    assert bool(found) == (text(old) != text(new))
    for one in found:
        if one.action == "removed":
            assert text(at(old, one.path)) == text(one.old)
        else:
            assert text(at(new, one.path)) == text(one.new)
        if one.action == "changed":
            assert text(one.old) != text(one.new)


@settings(deadline=None)
@given(_DOCUMENTS, _DOCUMENTS)
def test_lists_without_the_differences_are_equal(old: Any, new: Any) -> None:
    """What is neither removed, added nor changed is the same on both sides."""
    old, new = {"list": [old, 1, new]}, {"list": [new, 1]}
    actions = [one.action for one in json_differences(old, new) if one.path[:-1] == ("list",)]
    left = len(old["list"]) - actions.count("removed")
    assert left + actions.count("added") == len(new["list"])


def test_elements_between_equal_ones_are_compared_by_index() -> None:
    assert differences([0, 1, 2, 9], [0, 3, 1, 2, 4, 9]) == [
        ("changed", "[1]", 1, 3),
        ("changed", "[2]", 2, 1),
        ("added", "[3]", None, 2),
        ("added", "[4]", None, 4),
    ]


def test_element_in_a_long_list_of_equal_elements_is_found() -> None:
    found = differences([0] * 280, [0] * 100 + [7] + [0] * 180)
    assert found == [("added", "[100]", None, 7)]
    assert differences([0] * 900 + [7], [0] * 900) == [("removed", "[900]", 7, None)]
