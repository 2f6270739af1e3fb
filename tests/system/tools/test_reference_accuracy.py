"""The tool that measures the search for references: its rewriter, its resolver, its comparison."""

from __future__ import annotations

import ast
from pathlib import Path, PurePosixPath

import pytest

from tools.reference_accuracy.codebase import CodeBase
from tools.reference_accuracy.comparing import Find, compared
from tools.reference_accuracy.constants import Constants
from tools.reference_accuracy.planting import plant, unmarked
from tools.reference_accuracy.rewrite_all import rewritten_copy
from tools.reference_accuracy.rewriting import rewritten
from tools.reference_accuracy.template_parsing import template_problem
from tools.reference_accuracy.templates import rewritten_template
from tools.reference_accuracy.truth import Place


def _rewritten(source: str) -> str:
    new = rewritten(source.encode())
    assert new is not None
    return new.result.text.decode()


# Two lines each: before, and after.
CASES = """
import waffle; waffle.flag_is_active(request, 'a')
import flagstaff; flagstaff.flag_enabled('a', request.user)

import waffle as w; w.switch_is_active(KEY)
import flagstaff as w; w.flag_enabled(KEY)

from waffle import flag_is_active, switch_is_active; switch_is_active('ä')
from flagstaff import flag_enabled; flag_enabled('ä')

from waffle import sample_is_active as s; s('a')
from flagstaff import flag_enabled as s; s('a')

from waffle import *; flag_is_active(self.request, flag_name='a')
from flagstaff import *; flag_enabled('a', self.request.user)

from waffle.decorators import waffle_flag; view = waffle_flag('a', 'home')(view)
from flagstaff.decorators import flag_required; view = flag_required('a')(view)

from waffle.testutils import override_switch; override_switch('a', active=False)
from flagstaff.testing import override_flag; override_flag('a', enabled=False)

from waffle.testutils import override_sample; override_sample('a', active=50.0)
from flagstaff.testing import override_flag; override_flag('a', enabled=True)

from waffle import testutils; testutils.override_flag('a')
from flagstaff import testing as testutils; testutils.override_flag('a', enabled=True)

import waffle; mock.patch.object(waffle, 'switch_is_active')
import flagstaff; mock.patch.object(flagstaff, "flag_enabled")

import waffle; waffle.switch_is_active('a'); waffle.get_waffle_flag_model()
import waffle; import flagstaff; flagstaff.flag_enabled('a'); waffle.get_waffle_flag_model()

from waffle import get_waffle_flag_model, flag_is_active
from waffle import get_waffle_flag_model; from flagstaff import flag_enabled
"""


@pytest.mark.parametrize("case", CASES.strip().split("\n\n"))
def test_use_of_waffle_becomes_a_use_of_flagstaff(case: str) -> None:
    source, expected = case.splitlines()
    assert _rewritten(source) == expected


def test_mixin_has_our_name_and_attribute() -> None:
    source = "from waffle.mixins import WaffleFlagMixin as M\nclass V(M):\n    waffle_flag = 'a'"
    ours = "from flagstaff.mixins import FlagRequiredMixin as M\nclass V(M):\n    flag_key = 'a'"
    assert _rewritten(source) == ours
    source = "from waffle.mixins import WaffleFlagMixin\nclass V(WaffleFlagMixin): ..."
    assert _rewritten(source).endswith("class V(FlagRequiredMixin): ...")


@pytest.mark.parametrize("source", ["x = 1", "# waffle", "from waffle.models import Flag"])
def test_file_without_calls_is_not_rewritten(source: str) -> None:
    assert rewritten(source.encode()) is None


def test_place_has_the_lines_after_the_edits() -> None:
    call = "waffle.flag_is_active(\n    request,\n    'a',\n)"
    source = f"import waffle\n{call}\nwaffle.switch_is_active('b')"
    new = rewritten(source.encode())
    assert new is not None
    assert [new.span(found.node) for found in new.found] == [(2, 5), (6, 6)]
    assert ast.parse(new.result.text).body


@pytest.mark.parametrize(
    ("text", "ours", "places"),
    [
        (
            "{% load i waffle_tags %}\n{% switch 'a' %}x{% endswitch %}\n{% flag k %}{% endflag %}",
            "{% load i flagstaff %}\n{% flag 'a' %}x{% endflag %}\n{% flag k %}{% endflag %}",
            [(2, "a"), (3, None)],
        ),
        (
            "\n{% if waffle.switch('a') %}x{% endif %}",
            "\n{% if flag_enabled('a') %}x{% endif %}",
            [(2, "a")],
        ),
    ],
    ids=["Django", "Jinja"],
)
def test_template_has_our_tags(text: str, ours: str, places: list[object]) -> None:
    new = rewritten_template(text)
    assert new is not None
    assert (new.text, new.places) == (ours, places)
    # A tag of another library.
    assert rewritten_template("{% load countries %}{% flag 'de' %}") is None


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
    source = "import waffle\nwaffle.switch_is_active('a')\n"
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "views.py").write_text(source)
    copy = rewritten_copy(tmp_path / "old", tmp_path / "new")
    assert (tmp_path / "old" / "views.py").read_text() == source
    assert "flagstaff" in (tmp_path / "new" / "views.py").read_text()
    assert copy.places == [Place("views.py", 2, 2, "evaluation", "a")]


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
