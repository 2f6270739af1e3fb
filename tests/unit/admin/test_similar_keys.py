"""The flag that a misspelt key probably means."""

from __future__ import annotations

import pytest

from flagstaff.admin.unknown_keys.similar import similar_keys

KNOWN = ["new_checkout", "dark_mode", "search_v2", "ab"]


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("new_chekout", "new_checkout"),
        ("new-checkout", "new_checkout"),
        ("NEW_CHECKOUT", "new_checkout"),
        ("newcheckout", "new_checkout"),
        ("dakr_mode", "dark_mode"),
        ("search_v3", "search_v2"),
    ],
)
def test_misspelt_key_finds_the_flag(key: str, meant: str) -> None:
    assert similar_keys([key], KNOWN) == {key: meant}


@pytest.mark.parametrize("key", ["", "banner", "new_", "(other keys)"])
def test_other_key_finds_none(key: str) -> None:
    assert similar_keys([key], KNOWN) == {}


def test_misspelt_key_is_found_among_many_of_one_prefix() -> None:
    known = [f"checkout_step_{number}" for number in range(500)] + ["checkout_badge"]
    assert similar_keys(["checkout_bagde"], known) == {"checkout_bagde": "checkout_badge"}


def test_no_flag_is_similar_to_nothing() -> None:
    assert similar_keys(["a"], []) == {}
