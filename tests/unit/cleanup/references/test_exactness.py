"""The patch leaves code whose meaning a constant would change."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.references import listed, patched, resolved

IMPORT = "from flagstaff import all_flags, flag_enabled\n"
IMPORTS = f"""\
{IMPORT}from django.utils.decorators import method_decorator
from flagstaff.decorators import flag_required
from flagstaff.drf import HasFlag
from flagstaff.mixins import FlagRequiredMixin
from flagstaff.testing import override_flag
"""
MIXIN = """\
class A(FlagRequiredMixin, View):
    flag_key = "a"
"""


@pytest.mark.parametrize(
    ("source", "on", "after"),
    [
        ('y = x or flag_enabled("a") or z', True, "y = x or True"),
        ('y = x and flag_enabled("a") and z', False, "y = x and False"),
        ('y = not(flag_enabled("a") and x)', True, "y = not(x)"),
        ('y = (flag_enabled("a") and 1).real', True, "y = (1).real"),
        ("y = f\"{1 if flag_enabled('a') else {2}}\"", False, 'y = f"{ {2}}"'),
        ('def f():\n  if flag_enabled("a"):\n    global x\n  else:\n    x = 2', False,
         "def f():\n  if False:\n    global x\n  else:\n    x = 2"),
        ('found = all_flags()\nfound["a"] = True\ny = flag_enabled("a")', True,
         'found["a"] = True\ny = True'),
        ('if flag_enabled("a"):\n  one()\n# two\nelif x:\n  two()', False,
         "\n# two\nif x:\n  two()"),
    ],
)  # fmt: skip
def test_code_keeps_its_meaning(tmp_path: Path, source: str, on: bool, after: str) -> None:
    assert resolved(tmp_path, f"{IMPORT}{source}\n", on=on).endswith(f"{after}\n")


@pytest.mark.parametrize(
    "source",
    [
        # The evaluation or its statement does more.
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
        # The flag is off, so users lose the view.
        '@flag_required("a")\ndef v(): 0',
        '@method_decorator([flag_required("a")])\nclass V: ...',
    ],
)  # fmt: skip
def test_place_of_a_flag_that_is_off_stays_and_is_listed(tmp_path: Path, source: str) -> None:
    assert listed(tmp_path, f"{IMPORTS}{source}\n", on=False) == ["a"]


@pytest.mark.parametrize(
    ("source", "keys"),
    [
        # The key may be another one.
        ('def f(x):\n  key = "a"\n  match x:\n    case key: flag_enabled(key)', ["a", None]),
        ('def f():\n  key = "a"\n  def g():\n    nonlocal key\n    key = x\n  flag_enabled(key)',
         ["a", None]),
        ('keys = ["a"]\nkeys.append(x)\nfor key in keys: flag_enabled(key)', ["a", None]),
        ('keys = {"x": "a"}\nkeys["x"] = y\nflag_enabled(keys["x"])', ["a", None]),
        ('keys = {"x": "a", **y}\nflag_enabled(keys["x"])', ["a", None]),
        ('KEY = "a"\ndef f():\n  global KEY\n  KEY = x\ndef g(): flag_enabled(KEY)', ["a", None]),
        # Other code needs the class.
        (f'{MIXIN}class B(A):\n    flag_key = "b"', ["a"]),
        (f'{MIXIN}url = A.as_view(flag_key="b")', ["a"]),
        (f"{MIXIN}A.flag_key", ["a"]),
        # The permission is not in a list, where it could be left out.
        ('x, y = HasFlag("a"), z', ["a"]),
        ('x = HasFlag("a"),', ["a"]),
        ('{HasFlag("a")}', ["a"]),
        # A test of the other result, and what no constant replaces.
        ('with override_flag("a", False): old()', ["a"]),
        ('def on(key): return flag_enabled(key)\non("a")', [None, "a"]),
        ('assert flag_enabled("a")', ["a"]),
        ('self.assertIs(flag_enabled("a"), True)', ["a"]),
        # The fixture.
        ('def test_one(flags):\n    flags.off("a")\n    one()', ["a"]),
        ('def test_one(flags, x):\n    flags.set("a", enabled=x)', ["a"]),
        ('def test_one(flags):\n    flags.on("a")\n    one()\n    flags.off("a")', ["a", "a"]),
        ('def test_one(flags):\n    x = flags.on("a")', ["a"]),
        ('def test_one(flags):\n    flags.on(*["a"])', ["a"]),
    ],
)  # fmt: skip
def test_place_that_is_not_exact_stays_and_is_listed(
    tmp_path: Path, source: str, keys: list[str | None]
) -> None:
    found = listed(tmp_path, f"{IMPORTS}{source}\n", name="test_it.py")
    assert sorted(found, key=str) == sorted(keys, key=str)


@pytest.mark.parametrize(
    "source",
    [
        '*others, key = "b", "a", "c"\ny = flag_enabled(key)',
        'found = all_flags()\nfound.update(x)\ny = found["a"]',
        'class A(FlagRequiredMixin, View):\n    flag_key = other = "a"',
        'class A(FlagRequiredMixin, View):\n    flag_key = "a"\n    flag_key = "b"',
        '@method_decorator([login, flag_required("b")])\nclass V: ...',
        'ALL = [login, flag_required("a")]\n@method_decorator(ALL)\nclass V: ...',
        '@others([login, flag_required("a")])\nclass V: ...',
        'def both(key): return login(flag_required(key))\n@both("a")\ndef view(request): ...',
        'def off(key): return override_flag(key, False)\nwith off("a"):\n    one()',
    ],
)
def test_code_that_has_more_than_the_key_stays(tmp_path: Path, source: str) -> None:
    assert patched(tmp_path, {"views.py": f"{IMPORTS}{source}\n"}, a=True).text == ""


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


@pytest.mark.parametrize(
    "lines",
    [
        "# Copyright.\n\nfrom flagstaff import flag_enabled\n",
        'from flagstaff import flag_enabled\n\n# Copyright.\n\nflag_enabled("a")\n',
        'def f():\n  # Copyright.\n  from flagstaff import flag_enabled\n  flag_enabled("a")\n',
    ],
)
def test_comment_above_a_line_that_goes_stays(tmp_path: Path, lines: str) -> None:
    source = f'"""Shop."""\n\n{lines}\n{IMPORT}y = flag_enabled("a")\n'
    after = resolved(tmp_path, source)
    assert "# Copyright.\n" in after
    assert "flag_enabled" not in after


OVERRIDE = "from flagstaff.testing import override_flag\n"


@pytest.mark.parametrize(
    ("test", "view", "lines"),
    [
        # The block, its file, or code that any test may run evaluates the key.
        ('with override_flag("a", True):\n    assert flag_enabled("a")', "", [3, 4]),
        ('def on(): assert flag_enabled("a")\n@override_flag("a")\ndef f(): on()', "", [3, 4]),
        ('def test_it(flags):\n    flags.on("a")', 'y = flag_enabled("a", one())', [4, 3]),
        ('with override_flag("a", True): one()', 'def view(x): flag_enabled(f"a{x}")', [3, 3]),
    ],
    ids=["block", "file", "view", "candidate"],
)
def test_override_of_a_key_that_is_still_evaluated_stays(
    tmp_path: Path, test: str, view: str, lines: list[int]
) -> None:
    files = {"test_it.py": test, "views.py": view}
    texts = {name: f"{IMPORT}{OVERRIDE}{text}\n" for name, text in files.items()}
    found = patched(tmp_path, texts, a=True)
    assert (found.text, [one.line for one in found.remaining]) == ("", lines)


def test_override_stays_only_where_the_key_is_still_evaluated(tmp_path: Path) -> None:
    """An assertion in one file of tests does not keep the overrides of another one."""
    files = {
        "test_one.py": f'{IMPORT}assert flag_enabled("a")\n',
        "test_two.py": f'{OVERRIDE}with override_flag("a", True):\n    one()\n',
    }
    found = patched(tmp_path, files, a=True)
    assert "+one()" in found.text
    assert [Path(one.path).name for one in found.remaining] == ["test_one.py"]


@pytest.mark.parametrize(
    ("keys", "stays"),
    [
        ('NEW = "a"\nOTHER = "b"\n', False),
        (
            '"""Keys."""\nfrom enum import StrEnum\nclass Keys(StrEnum):\n    A = "a"\nNEW = "a"\n',
            False,
        ),
        ('NEW = "a"\nregister(NEW)\n', True),
        ('import shop.signals\nNEW = "a"\n', True),
    ],
)
def test_import_of_a_constant_is_removed_if_its_module_has_only_constants(
    tmp_path: Path, keys: str, stays: bool
) -> None:
    line = (
        "from shop.keys import NEW, OTHER\n" if "OTHER" in keys else "from shop.keys import NEW\n"
    )
    rest = "one(OTHER)\n" if "OTHER" in keys else ""
    source = f"{IMPORT}{line}y = flag_enabled(NEW)\n{rest}"
    files = {"shop/__init__.py": "", "shop/keys.py": keys, "shop/views.py": source}
    found = patched(tmp_path, files, a=True)
    assert (f"-{line}" not in found.text) is stays


def test_mixin_that_a_url_of_another_module_needs_stays(tmp_path: Path) -> None:
    urls = 'from views import A\nurl = A.as_view(flag_key="b")\n'
    assert patched(tmp_path, {"views.py": IMPORTS + MIXIN, "urls.py": urls}, a=True).text == ""


def test_path_with_a_space_is_patched(tmp_path: Path) -> None:
    source = f'{IMPORT}y = flag_enabled("a")\n'
    assert resolved(tmp_path, source, name="my views.py").endswith("y = True\n")
