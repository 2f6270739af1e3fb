"""The fixture `flagstaff_flags` and the mark `flagstaff`."""

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
def test_first(flagstaff_flags):
    flagstaff_flags.on("new_checkout", "banner")
    flagstaff_flags.off("dark_mode")
    flagstaff_flags.value("gateway", "paypal")
    flagstaff_flags.variant("color", "green")
    assert get_variant("color") == "green"
    flagstaff_flags.variant("color", None)
    assert get_variant("color", default="red") == "red"
    assert all_flags() == {"banner": True, "dark_mode": False, "new_checkout": True}
    assert get_value("gateway") == "paypal"
    flagstaff_flags.off("banner")
    assert flag_enabled("banner") is False

def test_one_user(flagstaff_flags):
    flagstaff_flags.off("banner")
    flagstaff_flags.on("banner", user=42)
    assert (flag_enabled("banner", 42), flag_enabled("banner", 7)) == (True, False)

def test_second(flagstaff_flags):
    assert all_flags() == {}
    assert get_value("gateway") is None

def test_without_fixture():
    assert all_flags() == {}

@pytest.mark.xfail(raises=ZeroDivisionError, strict=True)
def test_failure(flagstaff_flags):
    flagstaff_flags.on("new_checkout")
    1 / 0

def test_after_failure():
    assert all_flags() == {}
"""
MARKS = """
pytestmark = pytest.mark.flagstaff(
    flag="banner", value={"gateway": "stripe"}, variant={"color": "green"}
)

def test_module():
    assert get_variant("color") == "green"
    assert all_flags() == {"banner": True}
    assert get_value("gateway") == "stripe"

@pytest.mark.flagstaff(flag={"banner": False}, value={"gateway": ["paypal"]})
class TestClass:
    def test_class(self):
        assert all_flags() == {"banner": False}
        assert get_value("gateway") == ["paypal"]

    @pytest.mark.flagstaff(flag={"new_checkout": True, "banner": False})
    @pytest.mark.flagstaff(flag="banner", variant={"color": None})
    def test_closest_mark(self):
        assert all_flags() == {"banner": True, "new_checkout": True}
        assert get_variant("color") is None

    @pytest.mark.flagstaff(flag=["banner", "new_checkout"])
    def test_fixture_wins_over_marks(self, flagstaff_flags):
        flagstaff_flags.off("banner")
        assert all_flags() == {"banner": False, "new_checkout": True}

@pytest.fixture
def flags_in_fixture():
    return all_flags()

@pytest.mark.flagstaff(flag="new_checkout")
def test_marks_apply_to_fixtures(flags_in_fixture):
    assert flags_in_fixture == {"banner": True, "new_checkout": True}

DARK = pytest.mark.flagstaff(flag="dark_mode")

@pytest.mark.parametrize("key", [pytest.param("dark_mode", marks=DARK)])
def test_parameter(key):
    assert flag_enabled(key) is True

from django.test import SimpleTestCase

@pytest.mark.flagstaff(flag="new_checkout")
class TestCaseOfDjango(SimpleTestCase):
    def setUp(self):
        assert flag_enabled("new_checkout") is True

    @pytest.mark.flagstaff(flag={"banner": False})
    def test_method(self):
        assert all_flags() == {"banner": False, "new_checkout": True}
"""


def test_fixture_overrides_until_end_of_test(run_pytest: Pytest) -> None:
    assert "5 passed, 1 xfailed" in run_pytest(FIXTURE, "-p", "no:randomly")


def test_closest_mark_wins(run_pytest: Pytest) -> None:
    assert "7 passed" in run_pytest(MARKS)


INVALID_MARKS = """
@pytest.mark.flagstaff(flag={"banner": 1})
def test_enabled(): pass

@pytest.mark.flagstaff(flag=42)
def test_key(): pass

@pytest.mark.flagstaff
def test_nothing(): pass

@pytest.mark.flagstaff("banner")
def test_position(): pass

@pytest.mark.flagstaff(flags="banner")
def test_other_name(): pass

@pytest.mark.flagstaff(value="gateway")
def test_no_value(): pass

def test_without_mark():
    assert all_flags() == {}
"""


def test_invalid_mark_fails_its_test_only_and_names_the_plugin(run_pytest: Pytest) -> None:
    output = run_pytest(INVALID_MARKS, status=1)
    assert "1 passed, 6 errors" in output
    begin = "flagstaff's pytest plugin cannot apply the mark flagstaff: "
    end = '; write @pytest.mark.flagstaff(flag="new_checkout", '
    nothing_else = f"{begin}it needs flag=, value= or variant=, and accepts nothing else{end}"
    # In CI, pytest repeats each reason in its summary.
    errors = output.partition("short test summary info")[0]
    assert errors.count(nothing_else) == 3
    assert f"{begin}enabled must be True or False, not 1{end}" in output
    assert f"{begin}flag must be a key, a list or a dict by key, not 42{end}" in output
    assert f"{begin}value must be a dict by key, not 'gateway'{end}" in output


WORDS_OF_OTHERS = """
import pytest

@pytest.fixture
def flags():
    return "mine"

@pytest.mark.flag
@pytest.mark.value("x")
@pytest.mark.variant(3, 4, 5)
def test_own_words(flags):
    import sys
    assert (flags, "django.conf" in sys.modules) == ("mine", {has_django})
"""


@pytest.mark.parametrize("has_django", [True, False])
def test_marks_and_fixtures_of_others_are_left_alone_with_and_without_django(
    run_pytest: Pytest, has_django: bool
) -> None:
    arguments = ["-o", "markers=flag\nvalue\nvariant"]
    if not has_django:
        # These plugins import Django, or modules that a process without it lacks.
        for plugin in ("django", "pytest-django-constance", "randomly", "hypothesispytest"):
            arguments += ["-p", f"no:{plugin}"]
    file = WORDS_OF_OTHERS.format(has_django=has_django)
    assert "1 passed" in run_pytest(file, *arguments, head="")


def test_mark_and_fixture_are_in_help(run_pytest: Pytest) -> None:
    output = run_pytest("def test_nothing(): pass", "--markers")
    assert '@pytest.mark.flagstaff(flag="new_checkout", value={"page_size": 20}, ' in output
    output = run_pytest("def test_nothing(): pass", "--fixtures")
    assert 'Overrides in memory: `flagstaff_flags.on("new_checkout")`' in output


WITHOUT_DJANGO = """
import sys
import flagstaff.pytest_plugin
loaded = [name for name in sys.modules if name.partition(".")[0] == "django"]
print(loaded, "flagstaff._core" in sys.modules)
"""


def test_plugin_imports_neither_django_nor_extension(run_isolated: RunIsolated) -> None:
    assert run_isolated(WITHOUT_DJANGO) == "[] False\n"


@pytest.mark.flagstaff(flag="new_checkout", value={"gateway": "paypal"})
def test_mark_works_in_this_test_suite() -> None:
    assert (flag_enabled("new_checkout"), get_value("gateway")) == (True, "paypal")
    with override_flag("new_checkout", False):
        assert flag_enabled("new_checkout") is False
    assert flag_enabled("new_checkout") is True
