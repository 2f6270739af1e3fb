"""The messages for translators: the catalogue in the package, and what can be translated."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import django
import pytest
from django.utils.translation import override

from flagstaff._tables.states import State, state_label, state_summary
from flagstaff.history.describe import describe_change, describe_value, source_label
from flagstaff.history.events import Difference
from flagstaff.models import FeatureFlag
from flagstaff.serialization.plan import Step
from tests.conftest import RunIsolated
from tests.support.po_files import compiled, expected, read_po
from tests.support.translations import entries, german
from tools.messages import POT, merged, messages, translations, write_binary

# In Django's catalogues, these words have the same meaning.
SAME_IN_DJANGO = {
    "Action",
    "Delete",
    "Description",
    "Enabled",
    "Field",
    "Filters",
    "History",
    "Home",
    "No, take me back",
    "Save",
    "Search",
    "Show all",
    "Time",
    "User",
    "and",
}


# CI installs it, and must not skip these tests.
needs_gettext = pytest.mark.skipif(
    shutil.which("xgettext") is None and not os.environ.get("CI"), reason="needs GNU gettext"
)


@needs_gettext
def test_catalogue_has_the_messages_of_the_code() -> None:
    assert entries(POT.read_text()) == entries(messages()), "run make messages"


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
    messages = [f'#, python-format\nmsgid "{text}"\nmsgstr "{german}"\n' for text, german in texts]
    path.write_text("\n".join([HEADER, *messages]), encoding="utf-8")
    return path


@needs_gettext
def test_merged_translation_keeps_what_is_translated(tmp_path: Path) -> None:
    german = catalogue_of(tmp_path / "de.po", ("owner", "zuständig"), ("gone", "weg"))
    code = catalogue_of(tmp_path / "django.pot", ("Copy %(key)s", ""), ("owner", ""))
    german.write_text(merged(german, code))
    texts = [(message.text, message.translated) for message in read_po(german)]
    assert texts == [("Copy %(key)s", ("",)), ("owner", ("zuständig",))]
    assert "gone" not in german.read_text()


@needs_gettext
def test_merged_translation_of_a_changed_message_is_fuzzy(tmp_path: Path) -> None:
    german = catalogue_of(tmp_path / "de.po", ("The flag is now off.", "Flag ist jetzt aus."))
    code = catalogue_of(tmp_path / "django.pot", ("The flag is off.", ""))
    german.write_text(merged(german, code))
    [message] = read_po(german)
    assert message.translated == ("Flag ist jetzt aus.",)
    assert "fuzzy" in message.flags
    assert '#| msgid "The flag is now off."' in german.read_text()


@needs_gettext
def test_compiled_translation_has_what_is_translated(tmp_path: Path) -> None:
    german = catalogue_of(tmp_path / "de.po", ("owner", "zuständig"), ("tags", ""))
    write_binary(german)
    assert compiled(tmp_path / "de.mo") == {"owner": "zuständig"} == expected(read_po(german))


@needs_gettext
def test_translation_with_a_wrong_placeholder_is_not_compiled(tmp_path: Path) -> None:
    german = catalogue_of(tmp_path / "de.po", ("Copy %(key)s", "%(name)s kopieren"))
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
    po = folder / "django.po"
    options = ["--no-translator", "--locale", "de"]
    subprocess.run(["msginit", *options, "--input", POT, "--output-file", po], check=True)
    po.write_text(re.sub('(msgid "permission"\nmsgstr ")', r"\1Rechte", po.read_text()))
    subprocess.run(["msgfmt", po, "--check", "--output-file", folder / "django.mo"], check=True)
    printed = run_isolated(TRANSLATED, str(tmp_path), DJANGO_SETTINGS_MODULE="tests.support.settings")
    assert printed == "Rechte Betrieb\n"


def test_message_that_django_translates_has_a_context_or_the_same_meaning() -> None:
    of_django: set[str] = set()
    for path in Path(django.__file__).parent.glob("**/locale/de/LC_MESSAGES/django.po"):
        of_django.update(message for _, message, _ in entries(path.read_text()))
    found = {message for context, message, _ in entries(POT.read_text()) if not context}
    assert found & of_django == SAME_IN_DJANGO


def test_entry_with_a_percent_sign_has_named_placeholders() -> None:
    for entry in entries(POT.read_text()):
        for text in entry:
            assert not re.search(r"%[sdr]", text)


def test_message_has_no_escape_that_gettext_reads_in_another_way() -> None:
    call = re.compile(r'(?:\b_|gettext(?:_lazy)?)\(\s*"[^"\n]*(?<!\\)\\[xuN]')
    files = POT.parent.parent.rglob("*.py")
    assert [path.name for path in files if call.search(path.read_text())] == []


def test_kinds_are_not_translated_by_other_catalogues() -> None:
    # Django is in French, flagstaff is not.
    with override("fr"):
        kinds = [str(label) for label in FeatureFlag.Kind.labels]
    assert kinds == ["release", "operations", "permission"]


def test_kinds_are_translated() -> None:
    with german({"kind of flag\x04permission": "Rechte"}):
        assert str(FeatureFlag.Kind.PERMISSION.label) == "Rechte"


HISTORY = {
    "field\x04enabled": "aktiv",
    "boolean\x04false": "nein",
    "boolean\x04true": "ja",
    "source\x04command": "Befehl",
    "created": "angelegt",
}


def test_field_names_and_booleans_are_translated() -> None:
    step = Step("flag", "a", "change", (Difference("enabled", old=False, new=True),))
    with german(HISTORY):
        assert describe_change(step) == "aktiv nein → ja"
    assert describe_change(step) == "enabled false → true"


def test_column_of_the_project_keeps_its_name() -> None:
    step = Step("flag", "a", "change", (Difference("team", "ana", "bob"),))
    with german(HISTORY):
        assert describe_change(step) == 'team "ana" → "bob"'


def test_json_of_a_value_is_not_translated() -> None:
    step = Step("value", "a", "change", (Difference("value", old=False, new=True),))
    with german({**HISTORY, "field\x04value": "Wert"}):
        assert describe_change(step) == "Wert false → true"
        assert describe_value(True) == "true"


def test_source_of_flagstaff_is_translated() -> None:
    with german(HISTORY):
        assert source_label("command") == "Befehl"
        assert source_label("deploy script") == "deploy script"
        assert source_label(None) == ""
    assert source_label("command") == "command"


def test_length_of_a_shortened_value_is_translated() -> None:
    step = Step("value", "a", "change", (Difference("value", "x" * 20, "y"),))
    more = {
        ("%(shown)s… (%(count)s more character)", 1): "%(shown)s… (%(count)s weitere Zeichen)",
    }
    with german(more):
        assert describe_change(step, limit=5) == 'Wert "xxxx… (17 weitere Zeichen) → "y"'


def test_state_is_translated_as_a_whole_sentence() -> None:
    texts = {
        ("On for %(percent)s %% of all users and %(count)s allowed user.", 0): "",
        ("On for %(percent)s %% of all users and %(count)s allowed user.", 1): (
            "Für %(percent)s %% aller und %(count)s weitere an."
        ),
        "state of a flag\x04off": "aus",
    }
    with german(texts):
        assert state_summary(State.ROLLOUT, 5, 2) == "Für 5 % aller und 2 weitere an."
        assert state_label(State.OFF, 0) == "aus"
