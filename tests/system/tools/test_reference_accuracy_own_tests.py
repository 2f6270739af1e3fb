"""The tool that runs a code base's own tests before and after the patch of its flags."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tools.reference_accuracy import own_tests
from tools.reference_accuracy.edx_toggles import rewrite_switches
from tools.reference_accuracy.test_results import changes, counted, results_of

XML = """<testsuites><testsuite>
<testcase classname="a.B" name="test_one"/>
<testcase classname="a.B" name="test_two"><failure message="x">…</failure></testcase>
<testcase classname="a.B" name="test_three"><skipped/></testcase>
<testcase classname="a.B" name="test_four"/>
<testcase classname="a.B" name="test_four"><error message="in teardown"/></testcase>
<testcase classname="" name="a.c"><error message="not imported"/></testcase>
</testsuite></testsuites>"""

TEXT = """test_one (a.B.test_one) ... ok
test_two (a.B.test_two)
Says what it tests. ... FAIL
test_three (a.B) ... skipped 'no service'
test_four (a.B.test_four) ... ERROR

Ran 4 tests in 0.1s
"""

FOUR = {
    "a.B.test_one": "passed",
    "a.B.test_two": "failed",
    "a.B.test_three": "skipped",
    "a.B.test_four": "error",
}


def test_results_are_those_of_junit_xml_or_of_unittests_output(tmp_path: Path) -> None:
    report, output = tmp_path / "report.xml", tmp_path / "output.txt"
    output.write_text(TEXT)
    results = results_of(report, output)
    assert results == FOUR
    assert counted(results) == "1 passed, 1 skipped, 1 failed, 1 error"
    # The worst of each test.
    report.write_text(XML)
    assert results_of(report, output) == {**FOUR, "a.c": "error"}


def test_changes_name_tests_that_ran_once_only() -> None:
    old, new = {"a": "passed", "b": "passed", "c": "failed"}, {"a": "passed", "c": "passed"}
    assert changes(old, new) == {"b": ("passed", "absent"), "c": ("failed", "passed")}


def test_switches_of_edx_toggles_become_calls_of_waffle(tmp_path: Path) -> None:
    toggles, uses, tests = (tmp_path / f"{name}.py" for name in ("toggles", "uses", "tests"))
    toggles.write_text(
        "from edx_toggles.toggles import WaffleSwitch\nNEW = WaffleSwitch('a.new', __name__)\n"
    )
    uses.write_text(
        "from __future__ import annotations\nimport toggles\n"
        "a = toggles.NEW.is_enabled()\nb = config.is_enabled()\n"
    )
    tests.write_text(
        "from edx_toggles.toggles.testutils import override_waffle_switch\n"
        "from toggles import NEW\nwith override_waffle_switch(NEW, active=True): pass\n"
    )
    rewrite_switches([toggles, uses, tests])
    assert toggles.read_text() == "pass\nNEW = 'a.new'\n"
    assert uses.read_text() == (
        "from __future__ import annotations\nimport waffle\nimport toggles\n"
        "a = waffle.switch_is_active(toggles.NEW)\nb = config.is_enabled()\n"
    )
    assert tests.read_text() == (
        "from waffle.testutils import override_switch\n"
        "from toggles import NEW\nwith override_switch(NEW, active=True): pass\n"
    )


CODE = """import waffle


def price():
    if waffle.switch_is_active("sale"):
        return 5
    return 10
"""
TESTS = """import unittest

from shop import price
from waffle.testutils import override_switch


class PriceTest(unittest.TestCase):
    def test_full(self):
        self.assertEqual(price(), 10)

    def test_sale(self):
        with override_switch("sale", active=True):
            self.assertEqual(price(), 5)
"""


UNITTEST = ("-m", "unittest", "-v", "test_shop")


def _run(folder: Path, monkeypatch: pytest.MonkeyPatch, *command: str, tests: str = TESTS) -> int:
    (folder / "shop.py").write_text(CODE)
    (folder / "test_shop.py").write_text(tests)
    arguments = [str(folder), "--python", sys.executable, "--", *(command or UNITTEST)]
    monkeypatch.setattr(sys, "argv", ["own_tests", *arguments])
    return own_tests.main()


def test_own_tests_of_the_removed_branch_are_expected_to_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(tmp_path, monkeypatch) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[:2] for line in lines] == [
        ["before", "2"],
        ["forced-on", "1"],
        ["after-on", "1"],
        ["EXPECTED", "test_shop.PriceTest.test_full:"],
        ["forced-off", "1"],
        ["after-off", "1"],
        ["EXPECTED", "test_shop.PriceTest.test_sale:"],
    ]


def test_own_tests_that_differ_from_the_forced_flag_are_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # The patch removes the import that the test looks at.
    looking = TESTS.replace("self.assertEqual(price(), 5)", 'vars(shop)["flag_enabled"]')
    assert _run(tmp_path, monkeypatch, tests=f"import shop\n{looking}") == 1
    assert "FAULT    test_shop.PriceTest.test_sale" in capsys.readouterr().out


def test_own_tests_without_a_result_end_with_the_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit, match="no test ran: no such folder"):
        _run(tmp_path, monkeypatch, "-c", "print('no such folder')")
