"""The search for keys that are not written at the place itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from flagstaff.cleanup.references import search
from flagstaff.cleanup.references.advice import advice
from tests.support.references import found_in, keys_in, references_in, write_project

IMPORT = "from flagstaff import flag_enabled as f\n"


@pytest.mark.parametrize(
    ("source", "keys"),
    [
        ('KEY = "a"\nf(KEY)', ["a"]),
        ('KEY: str = "a"\ndef g():\n    f(KEY)', ["a"]),
        ('def g():\n    key = "a"\n    f(key)', ["a"]),
        ('class V:\n    KEY = "a"\n    def g(self):\n        f(self.KEY)', ["a"]),
        ('class V:\n    KEY = "a"\nf(V.KEY)', ["a"]),
        ('class B:\n    KEY = "a"\nclass V(B):\n    def g(self):\n        f(self.KEY)', ["a"]),
        ('from enum import Enum\nclass E(str, Enum):\n    A = "a"\nf(E.A)', ["a"]),
        ('from enum import Enum\nclass E(Enum):\n    A = "a"\nf(E.A.value)', ["a"]),
        ('from enum import Enum\nclass E(Enum):\n    A = "a"\nf(E["A"].value)', ["a"]),
        ('class E(TextChoices):\n    A = "a", "Label"\nf(E.A)', ["a"]),
        ('class E(StrEnum):\n    A = "a"\n    B = "b"\nfor e in E:\n    f(e)', ["a", "b"]),
        ('KEYS = {"x": "a", "y": "b"}\nf(KEYS["x"])', ["a"]),
        ('KEYS = {"x": "a", "y": "b"}\nf(KEYS[name])', ["a", "b"]),
        ('KEYS = ["a", "b"]\nfor key in KEYS:\n    f(key)', ["a", "b"]),
        ('KEYS = ("a", "b")\nf(KEYS[1])', ["b"]),
        ('[f(key) for key in ("a", "b")]', ["a", "b"]),
        ('for key, label in [("a", 1), ("b", 2)]:\n    f(key)', ["a", "b"]),
        ('KEYS = {"a": 1}\nfor key, _ in KEYS.items():\n    f(key)', ["a"]),
        ('f("a" if x else "b")', ["a", "b"]),
        ('f(given or "a")', ["a"]),
        ('f("new_" "a")', ["new_a"]),
        ('P = "new_"\nf(P + "a")', ["new_a"]),
        ('P = "new"\nf(f"{P}_a")', ["new_a"]),
        ('f((key := "a"))', ["a"]),
        ('def on(user, key="a"):\n    return f(key, user)', ["a"]),
        ("def on(key, n): return f(key) or on(key, n - 1)\non('a', 1)", ["a"]),
        ("def one(key): return f(key)\ndef two(key): return one(key)\ntwo('a')", ["a"]),
        ("class V:\n def on(self, key): return f(key)\n def g(self): self.on('a')", ["a"]),
        ('K = ["a", "b"]\nf("\\d"), f(K[0x1]), f(K[9]), f(b"x"), f(1), f()', ["\\d", "b"]),
    ],
)
def test_key_of_a_constant_is_found(tmp_path: Path, source: str, keys: list[str]) -> None:
    assert keys_in(tmp_path, views=IMPORT + source) == keys


def test_constant_of_another_module_is_found(tmp_path: Path) -> None:
    files = {
        "shop/__init__.py": "",
        "shop/keys.py": 'A = "a"\nclass Keys:\n    B = "b"\n',
        "shop/names.py": "from .keys import *\n",
        "shop/views.py": f"""\
