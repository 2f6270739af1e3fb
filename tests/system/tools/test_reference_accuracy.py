"""The tool that measures the search for references: its finder, its resolver, its comparison."""

from __future__ import annotations

import ast
from pathlib import Path, PurePosixPath

import pytest

from tools.reference_accuracy.codebase import CodeBase
from tools.reference_accuracy.comparing import Find, compared
from tools.reference_accuracy.constants import Constants
from tools.reference_accuracy.copying import copied, places_in, rewrite_copy
from tools.reference_accuracy.planting import plant, unmarked
from tools.reference_accuracy.template_parsing import template_problem
from tools.reference_accuracy.truth import Place
from tools.reference_accuracy.waffle_places import in_python, in_template


def _places(source: str) -> list[tuple[str, str]]:
    return [(found.kind, ast.unparse(found.key)) for found in in_python(ast.parse(source))]


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("import waffle; waffle.flag_is_active(request, 'a')", ("evaluation", "'a'")),
        ("import waffle as w; w.switch_is_active(KEY)", ("evaluation", "KEY")),
        ("from waffle import sample_is_active as s; s('a')", ("evaluation", "'a'")),
        ("from waffle import *; flag_is_active(r, flag_name='a')", ("evaluation", "'a'")),
        (
            "from waffle.decorators import waffle_flag; waffle_flag('a', 'home')(view)",
            ("decorator", "'a'"),
        ),
        ("from waffle import testutils; testutils.override_flag('a')", ("test", "'a'")),
        (
            "from waffle.mixins import WaffleFlagMixin as M\nclass V(M):\n    waffle_flag = 'a'",
            ("mixin", "'a'"),
        ),
    ],
)
def test_use_of_waffle_is_a_place(source: str, place: tuple[str, str]) -> None:
    assert _places(source) == [place]


@pytest.mark.parametrize(
    "source",
    ["x = 1", "from waffle.models import Flag; Flag()", "import waffle; waffle.flag_is_active(*x)"],
)
def test_code_without_a_key_has_no_place(source: str) -> None:
    assert _places(source) == []


@pytest.mark.parametrize(
    ("text", "places"),
    [
        (
            "{% load i waffle_tags %}\n{% switch 'a' %}x{% endswitch %}\n{% flag k %}{% endflag %}",
            [(2, "a"), (3, None)],
        ),
        ("\n{% if waffle.switch('a') %}x{% endif %}", [(2, "a")]),
        # A tag of another library.
        ("{% load countries %}{% flag 'de' %}", []),
    ],
    ids=["Django", "Jinja", "another library"],
)
def test_template_has_places(text: str, places: list[object]) -> None:
    assert in_template(text) == places


FILES = {
    "shop/keys.py": "class Keys(Enum):\n    A = 'a'\nB = 'b'\nC = B\nD = 'd'\nD = 'e'\n",
    "shop/__init__.py": "from .keys import B as SHORT\n",
    "shop/settings/base.py": "SWITCH = 'from_settings'\n",
}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("f('x')", "x"),
        ("K = 'x'\nf(K)", "x"),
        ("from .keys import B\nf(B)", "b"),
        ("from shop import SHORT\nf(SHORT)", "b"),
        ("from shop.keys import *\nf(C)", "b"),
        ("from shop import keys\nf(keys.B)", "b"),
        ("import shop.keys\nf(shop.keys.B)", "b"),
        ("from shop.keys import Keys\nf(Keys.A)", "a"),
        ("from shop.keys import Keys\nf(Keys.A.value)", "a"),
        ("def g():\n    k = 'x'\n    f(k)", "x"),
        ("f(settings.SWITCH)", "from_settings"),
        ("from .keys import D\nf(D)", None),
        ("K = 'x'\ndef g(K):\n    f(K)", None),
        ("for k in ['x']:\n    f(k)", None),
        ("f('x' + y)", None),
        ("from elsewhere import K\nf(K)", None),
    ],
)
def test_key_is_resolved_over_modules(tmp_path: Path, source: str, expected: str | None) -> None:
    for path, text in {**FILES, "shop/views.py": source}.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    tree = ast.parse(source)
    (call,) = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    key = Constants(CodeBase(tmp_path)).key(call.args[0], PurePosixPath("shop/views"), tree)
    assert key == expected


def test_copy_is_rewritten_and_the_original_is_not(tmp_path: Path) -> None:
    source = "import waffle\ndef f(x):\n    return waffle.switch_is_active(\n        'a')\n"
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "views.py").write_text(source)
    new = tmp_path / "new"
    copied(tmp_path / "old", new)
    assert places_in(new) == ([Place("views.py", 3, 4, "evaluation", "a")], [])
    assert rewrite_copy(new) == 0
    assert (tmp_path / "old" / "views.py").read_text() == source
    assert "flag_enabled(" in (new / "views.py").read_text()


def test_marks_become_places_and_are_removed() -> None:
    text = "f(  # expect+1: evaluation a; test b\n    'a')\ng(k)  # expect?: dynamic *|any\n"
    plain, places = unmarked(text, "x.py")
    assert plain == "f(\n    'a')\ng(k)\n"
    first, second, third = places
    assert first == Place("x.py", 1, 2, "evaluation", "a")
    assert second == Place("x.py", 1, 2, "test", "b")
    assert (third.key, third.optional, third.accepts("c")) == (None, True, True)


def test_planted_files_compile(tmp_path: Path) -> None:
    places = plant(tmp_path)
    files = list(tmp_path.rglob("*.py"))
    for file in files:
        compile(file.read_text(), str(file), "exec")
    assert len(files) > 10
    assert len(places) > 60


def _find(line: int, key: str | None) -> Find:
    return Find("x.py", line, "evaluation", key, "")


def test_comparison_counts_misses_and_wrong_finds() -> None:
    places = [Place("x.py", line, line, "evaluation", "a") for line in (1, 2)]
    result = compared(places, [_find(1, "a"), _find(1, "b"), _find(3, "a")])
    assert (len(result.right), len(result.missed), len(result.wrong)) == (1, 1, 2)
    assert (result.precision, result.recall) == (1 / 3, 1 / 2)
    # A find counts twice on one line only.
    place = Place("x.py", 1, 3, "evaluation", "a")
    assert compared([place], [_find(1, "a"), _find(3, "a")]).wrong == []
    assert len(compared([place], [_find(1, "a"), _find(1, "a")]).wrong) == 1
    optional = Place("x.py", 1, 1, "dynamic", None, optional=True)
    for finds in ([], [_find(1, None)]):
        result = compared([optional], finds)
        assert (result.right, result.missed, result.wrong) == ([], [], [])


def test_template_without_its_end_is_a_problem() -> None:
    old = "{% if a %}x{% endif %}"
    for path in (Path("a.html"), Path("jinja2/a.html")):
        assert template_problem(path, old, "x") is None
        assert template_problem(path, old, "x{% endif %}") is not None
    # With unknown tags, only the balance of the tags is known.
    old = "{% unknown %}{% if a %}x{% endif %}"
    assert template_problem(Path("a.html"), old, "{% unknown %}x") is None
    assert template_problem(Path("a.html"), old, "{% unknown %}{% else %}x") is not None
