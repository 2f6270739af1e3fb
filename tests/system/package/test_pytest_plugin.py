"""The fixture `flags` and the marks `flag` and `value`."""

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
from tools.limits import seconds

Pytest = Callable[..., str]

HEAD = """
import pytest
from flagstaff import all_flags, flag_enabled, get_value
from flagstaff.experiments import get_variant
"""


@pytest.fixture
def run_pytest(tmp_path: Path) -> Pytest:
    """Returns a function that runs pytest on one file and returns its output."""

    def run(file: str, *arguments: str, status: int = 0, head: str = HEAD) -> str:
        (tmp_path / "test_shop.py").write_text(head + file)
        (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers\n")
        command = ["-W", "error", "-m", "pytest", "-p", "no:cacheprovider", *arguments]
        result = subprocess.run(
            [sys.executable, *command],
            cwd=tmp_path,
            env=os.environ
            | {"PYTHONPATH": str(ROOT), "DJANGO_SETTINGS_MODULE": "tests.support.settings_sqlite"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds(30),
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
    flags.variant("color", "green")
    assert get_variant("color") == "green"
    flags.variant("color", None)
    assert get_variant("color", default="red") == "red"
    assert all_flags() == {"banner": True, "dark_mode": False, "new_checkout": True}
    assert get_value("gateway") == "paypal"
    flags.off("banner")
    assert flag_enabled("banner") is False

def test_second(flags):
    assert all_flags() == {}
    assert get_value("gateway") is None

def test_without_fixture():
    assert all_flags() == {}

@pytest.mark.xfail(raises=ZeroDivisionError, strict=True)
def test_failure(flags):
    flags.on("new_checkout")
    1 / 0

def test_after_failure():
    assert all_flags() == {}
"""
MARKS = """
pytestmark = [
    pytest.mark.flag("banner"),
    pytest.mark.value("gateway", "stripe"),
    pytest.mark.variant("color", "green"),
]

def test_module():
    assert get_variant("color") == "green"
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
    def test_closest_mark(self):
        assert all_flags() == {"banner": True, "new_checkout": True}

    @pytest.mark.flag("banner")
    def test_fixture_wins_over_marks(self, flags):
        flags.off("banner")
        assert all_flags() == {"banner": False}

@pytest.fixture
def flags_in_fixture():
    return all_flags()

@pytest.mark.flag("new_checkout")
def test_marks_apply_to_fixtures(flags_in_fixture):
    assert flags_in_fixture == {"banner": True, "new_checkout": True}

@pytest.mark.parametrize("key", [pytest.param("dark_mode", marks=pytest.mark.flag("dark_mode"))])
def test_parameter(key):
    assert flag_enabled(key) is True

from django.test import SimpleTestCase

@pytest.mark.flag("new_checkout")
class TestCaseOfDjango(SimpleTestCase):
    def setUp(self):
        assert flag_enabled("new_checkout") is True

    @pytest.mark.flag("banner", False)
    def test_method(self):
        assert all_flags() == {"banner": False, "new_checkout": True}
"""


def test_fixture_overrides_until_end_of_test(run_pytest: Pytest) -> None:
    assert "4 passed, 1 xfailed" in run_pytest(FIXTURE, "-p", "no:randomly")


def test_closest_mark_wins(run_pytest: Pytest) -> None:
    assert "7 passed" in run_pytest(MARKS)


INVALID_MARKS = """
@pytest.mark.flag("banner", 1)
def test_enabled(): pass

@pytest.mark.flag(42)
def test_key(): pass

@pytest.mark.flag()
def test_nothing(): pass

@pytest.mark.value("gateway")
def test_no_value(): pass

def test_without_mark():
    assert all_flags() == {}
"""


def test_invalid_mark_fails_its_test_only(run_pytest: Pytest) -> None:
    output = run_pytest(INVALID_MARKS, status=1)
    assert "1 passed, 4 errors" in output
    assert "TypeError: enabled must be True or False, not 1" in output
    assert "TypeError: a flag's key must be a string, not 42" in output
    assert "missing 1 required positional argument: 'key'" in output
    assert "missing 1 required positional argument: 'value'" in output


def test_marks_and_fixture_are_in_help(run_pytest: Pytest) -> None:
    output = run_pytest("def test_nothing(): pass", "--markers")
    assert "@pytest.mark.flag(key, enabled=True): set a flag for the test" in output
    assert "@pytest.mark.value(key, value): set a value for the test" in output
    assert "@pytest.mark.variant(key, variant): set a variant for the test" in output
    output = run_pytest("def test_nothing(): pass", "--fixtures")
    assert 'Overrides in memory: `flags.on("new_checkout")`' in output


WITHOUT_DJANGO = """
import sys
import flagstaff.pytest_plugin
loaded = [name for name in sys.modules if name.partition(".")[0] == "django"]
print(loaded, "flagstaff._core" in sys.modules)
"""


def test_plugin_imports_neither_django_nor_extension(
    run_isolated: RunIsolated,
) -> None:
    assert run_isolated(WITHOUT_DJANGO) == "[] False\n"


def test_plugin_works_in_project_without_django(run_pytest: Pytest) -> None:
    plain = """
def test_plain():
    import sys
    assert "django.conf" not in sys.modules
"""
    arguments = ["-p", "no:django", "-p", "no:randomly", "-p", "no:hypothesispytest"]
    assert "1 passed" in run_pytest(plain, *arguments, head="")


@pytest.mark.flag("new_checkout")
@pytest.mark.value("gateway", "paypal")
def test_marks_work_in_this_test_suite() -> None:
    assert (flag_enabled("new_checkout"), get_value("gateway")) == (True, "paypal")
    with override_flag("new_checkout", False):
        assert flag_enabled("new_checkout") is False
    assert flag_enabled("new_checkout") is True