from . import keys
from .keys import A, Keys
from shop.names import A as again
import shop.keys
{IMPORT}
f(A), f(keys.A), f(Keys.B), f(again), f(shop.keys.A)
""",
    }
    root = write_project(tmp_path / "src", files)
    assert [one.key for one in search([root])] == ["a", "a", "b", "a", "a"]


@pytest.mark.parametrize(
    ("source", "pattern"),
    [
        ("def g(o):\n    f(f'new_{o.name}')", "new_*"),
        ("def g(o):\n    f('new_' + o.name)", "new_*"),
        ("def g(o):\n    f('%s_new' % o.name)", "*_new"),
        ("def g(o):\n    f('new_{}'.format(o.name))", "new_*"),
        ("def g(o):\n    f(o.name)", "*"),
        ("A = B\nB = A\nf(A)", "*"),
    ],
)
def test_key_built_at_run_time_is_dynamic(tmp_path: Path, source: str, pattern: str) -> None:
    assert found_in(tmp_path, views=IMPORT + source) == [("dynamic", pattern)]


def test_dynamic_key_has_the_keys_that_it_may_be(tmp_path: Path) -> None:
    source = IMPORT + "def g(o):\n    f(f'new_{o.name}')\n    f(o.name)"
    found = references_in(tmp_path, ["new_a", "new_b", "old"], views=source)
    assert [one.candidates for one in found] == [("new_a", "new_b"), ()]


@pytest.mark.parametrize(
    ("wrapper", "call"),
    [
        ("def is_on(request, key): return f(key, request.user)", "is_on(r, 'a')"),
        ("def is_on(*, key): return f(key)", "is_on(key='a')"),
        ("class S:\n    def is_on(self, key): return f(key)", "S().is_on('a')"),
        ("class S:\n    @staticmethod\n    def is_on(key): return f(key)", "S.is_on('a')"),
        ("class S:\n    @classmethod\n    def is_on(cls, key): return f(key)", "S.is_on('a')"),
        (
            "class S:\n def __init__(self, k): self.k = k\n def is_on(self): return f(self.k)",
            "S('a')",
        ),
        ("def deco(key):\n    def inner(v): return f(key)\n    return inner", "deco('a')"),
    ],
)
def test_call_of_a_wrapper_in_another_module_is_found(
    tmp_path: Path, wrapper: str, call: str
) -> None:
    name = call.partition("(")[0].partition(".")[0]
    views = f"from helpers import {name}\n{call}"
    found = found_in(tmp_path, helpers=IMPORT + wrapper, views=views)
    assert ("evaluation", "a") in found


def test_variable_that_is_built_from_itself_ends(tmp_path: Path) -> None:
    steps = "\n".join("    key = (key + 'x') if key else (key or 'y')" for _ in range(50))
    source = f"{IMPORT}def g(key):\n{steps}\n    f(key)"
    assert ("dynamic", "*") in found_in(tmp_path, views=source)


def test_modules_and_classes_that_go_round_in_a_circle_end(tmp_path: Path) -> None:
    one = f"from two import *\n{IMPORT}class A(B): ...\nclass B(A): ...\nf(A.KEY), f(MISSING)"
    found = found_in(tmp_path, one=one, two="from one import *\nflagstaff = 1")
    assert found == [("dynamic", "*"), ("dynamic", "*")]


def test_key_of_the_settings_is_found(tmp_path: Path) -> None:
    files = {
        "shop/settings/base.py": 'CHECKOUT = "a"\n',
        "shop/views.py": f"from django.conf import settings\n{IMPORT}f(settings.CHECKOUT)\n",
    }
    write_project(tmp_path, files)
    assert [one.key for one in search([tmp_path])] == ["a"]


def test_wrapper_of_a_wrapper_is_found_at_two_levels(tmp_path: Path) -> None:
    files = {
        "first": IMPORT + "def first(key): return f(key)\n",
        "second": "from first import first\ndef second(user, key): return first(key)\n",
        "third": "from second import second\ndef third(key): return second(None, key)\n",
        "views": "from second import second\nfrom third import third\nsecond(1, 'a')\nthird('b')\n",
    }
    found = found_in(tmp_path, **files)
    assert ("evaluation", "a") in found
    # The limit: the call inside of the third function is listed instead.
    assert ("evaluation", "b") not in found
    assert found.count(("dynamic", "*")) == 3


@pytest.mark.parametrize(
    ("mark", "keys"),
    [
        ('"key", ["a", "b"]', ["a", "b"]),
        ('"key", ("a", pytest.param("b", id="x"))', ["a", "b"]),
        ('"key,n", [("a", 1), ("b", 2)]', ["a", "b"]),
        ('("n", "key"), [(1, "a"), pytest.param(2, "b")]', ["a", "b"]),
        ('argnames=["key"], argvalues=["a"]', ["a"]),
        ('"key", KEYS', ["a", "b"]),
        ('"key", [*KEYS, "c"]', ["a", "b", "c"]),
        ('"n, key", PAIRS', ["a"]),
        ('"key", [KEYS[0], None]', ["a"]),
        ('"n", ["a"]', []),
        ('"key", ["a"], indirect=True', []),
        ('"key"', []),
    ],
)
def test_key_of_parametrize_is_found(tmp_path: Path, mark: str, keys: list[str]) -> None:
    source = (
        f'{IMPORT}import pytest\nKEYS = ["a", "b"]\nPAIRS = [(1, "a")]\n'
        f"@pytest.mark.parametrize({mark})\ndef test_one(n, key):\n    f(key)\n"
    )
    assert keys_in(tmp_path, test_views=source) == keys


def test_key_of_parametrize_of_a_class_is_found_with_its_place(tmp_path: Path) -> None:
    source = (
        f'{IMPORT}import pytest\n@pytest.mark.parametrize("key", [\n    "a",\n])\n'
        "class TestOne:\n    def test_one(self, key):\n        f(key)\n"
    )
    found = [one for one in references_in(tmp_path, test_views=source) if one.key]
    assert [(one.line, one.column, one.name) for one in found] == [(4, 5, "parametrize")]
    assert advice(found[0], {"a": True}) == "remove the key from the parameters of the test"


@pytest.mark.parametrize(
    ("call", "on", "words"),
    [
        ("on", True, "remove the statement"),
        ("off", False, "remove the statement"),
        ("on", False, "delete the test: it covers code that you remove"),
        ("off", True, "delete the test: it covers code that you remove"),
    ],
)
def test_advice_for_the_fixture_depends_on_its_result(
    tmp_path: Path, call: str, on: bool, words: str
) -> None:
    source = f"import flagstaff\ndef test_one(flags):\n    flags.{call}('a')\n"
    [found] = references_in(tmp_path, test_views=source)
    assert advice(found, {"a": on}) == words
