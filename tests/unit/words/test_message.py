"""Messages: English text with a code, in the reader's language, as JSON and back."""

from __future__ import annotations

import json
import pickle

import pytest
from django.utils import translation

from flagstaff._words.message import Message, Template, from_json, localized, to_json

_WAITS = Template("test_waits", "waits for users: %(seen)s of %(required)s seen, %(ratio)s times")
_HOLDS = Template("test_holds", "holds at 25 %%: %(why)s")
_CHOOSE = Template("test_choose", "choose one of %(keys)s")


def _waits() -> Message:
    return _WAITS(seen=1234, required=56_789, ratio=2.5)


def test_english_text_groups_counts_but_no_names() -> None:
    assert _waits() == "waits for users: 1,234 of 56,789 seen, 2.5 times"
    assert _CHOOSE(keys=["1234", "beta"]) == "choose one of 1234, beta"


def test_localized_message_has_numbers_and_messages_in_the_language() -> None:
    with translation.override("de"):
        assert localized(_HOLDS(why=_waits())) == (
            "holds at 25 %: waits for users: 1.234 of 56.789 seen, 2,5 times"
        )
        assert localized(_CHOOSE(keys=["1.5", _waits()])).startswith("choose one of 1.5, waits")
        small = _WAITS(seen=0, required=-1, ratio=1e-05)
        assert localized(small).endswith("-1 seen, 0,00001 times")


def test_text_made_from_a_message_is_plain() -> None:
    assert not isinstance(f"{_waits()}", Message)
    assert to_json(f"so: {_CHOOSE(keys=['a'])}") == {"text": "so: choose one of a"}


@pytest.mark.parametrize("message", [_waits(), _HOLDS(why=_waits()), _CHOOSE(keys=["a", _waits()])])
def test_stored_message_is_read_again_with_its_code_and_values(message: Message) -> None:
    read = from_json(json.loads(json.dumps(to_json(message))))

    assert (read, read.code) == (message, message.code)  # type: ignore[attr-defined]
    assert to_json(read) == to_json(message)
    with translation.override("de"):
        assert localized(read) == localized(message)


@pytest.mark.parametrize(
    "stored",
    [
        {"code": "of_a_newer_version", "values": {}, "text": "as it was stored"},
        {"code": "test_waits", "values": {"seen": 1}, "text": "as it was stored"},
        {"code": "test_waits", "values": {"seen": 1, "required": None, "ratio": 1}}
        | {"text": "as it was stored"},
        {"code": ["test_waits"], "text": "as it was stored"},
        {"text": "as it was stored"},
    ],
)
def test_message_that_this_version_does_not_know_shows_its_stored_english(stored: object) -> None:
    assert from_json(stored) == "as it was stored"


@pytest.mark.parametrize("stored", [None, 3, [], {}])
def test_stored_value_that_is_no_message_is_an_empty_text(stored: object) -> None:
    assert from_json(stored) == ""


def test_second_text_of_a_code_is_rejected() -> None:
    with pytest.raises(ValueError, match="two messages have the code test_waits; rename one"):
        Template("test_waits", "another text")


def test_missing_value_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="required"):
        _WAITS(seen=1, ratio=2.0)


def test_pickled_message_keeps_its_code() -> None:
    assert to_json(pickle.loads(pickle.dumps(_waits()))) == to_json(_waits())
