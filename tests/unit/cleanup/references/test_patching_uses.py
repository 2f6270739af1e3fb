"""The patch of what uses a flag indirectly: variables, lists of decorators, the pytest fixture."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent, indent

import pytest

from tests.support.references import patched, resolved

IMPORTS = """\
from django.utils.decorators import method_decorator
from flagstaff.decorators import flag_required
"""
EVALUATE = "from flagstaff import flag_enabled\n\n\n"


def view(root: Path, decorator: str) -> str:
    """Returns the decorators of a view after the patch for the flag `a`."""
    source = f"{IMPORTS}\n\n{decorator}\nclass Page(View): ...\n"
    after = resolved(root, source)
    return after.partition("method_decorator\n")[2].partition("class Page")[0].strip()


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
    assert view(tmp_path, decorator) == after


@pytest.mark.parametrize(
    "source",
    [
        '@method_decorator([login, flag_required("b")])\nclass V: ...',
        'ALL = [login, flag_required("a")]\n@method_decorator(ALL)\nclass V: ...',
        '@others([login, flag_required("a")])\nclass V: ...',
        'def both(key): return login(flag_required(key))\n@both("a")\ndef view(request): ...',
    ],
)
def test_decorator_that_is_not_ours_alone_stays(tmp_path: Path, source: str) -> None:
    assert patched(tmp_path, {"views.py": IMPORTS + source}, a=True).text == ""


def test_decorator_of_a_method_stays_if_the_flag_is_off(tmp_path: Path) -> None:
    source = f'{IMPORTS}@method_decorator([flag_required("a")])\nclass V: ...\n'
    found = patched(tmp_path, {"views.py": source}, a=False)
    assert (found.text, [one.key for one in found.remaining]) == ("", ["a"])


def function(root: Path, source: str, *, on: bool = True) -> str:
    """Returns the body of a function after the patch for the flag `a`."""
    inside = indent(dedent(source).strip(), "    ")
    after = resolved(root, f"{EVALUATE}def view(user, x):\n{inside}\n", on=on)
    return dedent(after.partition("x):\n")[2])


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
        ('# Why.\nnew = flag_enabled("a")\nif new:\n    one()', True, "# Why.\none()\n"),
    ],
)  # fmt: skip
def test_variable_in_conditions_is_resolved(
    tmp_path: Path, source: str, on: bool, after: str
) -> None:
    assert function(tmp_path, source, on=on) == after


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
    found = patched(tmp_path, {"views.py": EVALUATE + source}, a=True)
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
    found = patched(tmp_path, {"views.py": EVALUATE + source}, a=True)
    assert "new = True" in found.text
    assert "-    if new" not in found.text
    assert [one.key for one in found.remaining] == ["a"]


def test_variable_in_nested_function_is_its_own(tmp_path: Path) -> None:
    source = """\
    def inner():
        new = flag_enabled("a")
        if new:
            one()
    return inner
    """
    after = "def inner():\n    one()\nreturn inner\n"
    assert function(tmp_path, source) == after


def fixture(root: Path, source: str, *, on: bool = True) -> str:
    """Returns the body of a test after the patch for the flag `a`."""
    inside = indent(source, "    ")
    name = "test_views.py"
    text = f"from flagstaff import flag_enabled\n\n\ndef test_one(flags):\n{inside}\n"
    return dedent(resolved(root, text, on=on, name=name).partition("(flags):\n")[2])


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
    assert fixture(tmp_path, source, on=on) == after


@pytest.mark.parametrize(
    ("source", "places"),
    [
        ('flags.off("a")\n    one()', 1),
        ('flags.set("a", enabled=x)', 1),
        ('flags.on("a")\n    one()\n    flags.off("a")', 2),
        ('x = flags.on("a")', 1),
        ('flags.on(*["a"])', 1),
    ],
)
def test_fixture_that_is_not_exact_stays_and_is_listed(
    tmp_path: Path, source: str, places: int
) -> None:
    text = f"import flagstaff\ndef test_one(flags, x):\n    {source}\n"
    found = patched(tmp_path, {"test_views.py": text}, a=True)
    assert (found.text, [one.key for one in found.remaining]) == ("", ["a"] * places)


def test_override_in_a_function_of_the_project_stays(tmp_path: Path) -> None:
    source = """\
    from flagstaff.testing import override_flag
    def turned_off(key): return override_flag(key, False)
    with turned_off("a"):
        one()
    """
    assert patched(tmp_path, {"test_views.py": source}, a=True).text == ""


def test_file_with_a_byte_order_mark_is_patched(tmp_path: Path) -> None:
    text = f'\ufeff{EVALUATE}flag_enabled("a")\n'
    assert resolved(tmp_path, text) == "\ufeff\n"


def test_form_feed_stays_in_its_line(tmp_path: Path) -> None:
    text = f'{EVALUATE}one()\n\x0c\ny = flag_enabled("a")\n'
    assert resolved(tmp_path, text).endswith("one()\n\x0c\ny = True\n")


def test_file_with_another_encoding_is_listed(tmp_path: Path) -> None:
    text = f'# coding: latin-1\n{EVALUATE}one("é", flag_enabled("a"))\n'
    (tmp_path / "views.py").write_bytes(text.encode("latin-1"))
    found = patched(tmp_path, {}, a=True)
    assert (found.text, [one.key for one in found.remaining]) == ("", ["a"])
