"""The patch that resolves a flag: branches, conditions, decorators, overrides and templates."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent, indent

import libcst as cst
import pytest

from flagstaff.cleanup.references.rewriting import rewritten
from flagstaff.cleanup.references.targets import Targets
from tests.support.references import patched, resolved, write_project

IMPORT = "from flagstaff import flag_enabled\n\n\n"
BRANCHES = 'if flag_enabled("a"):\n    new()\nelse:\n    old()\n'


def body(root: Path, source: str, *, on: bool, name: str = "views.py") -> str:
    """Returns the body of a function after the patch for the flag `a`."""
    inside = indent(source.rstrip(), "    ")
    text = f"{IMPORT}def test_one(request, user, flags, x):\n{inside}\n"
    return dedent(resolved(root, text, on=on, name=name).partition("x):\n")[2])


@pytest.mark.parametrize(
    ("source", "on", "after"),
    [
        (BRANCHES, True, "new()\n"),
        (BRANCHES, False, "old()\n"),
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
        ('flag_enabled("a")\nrest()', True, "rest()\n"),
        ('if flag_enabled("a"):\n    return\nyield 1', True, "return\nyield 1\n"),
        ('if flag_enabled("a"):\n    yield x', False, "if False:\n    yield x\n"),
        ('# Above.\nif flag_enabled("a"):  # beside\n    # inside\n    new()  # after', True,
         "# Above.\n# beside\n# inside\nnew()  # after\n"),
        ('if flag_enabled("b"):\n    new()', True, 'if flag_enabled("b"):\n    new()\n'),
    ],
)  # fmt: skip
def test_condition_is_simplified(tmp_path: Path, source: str, on: bool, after: str) -> None:
    assert body(tmp_path, source, on=on) == after


@pytest.mark.parametrize(
    ("source", "after"),
    [
        (
            "import os\nfrom flagstaff import flag_enabled, get_value\n\nget_value('b')\n",
            "import os\nfrom flagstaff import get_value\n\nget_value('b')\nnew()\n",
        ),
        (
            "import os\n\nfrom flagstaff import flag_enabled\nfrom shop import pay\n\npay(os)\n",
            "import os\n\nfrom shop import pay\n\npay(os)\nnew()\n",
        ),
        (
            'from flagstaff import flag_enabled\n\nflag_enabled("b")\n',
            'from flagstaff import flag_enabled\n\nflag_enabled("b")\nnew()\n',
        ),
    ],
    ids=["of two names", "beside another group", "used elsewhere"],
)
def test_only_an_unused_import_is_removed(tmp_path: Path, source: str, after: str) -> None:
    assert resolved(tmp_path, source + BRANCHES) == after


@pytest.mark.parametrize(
    ("source", "on", "after"),
    [
        ('new = flag_enabled("a", user)\nif new:\n    one()\nelse:\n    two()', True, "one()\n"),
        ('new = flag_enabled("a", user)\nif new:\n    one()\nelse:\n    two()', False, "two()\n"),
        ('new: bool = flag_enabled("a")\nif not new:\n    one()\nrest()', True, "rest()\n"),
        ('old = not flag_enabled("a")\nif old:\n    one()\nrest()', True, "rest()\n"),
        ('new = flag_enabled("a")\nif new and x:\n    one()', True, "if x:\n    one()\n"),
        ('new = flag_enabled("a")\nrest()\ny = one() if new else two()', False,
         "rest()\ny = two()\n"),
        ('new = flag_enabled("a")\nfor i in x:\n    if new:\n        one()', True,
         "for i in x:\n    one()\n"),
        ('for i in x:\n    new = flag_enabled("a", i)\n    if new:\n        one()', True,
         "for i in x:\n    one()\n"),
        ('def f():\n    new = flag_enabled("a")\n    if new:\n        one()\nreturn f', True,
         "def f():\n    one()\nreturn f\n"),
        ('# Why.\nnew = flag_enabled("a")\nif new:\n    one()', True, "# Why.\none()\n"),
    ],
)  # fmt: skip
def test_variable_in_conditions_is_resolved(
    tmp_path: Path, source: str, on: bool, after: str
) -> None:
    assert body(tmp_path, source, on=on) == after


@pytest.mark.parametrize(
    "rest",
    [
        "if new:\n    one()\nnew = x",
        "if new:\n    one()\nnew += x",
        "if new:\n    one()\ndel new",
        "if new:\n    one()\nreturn new",
        "if new:\n    one(new=new)",
        "if new:\n    one()\ndef inner():\n    if new:\n        one()",
        "if new:\n    one()\ny = lambda: one() if new else x",
        "if new:\n    one()\ny = [one() if new else i for i in x]",
        "if new:\n    one()\nfor new in x:\n    one()",
        "if new:\n    one()\ntry:\n    one()\nexcept E as new:\n    one()",
        "if new:\n    one(locals())",
        "if new is True:\n    one()",
        'if new:\n    one(f"{new}")',
        "match x:\n    case new:\n        one()",
    ],
)
def test_variable_with_other_uses_stays_and_is_listed(tmp_path: Path, rest: str) -> None:
    source = f'def view(user, x):\n    new = flag_enabled("a")\n{indent(rest, "    ")}\n'
    found = patched(tmp_path, {"views.py": IMPORT + source}, a=True)
    assert "+    new = True" in found.text
    assert [one.key for one in found.remaining] == ["a"]
    assert found.text.count("\n+") == 1 + 1


@pytest.mark.parametrize(
    "source",
    [
        'def view(x):\n    global new\n    new = flag_enabled("a")\n    if new:\n        one()\n',
        'def view(x):\n    if x:\n        new = flag_enabled("a")\n    if new:\n        one()\n',
        'def view(x):\n    while x:\n        if new: one()\n        new = flag_enabled("a")\n',
        'class V:\n    new = flag_enabled("a")\n    if new:\n        one()\n',
        'new = flag_enabled("a")\nif new:\n    one()\n',
        'def view(new):\n    new = flag_enabled("a")\n    if new:\n        one()\n',
    ],
)  # fmt: skip
def test_variable_of_another_scope_or_block_stays(tmp_path: Path, source: str) -> None:
    found = patched(tmp_path, {"views.py": IMPORT + source}, a=True)
    assert "new = True" in found.text
    assert "-    if new" not in found.text
    assert [one.key for one in found.remaining] == ["a"]


def test_decorator_is_removed_if_the_flag_is_on(tmp_path: Path) -> None:
    source = """\
    from flagstaff.decorators import flag_required


    @login_required
    @flag_required("a", otherwise=old)
    def view(request): ...
    """
    assert resolved(tmp_path, source) == "\n\n@login_required\ndef view(request): ...\n"


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


@pytest.mark.parametrize(
    ("decorator", "after"),
    [
        ('@method_decorator(flag_required("a"), name="dispatch")', ""),
        ('@method_decorator([flag_required("a")], name="dispatch")', ""),
        ('@method_decorator((flag_required("a"),), name="dispatch")', ""),
        ('@method_decorator([login, flag_required("a")], name="dispatch")',
         '@method_decorator([login], name="dispatch")'),
        ('@method_decorator([flag_required("a"), login], "dispatch")',
         '@method_decorator([login], "dispatch")'),
        ('@method_decorator((login, flag_required("a")), name="dispatch")',
         '@method_decorator((login,), name="dispatch")'),
        ('@method_decorator((login, flag_required("a"), never), name="dispatch")',
         '@method_decorator((login, never), name="dispatch")'),
        ('@method_decorator([*others, flag_required("a")], name="dispatch")',
         '@method_decorator([*others], name="dispatch")'),
        ('@method_decorator(\n    [\n        login,\n        flag_required("a"),\n    ],\n)',
         "@method_decorator(\n    [\n        login,\n    ],\n)"),
    ],
)  # fmt: skip
def test_decorator_of_a_method_is_removed(tmp_path: Path, decorator: str, after: str) -> None:
    imports = """\
    from django.utils.decorators import method_decorator
    from flagstaff.decorators import flag_required
    """
    found = resolved(tmp_path, f"{dedent(imports)}\n\n{decorator}\nclass Page(View): ...\n")
    assert found.partition("method_decorator\n")[2].partition("class Page")[0].strip() == after


@pytest.mark.parametrize(
    ("source", "on", "after"),
    [
        ('flags.on("a")\none()', True, "one()\n"),
        ('flags.off("a")\none()', False, "one()\n"),
        ('flags.set("a", enabled=True)\none()', True, "one()\n"),
        ('flags.on("a", "b")\none()', True, 'flags.on("b")\none()\n'),
        ('flags.on("b", "a")\none()', True, 'flags.on("b")\none()\n'),
        ('# Why.\nflags.on("a")\none()', True, "# Why.\none()\n"),
    ],
)
def test_fixture_that_sets_the_result_is_removed(
    tmp_path: Path, source: str, on: bool, after: str
) -> None:
    assert body(tmp_path, source, on=on, name="test_views.py") == after


def test_file_with_windows_line_ends_keeps_them(tmp_path: Path) -> None:
    source = f"from flagstaff import flag_enabled\n{BRANCHES}".replace("\n", "\r\n")
    write_project(tmp_path, {})
    (tmp_path / "views.py").write_bytes(source.encode())
    found = patched(tmp_path, {}, a=True)
    assert "+new()\r\n" in found.text


def test_code_without_a_flag_stays() -> None:
    assert rewritten(cst.parse_module("x = 1\n"), Targets()) == ("x = 1\n", set())


def test_file_with_a_byte_order_mark_is_patched(tmp_path: Path) -> None:
    text = f'\ufeff{IMPORT}flag_enabled("a")\n'
    assert resolved(tmp_path, text) == "\ufeff\n"


def test_form_feed_stays_in_its_line(tmp_path: Path) -> None:
    text = f'{IMPORT}one()\n\x0c\ny = flag_enabled("a")\n'
    assert resolved(tmp_path, text).endswith("one()\n\x0c\ny = True\n")


def test_file_with_another_encoding_is_listed(tmp_path: Path) -> None:
    text = f'# coding: latin-1\n{IMPORT}one("é", flag_enabled("a"))\n'
    (tmp_path / "views.py").write_bytes(text.encode("latin-1"))
    found = patched(tmp_path, {}, a=True)
    assert (found.text, [one.key for one in found.remaining]) == ("", ["a"])
