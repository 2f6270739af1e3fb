"""Programs of odd shapes: the rewritten one returns the same, or the place is left to a person."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import waffle
from django.core.cache import cache
from django.http import HttpRequest
from waffle.models import Flag

from flagstaff.cleanup.rewrite import reasons
from flagstaff.cleanup.rewrite.reasons import Reason
from tests.support.rewriting import rendered, returned, rewriting_of, written

pytestmark = pytest.mark.django_db

_FLAG = "from waffle import flag_is_active\n"
_SWITCH = "from waffle import switch_is_active\n"
_OVERRIDE = "from waffle.testutils import override_flag\n"
_ON = "    return flag_is_active(request, 'a')\n"
_DECORATORS = "from django.http import Http404\nfrom waffle.decorators import waffle_flag\n"
# Evaluates a name that no rewriting knows.
_SHARED = (("shared.py", f"{_FLAG}def on(name): return flag_is_active(None, name)"),)
_CHECKS = """
from unittest import mock
import main
import main as other
@mock.patch('main.switch_is_active')
def on(replaced): return main.on() is replaced()
"""
_OBJECT = "patch.object("
_TRY = """
def run(request):
    try:
        return view(request)
    except Http404:
        return None
"""


@dataclass(frozen=True)
class Program:
    """A module `main` with `run(request)`, what is rewritten in it, and what stays."""

    code: str
    done: int = 1
    left: tuple[Reason, ...] = ()
    #: Other modules.
    files: tuple[tuple[str, str], ...] = ()
    #: Whether the result depends on the flag.
    differs: bool = True


def _stays(code: str, *left: Reason, **options: Any) -> Program:
    return Program(code, 0, left, **options)


PROGRAMS = {
    "evaluation": Program(f"{_FLAG}def run(request):\n{_ON}"),
    "module": Program(
        "import waffle\ndef run(request):\n return waffle.flag_is_active(request,'a')"
    ),
    "alias": Program(
        "import waffle as w\ndef run(request):\n return w.flag_is_active(request, 'a')"
    ),
    "alias of a function": Program(
        "from waffle import switch_is_active as on\ndef run(request):\n return on('a'), on('b')", 2
    ),
    "dotted import": Program(
        "import waffle.testutils\nfrom shared import on\n"
        "def run(request):\n with waffle.testutils.override_flag('a', active=True):\n"
        "  return on('a'), on('b')",
        1,
        (reasons.DYNAMIC,),
        _SHARED,
        differs=False,
    ),
    "another module of waffle": Program(
        f"from waffle.decorators import flag_is_active\ndef run(request):\n{_ON}"
    ),
    "import in a function": Program(f"def run(request):\n    {_FLAG}    x = 1\n{_ON}"),
    "only an import in a branch": Program(
        f"if True:\n    {_SWITCH}\ndef run(request):\n return switch_is_active('a')"
    ),
    "conditional import": _stays(
        f"try:\n    {_FLAG}except ImportError:\n flag_is_active = None\ndef run(request):\n{_ON}",
        reasons.OTHER_NAME,
    ),
    "conditional import of a module": _stays(
        "try:\n import waffle\nexcept ImportError:\n pass\n"
        "def run(request):\n return waffle.switch_is_active('a')",
        reasons.CONDITIONAL,
    ),
    "two imports in a line": _stays(
        "import sys; import waffle\ndef run(request):\n return waffle.switch_is_active('a')",
        reasons.IMPORT,
    ),
    "star import": _stays(f"from waffle import *\ndef run(request):\n{_ON}", reasons.OTHER_NAME),
    "star import above": Program(
        f"from shared import *\n{_SWITCH}def run(request):\n return switch_is_active('a')",
        files=(("shared.py", "def switch_is_active(name): ...\nflag_enabled = switch_is_active"),),
    ),
    "star import below that binds the name": _stays(
        f"{_SWITCH}from shared import *\ndef run(request):\n return switch_is_active('a')",
        reasons.OTHER_NAME,
        files=(("shared.py", "def switch_is_active(name): ..."),),
        differs=False,
    ),
    "star import below that binds the new name": _stays(
        f"{_SWITCH}from shared import *\ndef run(request):\n return switch_is_active('a')",
        reasons.OTHER_NAME,
        files=(("shared.py", "def flag_enabled(key): ..."),),
    ),
    "shadowed name": Program(
        f"{_FLAG}def run(request):\n{_ON}def other(flag_is_active):\n return flag_is_active(1, 'b')"
    ),
    "name of the new function is taken": _stays(
        f"{_SWITCH}flag_enabled = 1\ndef run(request):\n return switch_is_active('a')",
        reasons.TAKEN,
    ),
    "own function": _stays(
        "def flag_is_active(r, k): return k\ndef run(request):\n" + _ON, differs=False
    ),
    "passed on": _stays(
        f"from functools import partial\n{_FLAG}def run(request):\n"
        " return partial(flag_is_active, request)('a')",
        reasons.PASSED,
    ),
    "class attribute": _stays(
        f"{_SWITCH}class C:\n on = staticmethod(switch_is_active)\n"
        "def run(request):\n return C.on('a')",
        reasons.PASSED,
    ),
    "key in a class": Program(
        f"{_SWITCH}class C:\n KEY = 'a'\ndef run(request):\n return switch_is_active(C.KEY)"
    ),
    "key in a constant": Program(
        f"{_FLAG}KEY = 'a'\ndef run(request):\n return flag_is_active(request, KEY)"
    ),
    "key in an f-string": _stays(
        f"{_FLAG}def run(request, x='a'):\n return flag_is_active(request, f'{{x}}')",
        reasons.DYNAMIC,
    ),
    "call in an f-string": Program(
        f"{_SWITCH}def run(request):\n return f\"{{switch_is_active('a')}}\""
    ),
    "wrapper": _stays(
        f"{_FLAG}def on(request, key):\n return flag_is_active(request, key)\n"
        "def run(request):\n return on(request, 'a')",
        reasons.DYNAMIC,
    ),
    "keywords": Program(
        f"{_FLAG}def run(request):\n return flag_is_active(flag_name='a', request=request)"
    ),
    "read only": Program(
        f"{_FLAG}def run(request):\n return flag_is_active(request, 'a', read_only=True)"
    ),
    "call over several lines": Program(
        f"{_FLAG}def run(request):\n return (flag_is_active(\n  request,\n  'a',  # why\n ))"
    ),
    "comment in the call": _stays(
        f"{_FLAG}def run(request):\n return flag_is_active(\n  request,  # why\n  'a',\n )",
        reasons.COMMENT,
    ),
    "arguments in a list": _stays(
        f"{_FLAG}def run(request):\n return flag_is_active(*[request, 'a'])", reasons.ARGUMENTS
    ),
    "no request": _stays(
        f"{_FLAG}def run(request):\n return flag_is_active(None, 'a')", reasons.WITHOUT_REQUEST
    ),
    "text for a request": _stays(
        f"{_FLAG}def run(request):\n return flag_is_active('', 'a')", reasons.WITHOUT_REQUEST
    ),
    "request of a call": _stays(
        f"{_FLAG}def current(): return None\ndef run(request):\n"
        " return flag_is_active(current() or request, 'a')",
        reasons.NO_REQUEST,
    ),
    "request that may be None": _stays(
        f"{_FLAG}def run(request=None):\n{_ON}", reasons.OPTIONAL_REQUEST
    ),
    "request that is assigned": _stays(
        f"{_FLAG}def run(request):\n    request = request or None\n{_ON}", reasons.NO_REQUEST
    ),
    "attribute of a view": Program(
        f"{_FLAG}class V:\n def on(self):\n  return flag_is_active(self.request, 'a')\n"
        "def run(request):\n v = V()\n setattr(v, 'request', request)\n return v.on()"
    ),
    "attribute that is assigned": _stays(
        f"{_FLAG}class V:\n def __init__(self, request):\n  self.request = request\n"
        " def on(self):\n  return flag_is_active(self.request, 'a')\n"
        "def run(request):\n return V(request).on()",
        reasons.OPTIONAL_REQUEST,
    ),
    "request made in a test": _stays(
        f"{_FLAG}def run(request):\n{_ON}",
        reasons.MADE_REQUEST,
        files=(
            ("helpers.py", "from main import run\ndef other(r): return run(r)"),
            (
                "checks.py",
                "from django.test import RequestFactory as R\nmap(other, [R().get('/')])",
            ),
        ),
    ),
    "async": Program(
        f"import asyncio\n{_FLAG}async def view(request):\n{_ON}"
        "def run(request):\n return asyncio.run(view(request))"
    ),
    "passed to a thread": _stays(
        f"from asgiref.sync import async_to_sync, sync_to_async\n{_SWITCH}async def view():\n"
        " return await sync_to_async(switch_is_active)('a')\n"
        "def run(request):\n return async_to_sync(view)()",
        reasons.OTHER_NAME,
        reasons.PASSED,
    ),
    "decorator": Program(f"{_DECORATORS}@waffle_flag('a')\ndef view(request):\n return 1\n{_TRY}"),
    "nested decorators": Program(
        f"import functools\n{_DECORATORS}@functools.lru_cache\n@waffle_flag('a')\n"
        f"@waffle_flag('a')\ndef view(request):\n return 1\n{_TRY}",
        2,
    ),
    "decorator with a redirect": _stays(
        f"{_DECORATORS}@waffle_flag('a', redirect_to='x')\ndef view(request):\n return 1\n{_TRY}",
        reasons.REDIRECT,
    ),
    "decorator of the opposite": _stays(
        f"{_DECORATORS}@waffle_flag('!a')\ndef view(request):\n return 1\n{_TRY}", reasons.OPPOSITE
    ),
    "decorator of something else": _stays(
        f"{_DECORATORS}@waffle_flag('a')\ndef view(thing):\n return 1\n{_TRY}", reasons.NO_VIEW
    ),
    "mixin": Program(
        "from django.http import Http404\nfrom django.views import View\n"
        "from waffle.mixins import WaffleFlagMixin\nclass V(WaffleFlagMixin, View):\n"
        f" waffle_flag = 'a'\n def get(self, request):\n  return 1\nview = V.as_view()\n{_TRY}"
    ),
    "mixin with a response of its own": _stays(
        "from django.views import View\n"
        "from waffle.mixins import WaffleFlagMixin\nclass V(WaffleFlagMixin, View):\n"
        " waffle_flag = 'a'\n def get(self, request):\n  return 1\n"
        " def invalid_waffle(self):\n  return 2\ndef run(request):\n return V.as_view()(request)",
        reasons.VIEW_CLASS,
    ),
    "override": Program(
        f"from shared import on\n{_OVERRIDE}def run(request):\n"
        " with override_flag('a', active=True), override_flag('b', active=False):\n"
        "  return on('a'), on('b')",
        2,
        (reasons.DYNAMIC,),
        _SHARED,
        differs=False,
    ),
    "override of an unknown state": _stays(
        f"from flagstaff import flag_enabled\n{_OVERRIDE}def run(request):\n"
        " return override_flag('a', active=None).active",
        reasons.UNCLEAR_OVERRIDE,
        differs=False,
    ),
    "overrides for both libraries": _stays(
        f"{_OVERRIDE}def run(request, x=None):\n override_flag('b', active=x)\n"
        " with override_flag('b', active=True):\n  return 1",
        reasons.UNCLEAR_OVERRIDE,
        reasons.OTHER_OVERRIDE,
        differs=False,
    ),
    "override of a key that is known only at run time": Program(
        f"from shared import on\n{_OVERRIDE}@override_flag('a', active=True)\ndef one():\n"
        " return on('a')\ndef other(x):\n with override_flag(x, active=True):\n  pass\n"
        "def run(request):\n return one()",
        1,
        (reasons.DYNAMIC,),
        _SHARED,
        differs=False,
    ),
    "overrides for both libraries by different texts": _stays(
        f"{_OVERRIDE}KEY = 'b'\ndef run(request, x=None):\n override_flag('b', active=x)\n"
        " with override_flag(KEY, active=True):\n  return 1",
        reasons.UNCLEAR_OVERRIDE,
        reasons.OTHER_OVERRIDE,
        differs=False,
    ),
    "override around one that is known only at run time": _stays(
        f"from shared import on\n{_OVERRIDE}@override_flag('a', active=True)\ndef one(x='a'):\n"
        " with override_flag(x, active=False):\n  pass\ndef run(request):\n return 1",
        reasons.OTHER_OVERRIDE,
        reasons.DYNAMIC,
        files=_SHARED,
        differs=False,
    ),
    "override with a stack": Program(
        f"from contextlib import ExitStack\nfrom shared import on\n{_OVERRIDE}"
        "def run(request):\n with ExitStack() as stack:\n"
        "  stack.enter_context(override_flag(name='a', active=True))\n  return on('a')",
        1,
        (reasons.DYNAMIC,),
        _SHARED,
        differs=False,
    ),
    "mock of the function here": _stays(
        f"from unittest import mock\n{_SWITCH}def on():\n return switch_is_active('a')\n"
        "def run(request):\n import checks\n return checks.on()",
        reasons.PATCHED,
        files=(("checks.py", _CHECKS),),
        differs=False,
    ),
    "mock of the module by another name": _stays(
        f"{_SWITCH}def on():\n return switch_is_active('a')\n"
        "def run(request):\n import checks\n return checks.on()",
        reasons.PATCHED,
        files=(("checks.py", _CHECKS.replace("'main.", "other, '").replace("patch(", _OBJECT)),),
        differs=False,
    ),
    "assigned in the module": _stays(
        f"{_SWITCH}def on():\n return switch_is_active('a')\n"
        "def run(request):\n import checks\n return on()",
        reasons.PATCHED,
        files=(("checks.py", "import main as other\nother.switch_is_active = len\n"),),
        differs=False,
    ),
    "task": _stays(
        f"{_FLAG}def task(self):\n return flag_is_active(self.request, 'a')\n"
        "def run(request):\n return None",
        reasons.NO_REQUEST,
        differs=False,
    ),
    "mock of waffle": _stays(
        "from unittest import mock\nimport waffle\ndef run(request):\n"
        " with mock.patch('waffle.switch_is_active', lambda name: name):\n"
        "  return waffle.switch_is_active('a')",
        reasons.PATCHED,
        reasons.PATCH_OF_WAFFLE,
        differs=False,
    ),
    "re-export": Program(
        "from shared import switch_is_active\ndef run(request):\n return switch_is_active('a')",
        1,
        (reasons.UNUSED_IMPORT,),
        files=(("shared.py", _SWITCH),),
    ),
    "sample": _stays(
        "from waffle import sample_is_active\ndef run(request):\n return sample_is_active('a')",
        reasons.SAMPLE,
    ),
    "model": _stays(
        "from waffle.models import Flag\ndef run(request):\n return Flag(name='a').name",
        reasons.MODEL,
        differs=False,
    ),
    "annotation": _stays(
        "from __future__ import annotations\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n"
        "    from waffle.models import Flag\ndef run(request, x: Flag | None = None):\n return x",
        reasons.MODEL,
        differs=False,
    ),
    "unknown key": _stays(
        f"{_FLAG}def run(request):\n return flag_is_active(request, 'c')",
        reasons.no_flag("c"),
        differs=False,
    ),
    "rule on the language": _stays(
        f"{_FLAG}def run(request):\n return flag_is_active(request, 'language')",
        reasons.needs_compat("language", "the language"),
        differs=False,
    ),
    "template in a string": _stays(
        "def run(request):\n return '{% load waffle_tags %}{% flag \"a\" %}{% endflag %}'",
        reasons.TEMPLATE_STRING,
        differs=False,
    ),
}


@pytest.fixture(autouse=True)
def served(settings: Any) -> Iterator[None]:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "WAFFLE": {"SERVE": True, "MIRROR": False}}
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "flagstaff.middleware.FlagstaffMiddleware"]
    # From now on it is in waffle's cache, so that waffle makes no query in an event loop.
    Flag.objects.create(name="a")
    waffle.flag_is_active(HttpRequest(), "a")
    yield
    cache.clear()


def _files(program: Program) -> dict[str, str]:
    return {"main.py": program.code, **dict(program.files)}


@pytest.mark.parametrize("name", PROGRAMS)
def test_program_does_the_same_or_is_left_to_a_person(tmp_path: Path, name: str) -> None:
    program = PROGRAMS[name]
    made = rewriting_of(tmp_path, _files(program))
    assert made.problems == {}
    assert (made.done, {one.why for one in made.left}) == (
        program.done,
        {reason.why for reason in program.left},
    )
    states = (True, False) if program.differs else (None,)
    before = [returned(tmp_path, state) for state in states]
    assert len({*map(str, before)}) == len(states)
    written(tmp_path, made)
    assert [returned(tmp_path, state) for state in states] == before


@pytest.mark.thorough
@pytest.mark.parametrize("name", PROGRAMS)
def test_program_with_the_imports_of_compat_does_the_same(tmp_path: Path, name: str) -> None:
    made = rewriting_of(tmp_path, _files(PROGRAMS[name]), "compat")
    before = [returned(tmp_path, state) for state in (True, False)]
    written(tmp_path, made)
    assert [returned(tmp_path, state) for state in (True, False)] == before


@pytest.mark.thorough
@pytest.mark.parametrize("name", PROGRAMS)
def test_second_run_finds_nothing_to_do(tmp_path: Path, name: str) -> None:
    for level in ("compat", "flagstaff"):
        written(tmp_path, rewriting_of(tmp_path, _files(PROGRAMS[name]), level))
        assert rewriting_of(tmp_path, {}, level).files == {}


_LOAD = "{% load waffle_tags %}"
_PAIR = "{% flag 'a' %}1{% else %}2{% endflag %}"
TEMPLATES = {
    "flag": (f"{_LOAD}{_PAIR}", 1, None),
    "switch": (f"{_LOAD}{{%switch 'a'%}}1{{%  else %}}2{{% endswitch   %}}", 1, None),
    "both": (f"{_LOAD}{_PAIR}{{% switch 'b' %}}3{{% endswitch %}}", 2, None),
    "two libraries": ("{% load i18n waffle_tags %}" + _PAIR, 1, None),
    "one tag of a library": (
        "{% load switch from waffle_tags %}{% switch 'a' %}1{% endswitch %}",
        1,
        None,
    ),
    "without quotes": (f"{_LOAD}{{% switch a %}}1{{% endswitch %}}", 1, None),
    "variable": (
        f"{_LOAD}{{% with a='b' %}}{{% flag a %}}1{{% endflag %}}{{% endwith %}}",
        0,
        reasons.VARIABLE,
    ),
    "comments": (
        f"{_LOAD}{{# {{% switch x %}} #}}{{% comment %}}{{% switch %}}{{% endcomment %}}{_PAIR}",
        1,
        None,
    ),
    "verbatim": (f"{_LOAD}{_PAIR}{{% verbatim %}}{{% switch 'x' %}}{{% endverbatim %}}", 1, None),
    "sample": (f"{_LOAD}{_PAIR}{{% sample 'b' %}}{{% endsample %}}", 0, reasons.SAMPLE),
    "unknown key": (f"{_LOAD}{{% flag 'c' %}}1{{% endflag %}}{_PAIR}", 0, reasons.no_flag("c")),
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_template_renders_the_same_or_is_left_to_a_person(tmp_path: Path, name: str) -> None:
    source, done, left = TEMPLATES[name]
    made = rewriting_of(tmp_path, {"page.html": source})
    assert made.problems == {}
    assert made.done == done
    assert (left.why if left else None) in {one.why for one in made.left} | {None}
    page = tmp_path / "page.html"
    before = [rendered(page, state) for state in (True, False)]
    written(tmp_path, made)
    assert [rendered(page, state) for state in (True, False)] == before
    assert ("waffle" in page.read_text()) is (done == 0)
    assert rewriting_of(tmp_path, {}).files == {}


@pytest.mark.parametrize(
    ("code", "is_variable"),
    [
        ('def context(request):\n    return {"a": "b"}\n', True),
        ("context['a'] = key\n", True),
        ('render(request, "page.html", dict(a="b"))\n', True),
        ('context = {"a": "a"}\n', False),
        ('override_flag("a", active=True)\n', False),
        ('assert context["a"] == other.a\n', False),
    ],
)
def test_name_without_quotes_is_left_if_code_may_pass_a_variable(
    tmp_path: Path, code: str, is_variable: bool
) -> None:
    page = f"{_LOAD}{{% flag a %}}1{{% endflag %}}"
    made = rewriting_of(tmp_path, {"page.html": page, "shop.py": code})
    assert made.problems == {}
    assert [one.why for one in made.left] == [reasons.VARIABLE.why] * is_variable
    assert bool(made.files) is not is_variable
