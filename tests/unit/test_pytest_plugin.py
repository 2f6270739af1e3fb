"""The fixture `flags` and the marks, in a project that is tested by pytest."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flagstaff import flag_enabled, get_value
from flagstaff.testing import override_flag
from tests.conftest import ROOT, RunIsolated

Pytest = Callable[..., str]

HEAD = """
import pytest
from flagstaff import all_flags, flag_enabled, get_value
"""


@pytest.fixture
def run_pytest(tmp_path: Path) -> Pytest:
    """Run pytest on one file, in a project that sets nothing, and give back what it said."""

    def run(file: str, *arguments: str, status: int = 0, head: str = HEAD) -> str:
        (tmp_path / "test_shop.py").write_text(head + file)
        (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers\n")
        command = ["-X", "dev", "-W", "error", "-m", "pytest", "-p", "no:cacheprovider", *arguments]
        result = subprocess.run(
            [sys.executable, *command],
            cwd=tmp_path,
            env=os.environ
            | {"PYTHONPATH": str(ROOT), "DJANGO_SETTINGS_MODULE": "tests.settings_sqlite"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert result.returncode == status, result.stdout + result.stderr
        return result.stdout

    return run


FIXTURE = """
def test_first(flags):
    flags.on("new_checkout", "banner")
    flags.off("dark_mode")
    flags.value("gateway", "paypal")
    assert all_flags() == {"banner": True, "dark_mode": False, "new_checkout": True}
    assert get_value("gateway") == "paypal"
    flags.off("banner")
    assert flag_enabled("banner") is False

def test_then(flags):
    assert all_flags() == {}
    assert get_value("gateway") is None

def test_without_the_fixture():
    assert all_flags() == {}

@pytest.mark.xfail(raises=ZeroDivisionError, strict=True)
def test_that_fails(flags):
    flags.on("new_checkout")
    1 / 0

def test_after_one_that_failed():
    assert all_flags() == {}
"""
MARKS = """
pytestmark = [pytest.mark.flag("banner"), pytest.mark.value("gateway", "stripe")]

def test_module():
    assert all_flags() == {"banner": True}
    assert get_value("gateway") == "stripe"

@pytest.mark.flag("banner", False)
@pytest.mark.value("gateway", value=["paypal"])
class TestClass:
    def test_class(self):
        assert all_flags() == {"banner": False}
        assert get_value("gateway") == ["paypal"]

    @pytest.mark.flag("new_checkout", enabled=True)
    @pytest.mark.flag("banner")
    def test_nearest_wins(self):
        assert all_flags() == {"banner": True, "new_checkout": True}

    @pytest.mark.flag("banner")
    def test_fixture_goes_before_the_marks(self, flags):
        flags.off("banner")
        assert all_flags() == {"banner": False}

@pytest.fixture
def seen():
    return all_flags()

@pytest.mark.flag("new_checkout")
def test_other_fixtures_see_it(seen):
    assert seen == {"banner": True, "new_checkout": True}

@pytest.mark.parametrize("key", [pytest.param("dark_mode", marks=pytest.mark.flag("dark_mode"))])
def test_parameter(key):
    assert flag_enabled(key) is True

from django.test import SimpleTestCase

@pytest.mark.flag("new_checkout")
class OfDjango(SimpleTestCase):
    def setUp(self):
        assert flag_enabled("new_checkout") is True

    @pytest.mark.flag("banner", False)
    def test_method(self):
        assert all_flags() == {"banner": False, "new_checkout": True}
"""


def test_fixture_sets_flags_and_values_until_the_test_ends(run_pytest: Pytest) -> None:
    assert "4 passed, 1 xfailed" in run_pytest(FIXTURE, "-p", "no:randomly")


def test_marks_set_flags_and_values_and_the_nearest_wins(run_pytest: Pytest) -> None:
    assert "7 passed" in run_pytest(MARKS)


WRONG_MARKS = """
@pytest.mark.flag("banner", 1)
def test_enabled(): pass

@pytest.mark.flag(42)
def test_key(): pass

@pytest.mark.flag()
def test_nothing(): pass

@pytest.mark.value("gateway")
def test_no_value(): pass

def test_without_a_mark():
    assert all_flags() == {}
"""


def test_wrong_mark_fails_its_test_alone(run_pytest: Pytest) -> None:
    said = run_pytest(WRONG_MARKS, status=1)
    assert "1 passed, 4 errors" in said
    assert "TypeError: a flag is overridden with True or False, not 1" in said
    assert "TypeError: the key of a flag is a text, not 42" in said
    assert "missing 1 required positional argument: 'key'" in said
    assert "missing 1 required positional argument: 'value'" in said


def test_marks_and_fixture_are_named_in_the_help(run_pytest: Pytest) -> None:
    said = run_pytest("def test_nothing(): pass", "--markers")
    assert "@pytest.mark.flag(key, enabled=True): set a flag for the test" in said
    assert "@pytest.mark.value(key, value): set a setting for the test" in said
    said = run_pytest("def test_nothing(): pass", "--fixtures")
    assert 'Set flags and settings in memory: `flags.on("new_checkout")`' in said


WITHOUT_DJANGO = """
import sys
import flagstaff.pytest_plugin
loaded = [name for name in sys.modules if name.partition(".")[0] == "django"]
print(loaded, "flagstaff._core" in sys.modules)
"""


def test_plugin_is_loaded_without_django_and_without_the_extension(
    run_isolated: RunIsolated,
) -> None:
    assert run_isolated(WITHOUT_DJANGO) == "[] False\n"


def test_plugin_is_in_nobodys_way_where_django_is_not_used(run_pytest: Pytest) -> None:
    plain = """
def test_plain():
    import sys
    assert "django.conf" not in sys.modules
"""
    arguments = ["-p", "no:django", "-p", "no:randomly", "-p", "no:hypothesispytest"]
    assert "1 passed" in run_pytest(plain, *arguments, head="")


@pytest.mark.flag("new_checkout")
@pytest.mark.value("gateway", "paypal")
def test_marks_hold_here_too() -> None:
    assert (flag_enabled("new_checkout"), get_value("gateway")) == (True, "paypal")
    with override_flag("new_checkout", False):
        assert flag_enabled("new_checkout") is False
    assert flag_enabled("new_checkout") is True
