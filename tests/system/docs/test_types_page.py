"""The code of the page has no error in mypy and in pyright, in strict mode."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.pages import code_of

PAGE = "how-to/types.md"
FLAGS = """from flagstaff import Flag

NEW_CHECKOUT = Flag("new_checkout")
SUMMER_BANNER = Flag("summer_banner")
"""
CHECKERS = {
    "mypy": ["mypy", "--strict", "shop"],
    "pyright": ["basedpyright", "--pythonpath", sys.executable],
}


@pytest.mark.thorough
@pytest.mark.timeout(170)
@pytest.mark.parametrize("checker", CHECKERS)
def test_code_of_the_page_has_no_error(checker: str, tmp_path: Path) -> None:
    [code] = code_of(PAGE, "python", "FlagstaffRequest")
    (tmp_path / "shop").mkdir()
    for name, text in (("__init__", ""), ("flags", FLAGS), ("views", code)):
        (tmp_path / "shop" / f"{name}.py").write_text(text)
    strict = {"typeCheckingMode": "strict", "include": ["shop"]}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(strict))
    checked = subprocess.run(
        [sys.executable, "-m", *CHECKERS[checker]],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
