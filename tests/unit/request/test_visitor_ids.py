"""The id of a visitor and its signature."""

from __future__ import annotations

import time
from typing import Any

import pytest
from django.core.signing import TimestampSigner

from flagstaff._request import visitor
from flagstaff._request.visitor import draw_id, read_id, sign_id

DAY = 86_400


def test_drawn_ids_are_random_and_readable_when_signed() -> None:
    ids = {draw_id() for _ in range(100)}
    assert len(ids) == 100
    assert {len(visitor_id) for visitor_id in ids} == {22}
    visitor_id = ids.pop()
    found = read_id(sign_id(visitor_id), DAY)
    assert found is not None
    assert (found.id, found.is_current) == (visitor_id, True)
    assert time.time() - found.drawn_at < 60


NOT_OURS = {
    "empty": "",
    "one colon": ":",
    "two colons": "::",
    "no signature": "abc",
    "a wrong signature": "abc:1:2",
    "not ASCII": "é" * 22,
    "half a character": "\ud800:1:2",
    "long": "a" * 100_000,
    "another key": TimestampSigner(key="another key", salt="flagstaff.visitor").sign("forged"),
    "another salt": TimestampSigner(salt="django.contrib.sessions").sign("of another cookie"),
}


@pytest.mark.parametrize("text", NOT_OURS.values(), ids=NOT_OURS)
def test_text_that_is_not_ours_is_no_id(text: str) -> None:
    assert read_id(text, DAY) is None


def test_id_is_valid_until_its_age(monkeypatch: pytest.MonkeyPatch) -> None:
    text, later = sign_id("visitor", time.time()), time.time() + DAY
    # The clocks of two machines differ.
    assert read_id(sign_id("visitor", time.time() + 5), DAY) is not None
    monkeypatch.setattr(time, "time", lambda: later - 10)
    assert read_id(text, DAY) is not None
    monkeypatch.setattr(time, "time", lambda: later + 10)
    assert read_id(text, DAY) is None


def test_id_signed_with_a_fallback_key_is_read_as_not_current(settings: Any) -> None:
    text = sign_id("visitor", 1_700_000_000)
    old, settings.SECRET_KEY = settings.SECRET_KEY, "a new secret"
    assert read_id(text, 10**9) is None
    settings.SECRET_KEY_FALLBACKS = [old]
    assert read_id(text, 10**9) == visitor.SignedId("visitor", 1_700_000_000, is_current=False)
