"""The messages for translators, what can be translated, and the German translation."""

import os
import re
import shutil
import subprocess
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import django
import pytest
from django.utils.translation import override

from flagstaff._tables.states import FlagState, ReleaseState, state_label, state_summary
from flagstaff._text import say
from flagstaff.changes import Changed
from flagstaff.history import Kind
from flagstaff.history.describe import describe_change, describe_value, source_label
from flagstaff.models import FeatureFlag
from tests.conftest import RunIsolated
from tests.support.po_files import Message, compiled, expected, read_po
from tests.support.translations import entries, german
from tools.messages import POT, merged, messages, messages_of, translations, write_binary

OF_DJANGO = [*Path(django.__file__).parent.glob("**/locale/de/LC_MESSAGES/django.po")]
# These words have the same meaning in Django's catalogues.
SAME_IN_DJANGO = set(
    """
    Action|Delete|Description|Enabled|Field|Filters|Hide counts|Home|Remove
    Save|Search|Show all|Show counts|Time|and|name
    """.strip()
    .replace("\n    ", "|")
    .split("|")
)


# CI installs it, and must not skip these tests.
needs_gettext = pytest.mark.skipif(
    shutil.which("xgettext") is None and not os.environ.get("CI"), reason="needs GNU gettext"
)


@needs_gettext
def test_catalogue_has_the_messages_of_the_code() -> None:
    assert entries(POT.read_text()) == entries(messages()), "run make messages"


def test_messages_of_a_module_are_sentences_and_errors_also_inside_an_f_string() -> None:
    source = """
label = f"{say('state')}: {say('{count} user', '{count} users', count=2)}"
raise UnknownFlagError("no flag " '"{key}"', key=key)
"""
    messages = [*messages_of(source, "page.py")]
    assert messages == [("state", ""), ("{count} user", "{count} users"), ('no flag "{key}"', "")]


def test_messages_of_a_module_are_those_of_its_own_errors_too() -> None:
    source = """
class EndedError(FlagstaffError):
    pass

raise EndedError("the value has become secret")
raise ValueError("of Python")
"""
    assert [*messages_of(source, "page.py")] == [("the value has become secret", "")]


def test_messages_of_a_template_are_tags_and_paragraphs() -> None:
    source = """
{% say "{count} user" "{count} users" count=number as label %}{% say '<b class="x">All</b>' %}
{% blocktranslate trimmed context "flagstaff" %}
  A long
  paragraph.
{% endblocktranslate %}
"""
    assert [*messages_of(source, "page.html")] == [
        ("{count} user", "{count} users"),
        ('<b class="x">All</b>', ""),
        ("A long paragraph.", ""),
    ]


# Each sentence has the context of `say`, so no catalogue but that of the package has it.
def test_nothing_of_the_package_is_translated_without_its_context() -> None:
    other = re.compile(
        r"""{% trans|{% blocktrans(?!late trimmed context "flagstaff" %})|_\("|gettext\("""
    )
    package = POT.parents[1]
    files = [*package.rglob("*.html"), *package.rglob("*.py")]
    paths = [path for path in files if other.search(path.read_text(encoding="utf-8"))]
    assert paths == [package / "_text" / "__init__.py"]


@needs_gettext
def test_translations_are_updated() -> None:
    assert translations()
    for translation in translations():
        assert translation.read_text() == merged(translation, POT), "run make messages"


HEADER = """\
msgid ""
msgstr ""
"Language: de\\n"
"MIME-Version: 1.0\\n"
"Content-Type: text/plain; charset=UTF-8\\n"
"Plural-Forms: nplurals=2; plural=(n != 1);\\n"
"""


def catalogue_of(path: Path, *texts: tuple[str, str]) -> Path:
    messages = [
        f'#, python-brace-format\nmsgid "{text}"\nmsgstr "{german}"\n' for text, german in texts
    ]
    path.write_text("\n".join([HEADER, *messages]), encoding="utf-8")
    return path


@needs_gettext
def test_merged_translation_keeps_what_is_translated_and_a_changed_message_is_fuzzy(
    tmp_path: Path,
) -> None:
    old = [("owner", "zuständig"), ("gone", "weg"), ("The flag is now off.", "Flag ist jetzt aus.")]
    german = catalogue_of(tmp_path / "de.po", *old)
    new = ("Copy {key}", "owner", "The flag is off.")
    code = catalogue_of(tmp_path / "django.pot", *((text, "") for text in new))
    german.write_text(merged(german, code))
    assert [
        (message.text, message.translated, "fuzzy" in message.flags) for message in read_po(german)
    ] == [
        ("Copy {key}", ("",), False),
        ("owner", ("zuständig",), False),
        ("The flag is off.", ("Flag ist jetzt aus.",), True),
    ]
    assert '#| msgid "The flag is now off."' in german.read_text()
    assert "gone" not in german.read_text()


