"""The patch that resolves a flag: branches, conditions, decorators, overrides and templates."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import libcst as cst
import pytest

from flagstaff.cleanup.references.rewriting import rewritten
from flagstaff.cleanup.references.targets import Targets
from tests.support.references import patched, resolved, write_project

IMPORT = "from flagstaff import flag_enabled\n\n\n"


def body(root: Path, source: str, *, on: bool = True) -> str:
    """The same for the body of a function, without the import."""
    inside = "".join(f"    {line}\n" for line in dedent(source).strip().split("\n"))
    after = resolved(root, f"{IMPORT}def view(request, x):\n{inside}", on=on)
    return dedent(after.partition("x):\n")[2])


BRANCHES = """\
if flag_enabled("a"):
    new()
else:
    old()
"""


@pytest.mark.parametrize(("on", "after"), [(True, "new()\n"), (False, "old()\n")])
def test_branch_with_the_result_stays(tmp_path: Path, on: bool, after: str) -> None:
    assert body(tmp_path, BRANCHES, on=on) == after


@pytest.mark.parametrize(
    ("source", "on", "after"),
    [
        ('if not flag_enabled("a"):\n    old()', True, "pass\n"),
        ('if not flag_enabled("a"):\n    old()\nrest()', False, "old()\nrest()\n"),
        ('if flag_enabled("a") and x:\n    new()', True, "if x:\n    new()\n"),
        ('if x and flag_enabled("a"):\n    new()', True, "if x:\n    new()\n"),
        ('if x and flag_enabled("a"):\n    new()\nrest()', False, "rest()\n"),
        ('if flag_enabled("a") or x:\n    new()', True, "new()\n"),
        ('if (x or flag_enabled("a")):\n    new()', True, "new()\n"),
        ('y = new() if flag_enabled("a") else old()', False, "y = old()\n"),
        ('if x:\n    one()\nelif flag_enabled("a"):\n    new()\nelse:\n    old()', True,
         "if x:\n    one()\nelse:\n    new()\n"),
        ('if x:\n    one()\nelif flag_enabled("a"):\n    new()', False, "if x:\n    one()\n"),
        ('if flag_enabled("a"):\n    new()\nelif x:\n    one()', False, "if x:\n    one()\n"),
        ('if flag_enabled("a"): new()\nelse: old()', True, "new()\n"),
        ('if flag_enabled("a"):\n    return new()\nreturn old()', True, "return new()\n"),
        ('y = flag_enabled("a")', True, "y = True\n"),
        ('y = x and flag_enabled("a")', True, "y = x and True\n"),
        ('y = [i for i in x if flag_enabled("a")]', True, "y = [i for i in x]\n"),
        ('if request.flags["a"]:\n    new()', True, "new()\n"),
        ('if flag_enabled("b"):\n    new()', True, 'if flag_enabled("b"):\n    new()\n'),
    ],
)  # fmt: skip
def test_condition_is_simplified(tmp_path: Path, source: str, on: bool, after: str) -> None:
    assert body(tmp_path, source, on=on) == after


def test_comments_stay(tmp_path: Path) -> None:
    source = """\
    # Above.
    if flag_enabled("a"):  # beside
        # inside
        new()  # after
    """
    after = "# Above.\n# beside\n# inside\nnew()  # after\n"
    assert body(tmp_path, source) == after


def test_code_after_a_return_stays_if_it_makes_the_function_a_generator(tmp_path: Path) -> None:
    source = 'if flag_enabled("a"):\n    return\nyield 1'
    assert body(tmp_path, source) == "return\nyield 1\n"


def test_function_stays_a_generator(tmp_path: Path) -> None:
    source = 'if flag_enabled("a"):\n    yield x'
    assert body(tmp_path, source, on=False) == "if False:\n    yield x\n"


def test_unused_import_is_removed_and_others_stay(tmp_path: Path) -> None:
    source = "import os\nfrom flagstaff import flag_enabled, get_value\n\nget_value('b')\n"
    after = resolved(tmp_path, source + BRANCHES)
    assert after == "import os\nfrom flagstaff import get_value\n\nget_value('b')\nnew()\n"


def test_blank_line_between_groups_of_imports_stays(tmp_path: Path) -> None:
    source = (
        "import os\n\nfrom flagstaff import flag_enabled\nfrom shop import pay\n\n"
        'pay(flag_enabled("a"), os)\n'
    )
    assert resolved(tmp_path, source) == "import os\n\nfrom shop import pay\n\npay(True, os)\n"


def test_import_that_is_used_elsewhere_stays(tmp_path: Path) -> None:
    source = 'from flagstaff import flag_enabled\n\nflag_enabled("b")\n'
    assert resolved(tmp_path, source + BRANCHES) == source + "new()\n"


def test_decorator_is_removed_if_the_flag_is_on(tmp_path: Path) -> None:
    source = """\
    from flagstaff.decorators import flag_required


    @login_required
    @flag_required("a", otherwise=old)
    def view(request): ...
    """
    assert resolved(tmp_path, source) == "\n\n@login_required\ndef view(request): ...\n"


def test_decorator_stays_and_is_listed_if_the_flag_is_off(tmp_path: Path) -> None:
    source = 'from flagstaff.decorators import flag_required\n@flag_required("a")\ndef v(r): ...\n'
    found = patched(tmp_path, {"views.py": source}, a=False)
    assert found.text == ""
    assert [(one.line, one.key) for one in found.remaining] == [(2, "a")]


def test_mixin_is_removed_if_the_flag_is_on(tmp_path: Path) -> None:
    source = """\
    from flagstaff.mixins import FlagRequiredMixin


    class Page(FlagRequiredMixin, View):
        flag_key = "a"
        flag_otherwise = old
        template_name = "page.html"
    """
    after = '\n\nclass Page(View):\n    template_name = "page.html"\n'
    assert resolved(tmp_path, source) == after


def test_permission_is_removed_if_the_flag_is_on(tmp_path: Path) -> None:
    source = "from flagstaff.drf import HasFlag\npermission_classes = [Other, HasFlag('a')]\n"
    assert resolved(tmp_path, source) == "permission_classes = [Other]\n"


def test_override_with_the_result_is_removed(tmp_path: Path) -> None:
    source = """\
    from flagstaff.testing import override_flag


    @override_flag("a", True)
    def test_one():
        with override_flag("a", enabled=True):
            new()
    """
    assert resolved(tmp_path, source) == "\n\ndef test_one():\n    new()\n"


def test_override_with_the_other_result_is_listed(tmp_path: Path) -> None:
    source = 'from flagstaff.testing import override_flag\nwith override_flag("a", False): old()\n'
    found = patched(tmp_path, {"test_it.py": source}, a=True)
    assert (found.text, len(found.remaining)) == ("", 1)


def test_call_of_a_wrapper_is_listed(tmp_path: Path) -> None:
    source = 'from flagstaff import flag_enabled\ndef on(key): return flag_enabled(key)\non("a")\n'
    found = patched(tmp_path, {"views.py": source}, a=True)
    assert found.text == ""
    assert [one.key for one in found.remaining] == [None, "a"]


@pytest.mark.parametrize(
    "line", ['assert flag_enabled("a")', 'self.assertIs(flag_enabled("a"), True)']
)
def test_assertion_is_listed(tmp_path: Path, line: str) -> None:
    found = patched(
        tmp_path, {"test_it.py": f"from flagstaff import flag_enabled\n{line}\n"}, a=True
    )
    assert (found.text, len(found.remaining)) == ("", 1)


def test_evaluation_without_a_use_is_removed(tmp_path: Path) -> None:
    assert body(tmp_path, 'flag_enabled("a")\nrest()') == "rest()\n"


def test_file_with_windows_line_ends_keeps_them(tmp_path: Path) -> None:
    source = f"from flagstaff import flag_enabled\n{BRANCHES}".replace("\n", "\r\n")
    write_project(tmp_path, {})
    (tmp_path / "views.py").write_bytes(source.encode())
    found = patched(tmp_path, {}, a=True)
    assert "+new()\r\n" in found.text


def test_code_without_a_flag_stays() -> None:
    assert rewritten(cst.parse_module("x = 1\n"), Targets()) == ("x = 1\n", set())
