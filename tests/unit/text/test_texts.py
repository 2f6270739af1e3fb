"""Texts: English with values, in the reader's language, and joined."""

import pickle
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from django.utils import translation
from django.utils.html import format_html
from django.utils.timezone import override

from flagstaff._core import is_storable
from flagstaff._text import (
    Sentence,
    TextError,
    as_stored,
    joined,
    local_number,
    localized,
    plain_numbers,
    say,
    some,
    storable,
    text_of,
)
from flagstaff._text.times import TimeValue, ago, duration, full_time
from flagstaff.changes import Changed
from flagstaff.conf import SettingError
from flagstaff.exceptions import (
    ConflictError,
    DocumentError,
    FlagstaffError,
    PlanError,
    UnknownPlanError,
)
from flagstaff.history import Kind
from flagstaff.history.describe import describe_change
from tests.support.translations import german

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


def test_stored_text_is_english_with_numbers_that_all_languages_read_alike() -> None:
    users = say("{count} user", "{count} users", count=1_000)
    with translation.override("de"):
        assert as_stored(_HOLDS) == (
            "holds at 25 %: waits for users: 1234 of 56789 seen, 2.5 times"
        )
        assert as_stored(joined([users, "1,000"])) == "1000 users, 1,000"
        assert as_stored("1,000") == "1,000"
        assert as_stored(say("limit {limit}", limit=1e-7)) == "limit 0.0000001"


@pytest.mark.parametrize("language", ["de", "en", None])
def test_plain_numbers_have_no_separators_in_any_language(language: Any) -> None:
    with translation.override(language), plain_numbers():
        assert local_number(56_789) == "56789"
        assert local_number(Decimal("1E-7")) == "0.0000001"
        assert _WAITS.local.endswith("1234 of 56789 seen, 2.5 times")


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
    text = joined(texts, "; ")
    assert text == "; ".join(texts)
    assert [*text.values.values()] == texts


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
    text = text_of([error, TextError(say("no"))])
    assert text == f"{_HOLDS} no"
    assert text.values["part_0"] is _HOLDS


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


@pytest.mark.parametrize(
    ("items", "options", "text"),
    [
        ([], {"limit": 2}, ""),
        (["a"], {"limit": 2}, "a"),
        (["a", "b"], {"limit": 2}, "a, b"),
        (["a", "b", "c"], {"limit": 2}, "a, b and 1 more"),
        (range(2000), {"limit": 1}, "0 and 1,999 more"),
        # Items that are not passed.
        (["a", "b"], {"limit": 2, "total": 5}, "a, b and 3 more"),
        (["a", "b"], {"total": 5}, "a, b and 3 more"),
        (["a", "b"], {"total": 2}, "a, b"),
        # Ten by default.
        (range(11), {}, "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 1 more"),
    ],
)
def test_join_some_shows_items_up_to_the_limit(items: Any, options: Any, text: str) -> None:
    assert some(items, **options) == text


NOON = datetime(2026, 7, 1, 12, 0, 5, tzinfo=timezone.utc)


def test_time_in_a_message_is_local_with_seconds_and_zone(settings: Any) -> None:
    settings.TIME_ZONE = "America/Lima"
    with override("Europe/Berlin"):
        assert full_time(NOON) == "2026-07-01 14:00:05 CEST"
    # Without a zone, it has that of the project.
    settings.TIME_ZONE = "Europe/Berlin"
    with override("UTC"):
        assert full_time(NOON.replace(tzinfo=None)) == "2026-07-01 12:00:05 CEST"


def test_time_of_a_sentence_has_one_form_in_logs_and_another_on_pages() -> None:
    with override("Europe/Berlin"):
        text = say("runs at {time}", time=TimeValue(NOON))
        assert text == "runs at 2026-07-01 14:00:05 CEST"
        assert text.local == text.html == "runs at July 1, 2026, 14:00:05 CEST"
        with german({"runs at {time}": "läuft am {time}"}):
            assert text.local == "läuft am 1. Juli 2026, 14:00:05 CEST"


def test_users_in_a_description_are_shortened_in_the_active_language() -> None:
    step = Changed(Kind.FLAG, "banner", {}, {"allowed_users": [*range(20)]}, written=True)
    assert describe_change(step, {}).endswith("9 and 10 more)")
    with german({"{items} and {others} more": "{items} und {others} weitere"}):
        assert describe_change(step, {}).endswith("9 und 10 weitere)")


@pytest.mark.parametrize(
    ("text", "stored"),
    [("", ""), ("Grüße 🥐", "Grüße 🥐"), ("a\0b", "a\ufffdb"), ("\ud800", "\ufffd")],
)
def test_nul_and_lone_surrogates_are_not_storable_and_are_replaced(text: str, stored: str) -> None:
    assert is_storable(text) is (text == stored)
    assert storable(text) == stored


NOW = datetime(2026, 11, 26, 12, tzinfo=timezone.utc)
AGES = {
    "just now": timedelta(seconds=59),
    "1 min ago": timedelta(seconds=60),
    "59 min ago": timedelta(minutes=59, seconds=59),
    "23 h ago": timedelta(hours=23),
    "1 day ago": timedelta(days=1),
    "6 days ago": timedelta(days=6),
    "4 weeks ago": timedelta(days=29),
    "2 months ago": timedelta(days=60),
    "1 year ago": timedelta(days=400),
}


@pytest.mark.parametrize(("text", "age"), AGES.items())
def test_time_is_in_its_largest_unit(text: str, age: timedelta) -> None:
    assert ago(NOW - age, NOW) == text


def test_time_of_a_clock_that_is_ahead_is_now() -> None:
    assert ago(NOW + timedelta(minutes=2), NOW) == "just now"


@pytest.mark.parametrize(
    ("seconds", "text", "largest"),
    [
        (0, "0 s", "0 s"),
        (0.4, "less than 1 s", "less than 1 s"),
        (59, "59 s", "59 s"),
        (59.6, "1 min", "1 min"),
        (750, "12 min 30 s", "12 min"),
        (3600, "1 h", "1 h"),
        (3661, "1 h 1 min", "1 h"),
        (129_600, "1 d 12 h", "1 d"),
    ],
)
def test_duration_has_its_two_largest_units_or_one(seconds: float, text: str, largest: str) -> None:
    assert duration(seconds) == text
    assert duration(seconds, largest_only=True) == largest