@needs_gettext
def test_compiled_translation_has_what_is_translated_with_its_placeholders(tmp_path: Path) -> None:
    german = catalogue_of(tmp_path / "de.po", ("owner", "zuständig"), ("tags", ""))
    write_binary(german)
    assert compiled(tmp_path / "de.mo") == {"owner": "zuständig"} == expected(read_po(german))
    german = catalogue_of(tmp_path / "de.po", ("Copy {key}", "{name} kopieren"))
    with pytest.raises(subprocess.CalledProcessError):
        write_binary(german)


TRANSLATED = """
import sys, django
from django.conf import settings
from django.utils.translation import override
settings.LOCALE_PATHS = [sys.argv[1]]
django.setup()
from flagstaff.models import FeatureFlag
with override("de"):
    print(FeatureFlag.Kind.PERMISSION.label, FeatureFlag.Kind.OPS.label)
"""


@needs_gettext
def test_translation_in_a_locale_path_replaces_that_of_the_package(
    tmp_path: Path, run_isolated: RunIsolated
) -> None:
    folder = tmp_path / "de" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    po = catalogue_of(folder / "django.po", ("permission", "Rechte"), ("operations", ""))
    po.write_text(po.read_text().replace("\nmsgid", '\nmsgctxt "flagstaff"\nmsgid'))
    write_binary(po)
    printed = run_isolated(
        TRANSLATED, str(tmp_path), DJANGO_SETTINGS_MODULE="tests.support.settings"
    )
    assert printed == "Rechte Betrieb\n"


def test_language_without_a_catalogue_is_english_throughout() -> None:
    # Django is in Greek, flagstaff is not.
    with override("el"):
        assert [m.text for m in MESSAGES if str(say(m.text, m.plural).lazy) != m.text] == []
        created = Changed(Kind.VALUE, "limit", None, {"value": 7}, written=True)
        assert describe_change(created) == "created, value 7"


def test_entry_with_a_percent_sign_has_named_placeholders() -> None:
    texts = {text for entry in entries(POT.read_text()) for text in entry}
    assert [text for text in texts if re.search(r"%[sdr]", text)] == []


def test_kinds_are_translated_but_not_by_other_catalogues() -> None:
    # Django is in French, flagstaff is not.
    with override("fr"):
        kinds = [str(label) for label in FeatureFlag.Kind.labels]
    assert kinds == ["release", "operations", "permission"]
    with german({"permission": "Rechte"}):
        assert str(FeatureFlag.Kind.PERMISSION.label) == "Rechte"


HISTORY = {
    "enabled": "aktiv",
    "false": "nein",
    "true": "ja",
    "in the admin": "im Admin",
    "waiting action": "wartende Aktion",
    "created": "angelegt",
    "turned on": "eingeschaltet",
}


def changed(field: str, old: object, new: object, **options: Any) -> str:
    written = Changed(Kind.FLAG, "banner", {field: old}, {field: new}, written=True)
    return describe_change(written, **options)


def test_field_names_and_booleans_are_translated_but_no_column_of_the_project_and_no_json() -> None:
    with german({**HISTORY, "value": "Wert"}):
        assert changed("enabled", False, True) == "eingeschaltet"
        assert describe_value(True, field="enabled") == "an"
        assert describe_value(True, field="client_side") == "ja"
        assert changed("team", "ana", "bob") == 'team "ana" → "bob"'
        assert changed("value", False, True) == "Wert false → true"
        assert describe_value(True) == "true"
    assert changed("enabled", False, True) == "turned on"


@pytest.mark.parametrize(
    ("source", "text", "translated"),
    [
        ("admin", "in the admin", "im Admin"),
        ("waiting 12", "waiting action 12", "wartende Aktion 12"),
        ("plan", "", ""),
        ("plan 7", "plan 7", "plan 7"),
        ("deploy script", "deploy script", "deploy script"),
        ("admin robot", "admin robot", "admin robot"),
    ],
)
def test_source_is_translated_but_not_one_of_the_project(
    source: str, text: str, translated: str
) -> None:
    assert source_label(source) == text
    with german(HISTORY):
        assert source_label(source) == translated


def test_length_of_a_shortened_value_is_translated() -> None:
    more = "{text}… ({count} more characters)"
    with german({more: "{text}… ({count} weitere Zeichen)"}):
        shown = changed("value", "x" * 20, "y", limit=5)
    assert shown == 'Wert "xxxx… (17 weitere Zeichen) → "y"'


def test_state_is_translated_as_a_whole_sentence() -> None:
    rollout = "On for {percent} % of all users and {count} allowed user."
    translated = "Für {percent} % aller und {count} weitere an."
    with german({(rollout, 0): "", (rollout, 1): translated, "off": "aus"}):
        assert (
            state_summary(FlagState(enabled=True, rollout_percent=5), 2)
            == "Für 5 % aller und 2 weitere an."
        )
        assert state_label(ReleaseState.OFF, FlagState(enabled=False, rollout_percent=0)) == "aus"


# The German translation: the placeholders of the messages, compiled, and complete at a release.

GERMAN = POT.parent / "de" / "LC_MESSAGES" / "django.po"
MESSAGES = read_po(GERMAN)

