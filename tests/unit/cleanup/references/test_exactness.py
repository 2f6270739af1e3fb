"""The patch leaves code whose meaning a constant would change."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.references import patched, resolved

IMPORT = "from flagstaff import all_flags, flag_enabled\n"


@pytest.mark.parametrize(
    ("source", "on", "after"),
    [
        ('y = x or flag_enabled("a") or z', True, "y = x or True"),
        ('y = x and flag_enabled("a") and z', False, "y = x and False"),
        ('y = not(flag_enabled("a") and x)', True, "y = not(x)"),
        ('y = (flag_enabled("a") and 1).real', True, "y = (1).real"),
        ("y = f\"{1 if flag_enabled('a') else {2}}\"", False, 'y = f"{ {2}}"'),
    ],
)  # fmt: skip
def test_expression_keeps_its_value(tmp_path: Path, source: str, on: bool, after: str) -> None:
    assert resolved(tmp_path, f"{IMPORT}{source}\n", on=on).endswith(f"{after}\n")


@pytest.mark.parametrize(
    "source",
    [
        'def f(): x = (yield 1) if flag_enabled("a") else 2',
        'def f(): flag_enabled("a") and (yield 1)',
        "y = f\"{flag_enabled('a')=}\"",
        'flag_enabled("a", user := one())',
        'y = flag_enabled("a", one())',
        'async def f(request): gather(request.flags.aenabled("a"))',
        'async def f(request): return (x for x in y if await request.flags.aenabled("a"))',
        'found = all_flags()\nfound["a"] = True',
        "found = all_flags()\ndel found['a']",
        'found = all_flags()\nfound.pop("a")',
        'on = flag_enabled if x else other\ny = on("a")',
        'class A:\n key = "a"\n def f(self): flag_enabled(self.key)\nclass B(A): key = "b"',
        'def f():\n  if flag_enabled("a"): x = 1\n  def g():\n    nonlocal x\n    x = 2',
    ],
)  # fmt: skip
def test_evaluation_that_does_more_is_listed(tmp_path: Path, source: str) -> None:
    found = patched(tmp_path, {"views.py": f"{IMPORT}{source}\n"}, a=False)
    assert (found.text, [one.key for one in found.remaining]) == ("", ["a"])


@pytest.mark.parametrize(
    "source",
    [
        'def f(x):\n  key = "a"\n  match x:\n    case key: flag_enabled(key)',
        'def f():\n  key = "a"\n  def g():\n    nonlocal key\n    key = x\n  flag_enabled(key)',
        'keys = ["a"]\nkeys.append(x)\nfor key in keys: flag_enabled(key)',
        'keys = {"x": "a"}\nkeys["x"] = y\nflag_enabled(keys["x"])',
        'keys = {"x": "a", **y}\nflag_enabled(keys["x"])',
        'KEY = "a"\ndef f():\n  global KEY\n  KEY = x\ndef g(): flag_enabled(KEY)',
    ],
)
def test_key_that_may_be_another_one_is_listed(tmp_path: Path, source: str) -> None:
    found = patched(tmp_path, {"views.py": f"{IMPORT}{source}\n"}, a=True)
    assert (found.text, {one.key for one in found.remaining}) == ("", {"a", None})


def test_key_after_a_star_is_not_known(tmp_path: Path) -> None:
    source = '*others, key = "b", "a", "c"\ny = flag_enabled(key)\n'
    assert patched(tmp_path, {"views.py": IMPORT + source}, a=True).text == ""


def test_results_that_are_changed_are_not_resolved(tmp_path: Path) -> None:
    source = 'found = all_flags()\nfound.update(x)\ny = found["a"]\n'
    assert patched(tmp_path, {"views.py": IMPORT + source}, a=True).text == ""


def test_branch_with_a_global_variable_stays(tmp_path: Path) -> None:
    source = 'def f():\n  if flag_enabled("a"):\n    global x\n  else:\n    x = 2\n'
    after = "def f():\n  if False:\n    global x\n  else:\n    x = 2\n"
    assert resolved(tmp_path, IMPORT + source, on=False).endswith(after)


def test_place_beside_one_that_is_not_exact_is_resolved(tmp_path: Path) -> None:
    source = 'found = all_flags()\nfound["a"] = True\ny = flag_enabled("a")\n'
    assert resolved(tmp_path, IMPORT + source).endswith('found["a"] = True\ny = True\n')


def test_comments_above_elif_and_else_stay(tmp_path: Path) -> None:
    source = 'if flag_enabled("a"):\n  one()\n# two\nelif x:\n  two()\n'
    assert resolved(tmp_path, IMPORT + source, on=False).endswith("\n# two\nif x:\n  two()\n")


MIXIN = 'class A(FlagRequiredMixin, View):\n    flag_key = "a"\n'


@pytest.mark.parametrize(
    "source",
    [
        'class B(A):\n    flag_key = "b"',
        'url = A.as_view(flag_key="b")',
        "A.flag_key",
    ],
)
def test_mixin_that_other_code_needs_stays(tmp_path: Path, source: str) -> None:
    source = f"from flagstaff.mixins import FlagRequiredMixin\n{MIXIN}{source}\n"
    found = patched(tmp_path, {"views.py": source}, a=True)
    assert (found.text, [one.key for one in found.remaining]) == ("", ["a"])


@pytest.mark.parametrize(
    "other",
    [
        "from shop.flags import flag_enabled\nflag_enabled('b')",
        "from . import flags\nflags.flag_enabled('b')",
        'mock.patch("shop.flags.flag_enabled")',
    ],
)
def test_import_that_another_module_takes_stays(tmp_path: Path, other: str) -> None:
    source = 'from flagstaff import flag_enabled\ny = flag_enabled("a")\n'
    files = {"shop/flags.py": source, "shop/other.py": other, "shop/__init__.py": ""}
    found = patched(tmp_path, files, a=True)
    assert "-from flagstaff" not in found.text


@pytest.mark.parametrize("line", ["from flagstaff import flag_enabled", 'flag_enabled("b")'])
def test_comment_above_a_line_that_goes_stays(tmp_path: Path, line: str) -> None:
    source = f'"""Shop."""\n\n# Copyright.\n\n{line}\n\ny = flag_enabled("a")\n'
    source = source.replace('("b")', '("a")')
    prefix = "" if "import" in line else "from flagstaff import flag_enabled\n"
    assert "\n# Copyright.\n" in resolved(tmp_path, prefix + source)


def test_mixin_that_a_url_of_another_module_needs_stays(tmp_path: Path) -> None:
    source = f"from flagstaff.mixins import FlagRequiredMixin\n{MIXIN}"
    urls = 'from views import A\nurl = A.as_view(flag_key="b")\n'
    assert patched(tmp_path, {"views.py": source, "urls.py": urls}, a=True).text == ""


@pytest.mark.parametrize("line", ['flag_key = other = "a"', 'flag_key = "a"\n    flag_key = "b"'])
def test_mixin_with_more_than_a_key_stays(tmp_path: Path, line: str) -> None:
    source = "from flagstaff.mixins import FlagRequiredMixin\nclass A(FlagRequiredMixin, View):\n"
    assert patched(tmp_path, {"views.py": f"{source}    {line}\n"}, a=True).text == ""


@pytest.mark.parametrize("code", ['x, y = HasFlag("a"), z', 'x = HasFlag("a"),', '{HasFlag("a")}'])
def test_permission_without_a_list_stays(tmp_path: Path, code: str) -> None:
    source = f"from flagstaff.drf import HasFlag\n{code}\n"
    found = patched(tmp_path, {"views.py": source}, a=True)
    assert (found.text, len(found.remaining)) == ("", 1)


def test_path_with_a_space_is_patched(tmp_path: Path) -> None:
    source = f'{IMPORT}y = flag_enabled("a")\n'
    assert resolved(tmp_path, source, name="my views.py").endswith("y = True\n")
