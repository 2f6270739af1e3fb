"""Users as text: lines, commas, columns of a CSV file."""

from __future__ import annotations

import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flagstaff.admin.allowed_users.adding import Added, parse_names


@pytest.mark.parametrize(
    ("text", "first_column", "names"),
    [
        ("alice", False, ["alice"]),
        ("alice, bob\n\n carol ,,\r\n", False, ["alice", "bob", "carol"]),
        ("alice\tbob", False, ["alice", "bob"]),
        ("alice\nalice, alice", False, ["alice"]),
        ('"doe, jane", x', False, ["doe, jane", "x"]),
        ("alice,a@shop\nbob,b@shop", True, ["alice", "bob"]),
        ("alice\ta@shop\n\nbob", True, ["alice", "bob"]),
        (",second\n", True, []),
        ("", False, []),
    ],
)
def test_names_of_text(text: str, first_column: bool, names: list[str]) -> None:
    assert parse_names(text, first_column=first_column) == names


def test_cell_that_is_too_long_is_an_error() -> None:
    with pytest.raises(csv.Error):
        parse_names('"' + "x" * 200_000, first_column=False)


@given(st.text(), st.booleans())
def test_unknown_names_are_read_again_as_they_are(text: str, first_column: bool) -> None:
    try:
        names = parse_names(text, first_column=first_column)
    except csv.Error:
        return
    again = Added(0, 0, names, "").unknown_text
    assert parse_names(again, first_column=False) == names