# Django fills %(name)s into messages of form fields.
PLACEHOLDER = re.compile(r"%\(\w+\)[sd]|\{\w*\}")
NUMBERS = {"{count}"}
FORMS, OTHER = "has another number of plural forms", "has other placeholders"


class UntranslatedWarning(UserWarning):
    """A message that Django shows in English, because its German text is missing or fuzzy."""


def is_translated(message: Message) -> bool:
    return "fuzzy" not in message.flags and all(text.strip() for text in message.translated)


def problems(message: Message) -> list[str]:
    """Returns what is wrong with the translation of one message."""
    texts = []
    if any("TODO" in text for text in message.translated):
        texts.append("has a TODO")
    originals = [message.text, message.plural] if message.plural else [message.text]
    if len(message.translated) != len(originals):
        texts.append(FORMS)
    for original, text in zip(originals, message.translated, strict=False):
        expected_ones, placeholders = (
            Counter(PLACEHOLDER.findall(form)) for form in (original, text)
        )
        missing, more = expected_ones - placeholders, placeholders - expected_ones
        # The form for one may say it without the number: "in der letzten Stunde".
        is_singular = bool(message.plural) and text is message.translated[0]
        if more or (set(missing) - NUMBERS if is_singular else missing):
            texts.append(f"{OTHER}: {text}")
    return texts


def warn_of_untranslated(messages: list[Message]) -> None:
    """Warns of each message without a German text, or fails where a release requires all."""
    if untranslated := [message.text for message in messages if not is_translated(message)]:
        text = f"translate into German, in {GERMAN}: {untranslated}"
        assert "REQUIRE_TRANSLATIONS" not in os.environ, text
        warnings.warn(text, UntranslatedWarning, stacklevel=2)


def test_german_has_the_messages_of_the_catalogue() -> None:
    assert entries(GERMAN.read_text()) == entries(POT.read_text()), "run make messages"


@pytest.mark.filterwarnings("default:translate into German")
def test_german_has_a_text_for_each_message() -> None:
    warn_of_untranslated(MESSAGES)


@pytest.mark.parametrize(("text", "flag"), [("", "python-format"), ("Der Flag", "fuzzy")])
def test_untranslated_message_is_a_warning_and_an_error_where_all_are_required(
    text: str, flag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages = [Message("", "The flag", "", (text,), frozenset({flag}))]
    monkeypatch.delenv("REQUIRE_TRANSLATIONS", raising=False)
    with pytest.warns(UntranslatedWarning, match="'The flag'"):
        warn_of_untranslated(messages)
    monkeypatch.setenv("REQUIRE_TRANSLATIONS", "1")
    with pytest.raises(AssertionError, match="'The flag'"):
        warn_of_untranslated(messages)


def test_german_texts_have_no_problem() -> None:
    translated = [message for message in MESSAGES if is_translated(message)]
    assert {message.key: problems(message) for message in translated if problems(message)} == {}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("Das ist ein TODO {key}", "has a TODO"),
        ("Der Flag", f"{OTHER}: Der Flag"),
        ("{keys}", OTHER + ": {keys}"),
        ("{key} {key}", OTHER + ": {key} {key}"),
    ],
)
def test_wrong_translation_is_reported(text: str, problem: str) -> None:
    message = Message("", "The flag {key}", "", (text,), frozenset())
    assert problems(message) == [problem]


def test_missing_plural_is_reported_and_the_singular_may_say_one_without_its_number() -> None:
    english = ("", "in {count} hour", "in {count} hours")
    texts = ("in der letzten Stunde", "in den letzten {count} Stunden")
    assert problems(Message(*english, texts, frozenset())) == []
    assert problems(Message(*english, texts[::-1], frozenset())) == [f"{OTHER}: {texts[0]}"]
    assert problems(Message(*english, texts[:1], frozenset())) == [FORMS]


def test_compiled_german_has_the_texts_of_the_source() -> None:
    assert compiled(GERMAN.with_suffix(".mo")) == expected(MESSAGES), "run make messages"


def test_german_uses_german_quotation_marks() -> None:
    texts = [text for message in MESSAGES for text in message.translated]
    assert [text for text in texts if "”" in text or text.count("„") != text.count("“")] == []


def test_message_shared_with_django_has_its_translation() -> None:
    shared: dict[str, tuple[str, ...]] = {}
    for path in OF_DJANGO:
        texts = {message.key: message.translated for message in read_po(path)}
        shared |= {key: text for key, text in texts.items() if any(text)}
    same = SAME_IN_DJANGO & shared.keys()
    translated = {m.text: m.translated for m in MESSAGES if m.text in same}
    assert translated == {text: shared[text] for text in same}


@pytest.mark.parametrize(("count", "text"), [(0, "0 Regeln"), (1, "1 Regel"), (2, "2 Regeln")])
def test_german_plural_form_fits_the_count(count: int, text: str) -> None:
    with override("de"):
        assert say("{count} rule", "{count} rules", count=count).local == text
