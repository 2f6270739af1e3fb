"""Stored English texts, which pages show in their language."""

import pytest
from django.test import override_settings
from django.utils.translation import override

from flagstaff._text import joined, localized, say
from flagstaff._text.stored import read_back
from flagstaff._text.times import duration


@pytest.mark.parametrize(
    ("text", "german"),
    [
        # Of a plan.
        (
            "created with the steps 10 % for 1 h, 50 % for 1 d 12 h",
            "angelegt mit den Schritten 10 % für 1 h, 50 % für 1 T 12 h",
        ),
        (
            "paused: the flag was changed outside of the plan, as its history shows",
            "pausiert: das Flag wurde außerhalb des Plans geändert, wie sein Verlauf zeigt",
        ),
        ("deleted; it was paused at 25 %", "gelöscht; Zustand davor: pausiert bei 25 %"),
        # Of an experiment.
        (
            "edited: Traffic in percent: 50 → 60; Bucketing unit: user → visitor",
            "bearbeitet: Traffic in Prozent: 50 → 60; Zuteilungseinheit: user → visitor",
        ),
        (
            "undone: “continued with all exposures”; it is draft again, with all exposures",
            (
                "rückgängig gemacht: „fortgesetzt mit allen Expositionen“; wieder Entwurf, "
                "mit allen Expositionen"
            ),
        ),
        # Of an action that waited.
        ("new_checkout: rollout 5 → 25 %", "new_checkout: Rollout 5 → 25 %"),
        ("12 was to run before it: was deleted", "12 sollte davor laufen: wurde gelöscht"),
        ("1,000 users", "1.000 Benutzer"),
        ("1 user", "1 Benutzer"),
    ],
)
def test_stored_text_is_shown_in_the_language_of_the_reader(text: str, german: str) -> None:
    sentence = read_back(text)
    assert sentence == text
    with override("de"):
        assert localized(sentence).replace("\N{NO-BREAK SPACE}", " ") == german


@pytest.mark.parametrize(
    "text",
    [
        "",
        "paused",
        "search: users",
        "held: payment rate is not fine",
        "by ana",
        "no message of flagstaff {key}",
        "1 users",
        f"held: {'too long ' * 200}",
    ],
)
def test_text_that_no_message_has_made_stays(text: str) -> None:
    with override("de"):
        assert localized(read_back(text)) == text


def test_words_of_people_and_keys_stay_in_a_stored_text() -> None:
    text = say("{what}; reason: {reason}", what=say("rollout 0 %"), reason="users left")
    with override("de"):
        assert localized(read_back(str(text))) == "Rollout 0 %; Begründung: users left"


def test_list_of_a_stored_text_is_read_to_its_end() -> None:
    texts = joined(
        [say("rollout 0 %"), say("{percent} % for {time}", percent=5, time=duration(60))]
    )
    with override("de"):
        assert localized(read_back(str(texts))) == "Rollout 0 %, 5 % für 1 min"


@override_settings(TIME_ZONE="Europe/Vienna")
@pytest.mark.parametrize(
    ("time", "shown"),
    [
        ("2026-12-01 11:21:01 UTC", "1. Dezember 2026, 12:21:01 CET"),
        ("2026-07-01 11:21:01 CEST", "1. Juli 2026, 11:21:01 CEST"),
        ("2026-12-01 11:21:01 EST", "2026-12-01 11:21:01 EST"),
        ("2026-13-01 11:21:01 UTC", "2026-13-01 11:21:01 UTC"),
    ],
)
def test_time_in_a_stored_text_has_the_form_of_pages(time: str, shown: str) -> None:
    text = f"the users could not be counted at {time}"
    with override("de"):
        german = localized(read_back(text))
    assert german == f"die Benutzer konnten nicht gezählt werden: {shown}"
