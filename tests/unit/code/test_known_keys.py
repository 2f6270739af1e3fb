"""Keys that code uses, and that nobody declares: the check, and overrides in tests."""

import sys
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from flagstaff._code.files import ANY, EXPERIMENT, FLAG, VALUE, Use
from flagstaff._code.project import KnownKeys
from flagstaff._declared import DECLARED, Flag, Place, Value
from flagstaff.models import FeatureFlag
from flagstaff.testing import override_flag, override_value, override_variant
from tests.support.check_messages import check_messages

ADVICE = "correct it, declare it, or add it to ALLOWED_KEYS in FLAGSTAFF"


@pytest.fixture(autouse=True)
def declared(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind, key in ((Flag, "new_checkout"), (Value, "page_size")):
        # Not by a call, which declares the key for the whole process.
        new: Any = str.__new__(kind, key)
        vars(new)["place"] = Place(messages.__code__, 0, __name__)
        monkeypatch.setitem(DECLARED, key, new)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any) -> Path:
    """The folder of a project, whose `manage.py check` runs."""
    monkeypatch.setattr(sys, "argv", ["manage.py", "check"])
    monkeypatch.chdir(tmp_path)
    settings.BASE_DIR = tmp_path
    return tmp_path


def messages() -> list[tuple[str | None, str]]:
    """The messages about the code of the project, which is beside that of the tests."""
    every = check_messages("flagstaff")
    return [(message.id, message.msg) for message in every if "shop.py" in message.msg]


@pytest.mark.parametrize(
    ("kind", "key", "problem"),
    [
        (FLAG, "new_checkout", ""),
        (VALUE, "page_size", ""),
        (FLAG, "allowed", ""),
        (ANY, "page_size", ""),
        (EXPERIMENT, "button", ""),
        (FLAG, "new_chekout", 'no flag has the key "new_chekout"; did you mean "new_checkout"?'),
        (VALUE, "x", 'no value has the key "x"'),
        (FLAG, "page_size", '"page_size" is the key of a value, not of a flag'),
    ],
)
def test_problem_of_a_key_names_a_similar_one_of_its_kind(
    kind: str, key: str, problem: str
) -> None:
    known = KnownKeys({FLAG: {"new_checkout"}, VALUE: {"page_size"}}, allowed={"allowed"})
    assert known.problem_of_key(key, kind) == problem


@pytest.mark.parametrize(("name", "is_problem"), [("ADVICE", False), ("NO_SUCH_NAME", True)])
def test_name_that_a_module_has_when_it_runs_is_not_missing(name: str, is_problem: bool) -> None:
    use = Use("shop.py", 1, "", FLAG, name, missing_in=__file__)
    assert bool(KnownKeys({}).problem(use)) is is_problem


def test_check_reports_an_unknown_key_in_code_as_an_error_and_in_tests_as_a_warning(
    project: Path,
) -> None:
    code = 'from flagstaff import flag_enabled\nflag_enabled("nope")\n'
    (project / "shop.py").write_text(code)
    (project / "test_shop.py").write_text(code)
    assert messages() == [
        ("flagstaff.E063", 'shop.py:2: no flag has the key "nope"'),
        ("flagstaff.W064", 'test_shop.py:2: no flag has the key "nope"'),
    ]
    with override_settings(FLAGSTAFF={"ALLOWED_KEYS": ["nope"]}):
        assert messages() == []


def test_other_commands_than_check_read_no_code(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "shop.py").write_text('from flagstaff import flag_enabled\nflag_enabled("nope")\n')
    monkeypatch.setattr(sys, "argv", ["manage.py", "runserver"])
    assert messages() == []


def test_folders_of_others_and_of_collected_files_are_not_read(
    project: Path, settings: Any
) -> None:
    settings.MEDIA_ROOT = project / "media"
    for folder in (".tox", "node_modules/a", "lib/site-packages", "media"):
        (project / folder).mkdir(parents=True)
        code = 'from flagstaff import flag_enabled\nflag_enabled("nope")\n'
        (project / folder / "shop.py").write_text(code)
    assert messages() == []


def test_override_of_an_unknown_key_warns_with_a_similar_one() -> None:
    problem = 'no flag has the key "new_chekout"; did you mean "new_checkout"\\?'
    with pytest.warns(UserWarning, match=f"{problem}; {ADVICE}") as warned:
        override_flag("new_chekout", True)
    assert warned[0].filename == __file__
    with pytest.warns(UserWarning, match='"new_checkout" is the key of a flag, not of a value'):
        override_value("new_checkout", 3)


@pytest.mark.filterwarnings("error")
def test_override_of_a_known_key_does_not_warn(monkeypatch: pytest.MonkeyPatch) -> None:
    override_flag("new_checkout", True)
    override_variant("button", "green")
    with override_settings(FLAGSTAFF={"ALLOWED_KEYS": ["legacy"]}):
        override_flag("legacy", True)
    # A project that declares no flags.
    monkeypatch.delitem(DECLARED, "new_checkout")
    override_flag("new_chekout", True)


@pytest.mark.django_db
def test_check_that_names_a_database_knows_its_rows(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "shop.py").write_text('from flagstaff import flag_enabled\nflag_enabled("nope")\n')
    FeatureFlag.objects.create(key="nope")
    # The newest Django names all databases, whatever the command names.
    assert len(check_messages("flagstaff", databases=["default"])) == 1
    monkeypatch.setattr(sys, "argv", ["manage.py", "check", "--database", "default"])
    assert check_messages("flagstaff", databases=["default"]) == []
