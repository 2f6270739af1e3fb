"""The German translation: complete, with the placeholders of the messages, and compiled."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import django
import pytest
from django.utils.translation import ngettext, override

from tests.support.po_files import Message, compiled, expected, read_po
from tests.support.translations import entries
from tools.messages import POT

GERMAN = POT.parent / "de" / "LC_MESSAGES" / "django.po"
MESSAGES = read_po(GERMAN)

# %(name)s and {name}; a double percent sign is one of the text.
PLACEHOLDER = re.compile(r"%\(\w+\)[sd]|\{\w*\}|%%")
NUMBERS = {"%(count)s", "{count}"}


def placeholders(text: str) -> Counter[str]:
    return Counter(PLACEHOLDER.findall(text))


def problems(message: Message) -> list[str]:
    """Returns what is wrong with the translation of one message."""
    found = []
    if not all(text.strip() for text in message.translated):
        found.append("is not translated")
    if "fuzzy" in message.flags:
        found.append("is fuzzy")
    if any("TODO" in text for text in message.translated):
        found.append("has a TODO")
    originals = [message.text, message.plural] if message.plural else [message.text]
    if len(message.translated) != len(originals):
        found.append("has another number of plural forms")
    for original, text in zip(originals, message.translated, strict=False):
        missing = placeholders(original) - placeholders(text)
        more = placeholders(text) - placeholders(original)
        # The form for one may say it without the number: "in der letzten Stunde".
        is_singular = bool(message.plural) and text is message.translated[0]
        if text and (more or (set(missing) - NUMBERS if is_singular else missing)):
            found.append(f"has other placeholders: {text}")
    return found


def test_german_has_the_messages_of_the_catalogue() -> None:
    assert entries(GERMAN.read_text()) == entries(POT.read_text()), "run make messages"


def test_german_messages_have_no_problem() -> None:
    assert {message.key: problems(message) for message in MESSAGES if problems(message)} == {}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is not translated"),
        ("Das ist ein TODO %(key)s", "has a TODO"),
        ("Der Flag", "has other placeholders: Der Flag"),
        ("%(keys)s", "has other placeholders: %(keys)s"),
        ("%(key)s %(key)s", "has other placeholders: %(key)s %(key)s"),
    ],
)
def test_wrong_translation_is_reported(text: str, problem: str) -> None:
    message = Message("", "The flag %(key)s", "", (text,), frozenset())
    assert problem in problems(message)


def test_fuzzy_translation_is_reported() -> None:
    message = Message("", "The flag", "", ("Das Flag",), frozenset({"fuzzy"}))
    assert problems(message) == ["is fuzzy"]


def test_singular_may_say_one_without_its_number() -> None:
    texts = ("in der letzten Stunde", "in den letzten %(count)s Stunden")
    assert (
        problems(Message("", "in %(count)s hour", "in %(count)s hours", texts, frozenset())) == []
    )
    [problem] = problems(
        Message("", "in %(count)s hour", "in %(count)s hours", texts[::-1], frozenset())
    )
    assert problem == "has other placeholders: in der letzten Stunde"


def test_message_without_its_plural_is_reported() -> None:
    message = Message("", "%(count)s flag", "%(count)s flags", ("%(count)s Flag",), frozenset())
    assert problems(message) == ["has another number of plural forms"]


def test_compiled_german_has_the_texts_of_the_source() -> None:
    assert compiled(GERMAN.with_suffix(".mo")) == expected(MESSAGES), "run make messages"


def test_german_uses_german_quotation_marks() -> None:
    texts = [text for message in MESSAGES for text in message.translated]
    assert [text for text in texts if "”" in text or text.count("„") != text.count("“")] == []


def test_message_shared_with_django_has_its_translation() -> None:
    shared = {}
    for path in Path(django.__file__).parent.glob("**/locale/de/LC_MESSAGES/django.po"):
        shared.update({message.key: message.translated for message in read_po(path)})
    same = [message for message in MESSAGES if any(shared.get(message.key, ()))]
    assert same
    assert {message.key: message.translated for message in same} == {
        message.key: shared[message.key] for message in same
    }


@pytest.mark.parametrize(("count", "text"), [(0, "0 Regeln"), (1, "1 Regel"), (2, "2 Regeln")])
def test_german_plural_form_fits_the_count(count: int, text: str) -> None:
    with override("de"):
        assert ngettext("%(count)s rule", "%(count)s rules", count) % {"count": count} == text
