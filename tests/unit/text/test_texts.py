"""Texts: English with values, in the reader's language, and joined."""

from __future__ import annotations

import pickle

import pytest
from django.utils import translation
from django.utils.html import format_html

from flagstaff._text import Sentence, TextError, joined, localized, say, text_of
from flagstaff.conf import SettingError
from flagstaff.exceptions import (
    ConflictError,
    DocumentError,
    FlagstaffError,
    PlanError,
    UnknownPlanError,
)

_WAITS = say(
    "waits for users: {seen} of {required} seen, {ratio} times",
    seen=1234,
    required=56_789,
    ratio=2.5,
)
_HOLDS = say("holds at 25 %: {why}", why=_WAITS)
_CHOOSE = say("choose one of {keys}", keys=joined(["1.5", _WAITS]))


def test_english_text_groups_counts_but_no_names() -> None:
    assert _WAITS == "waits for users: 1,234 of 56,789 seen, 2.5 times"
    assert say("choose one of {keys}", keys=joined(["1234", "beta"])) == (
        "choose one of 1234, beta"
    )


def test_localized_text_has_numbers_and_texts_in_the_language() -> None:
    with translation.override("de"):
        assert localized(_HOLDS) == (
            "holds at 25 %: waits for users: 1.234 of 56.789 seen, 2,5 times"
        )
        assert localized(_CHOOSE).startswith("choose one of 1.5, waits for users: 1.234")
        small = say("{seen} seen, {ratio} times", seen=-1, ratio=1e-05)
        assert localized(small) == "-1 seen, 0,00001 times"


@pytest.mark.parametrize("text", ['write {"pk": 42}', "", "{not_given}"])
def test_text_without_values_is_taken_as_it_is(text: str) -> None:
    assert say(text) == say(text).local == text


def test_braces_of_a_value_are_kept() -> None:
    assert say("{what} is no rule", what='{"a": "{b}"}') == '{"a": "{b}"} is no rule'


def test_missing_value_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="required"):
        say("{seen} of {required}", seen=1)


@pytest.mark.parametrize(("count", "text"), [(1, "1 user of a"), (1234, "1,234 users of a")])
def test_count_chooses_the_form(count: int, text: str) -> None:
    later = say("{count} user of {key}", "{count} users of {key}")
    assert say(later, count=count, key="a") == text
    with pytest.raises(KeyError, match="count"):
        say(later, key="a")


def test_sentence_is_escaped_in_html_but_for_values_that_are_html() -> None:
    sentence = say("{key} & {link}", key="<b>", link=format_html("<a>{}</a>", "1"))
    assert format_html("{}", sentence) == sentence.html == "&lt;b&gt; &amp; <a>1</a>"


def test_text_made_from_a_text_is_plain() -> None:
    assert not isinstance(f"{_WAITS}", Sentence)


@pytest.mark.parametrize("texts", [[], ["a"], ["{a}", "b", "c"]])
def test_joined_texts_are_values_of_the_text(texts: list[str]) -> None:
    found = joined(texts, "; ")
    assert found == "; ".join(texts)
    assert [*found.values.values()] == texts


@pytest.mark.parametrize("text", [_WAITS, _HOLDS, _CHOOSE])
def test_pickled_text_keeps_its_english_and_values(text: Sentence) -> None:
    copy = pickle.loads(pickle.dumps(text))
    assert (copy, copy.english, copy.values) == (text, text.english, text.values)


def test_text_error_is_shown_in_the_language_and_keeps_its_text() -> None:
    error = TextError(_HOLDS)
    with translation.override("de"):
        assert error.messages == [localized(_HOLDS)]
    copied = pickle.loads(pickle.dumps(error))
    assert (copied.messages, copied.text) == (error.messages, _HOLDS)
    found = text_of([error, TextError(say("no"))])
    assert found == f"{_HOLDS} no"
    assert found.values["part_0"] is _HOLDS


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (PlanError("{key} has no plan", key="a{b}"), say("{key} has no plan", key="a{b}")),
        (PlanError(_HOLDS), _HOLDS),
        (UnknownPlanError(), say("the flag has no rollout plan; create one")),
        (
            ConflictError(_HOLDS, advice="read it again", key="a"),
            say("{problem}; {advice}", problem=_HOLDS, advice="read it again"),
        ),
        (DocumentError(["no", _HOLDS]), say("{part_0}\n{part_1}", part_0="no", part_1=_HOLDS)),
        (SettingError("LISTEN is 1", "expected True"), say("LISTEN is 1; expected True")),
    ],
)
def test_error_carries_its_english_and_values(error: FlagstaffError, message: Sentence) -> None:
    for raised in (error, pickle.loads(pickle.dumps(error))):
        assert (type(raised), vars(raised)) == (type(error), vars(error))
        assert str(raised) == raised.message == message
        assert (raised.message.english, raised.message.values) == (message.english, message.values)
