"""The search for keys in Python: imports, objects of flagstaff, and the place that is reported."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest

import flagstaff
from flagstaff.cleanup.references import search
from flagstaff.cleanup.references.functions import BY_NAME
from tests.support.references import found_in, keys_in, references_in

PLACES = {
    ("evaluation", "flag"): [
        'from flagstaff import flag_enabled\nflag_enabled("a")',
        'from flagstaff import flag_enabled as f\nf("a")',
        'import flagstaff\nflagstaff.flag_enabled("a")',
        'import flagstaff as fs\nfs.flag_enabled(key="a", user=1)',
        'from flagstaff import *\nflag_enabled("a")',
        'def late():\n    return flag_enabled("a")\nfrom flagstaff import flag_enabled',
        'def f():\n    from flagstaff import flag_enabled\n    return flag_enabled("a")',
        'from flagstaff import flag_enabled\ncheck = flag_enabled\ncheck("a")',
        'from functools import partial\nfrom flagstaff import flag_enabled as f\npartial(f, "a")',
        'from flagstaff import explain\nexplain("a")',
        'from flagstaff import resolve_flag\nresolve_flag("a", 1)',
        'from flagstaff import Snapshot\ndef on(now: Snapshot):\n    now.resolve_flag("a")',
        'from openfeature import api\napi.get_client().get_boolean_value("a", False)',
        # A file without the word flagstaff or flag.
        'from shop import client\nclient.get_boolean_details("a", False)',
        'async def on(self):\n    await self.client.get_boolean_value_async("a", False)',
        'def on(client):\n    client.get_boolean_value(default_value=True, flag_key="a")',
        'from flagstaff import all_flags\nall_flags(1)["a"]',
        'from flagstaff import all_flags\nflags = all_flags(1)\nflags.get("a")',
        'from flagstaff import snapshot\nsnapshot().flag_enabled("a")',
        'from flagstaff import snapshot\nnow = snapshot()\nnow.explain("a")',
        'def view(request):\n    return request.flags.enabled("a")',
        'def view(request):\n    return request.flags["a"]',
        'def view(request):\n    flags = request.flags\n    return flags.enabled("a")',
        'async def view(request):\n    return await request.flags.aenabled("a")',
        'class V:\n    def get(self):\n        return self.request.flags.enabled("a")',
        'def view(request):\n    return request.flags.all()["a"]',
        'from django.http import HttpRequest\ndef view(r: HttpRequest):\n    r.flags.enabled("a")',
        "from flagstaff import flag_enabled\nx = f\"{flag_enabled('a')}\"",
        'def resolve(info):\n    request = info.context\n    return request.flags["a"]',
        'class S:\n def on(self):\n  self.context["request"].flags["a"]',
        'class S:\n def on(self):\n  self.context.get("request").flags["a"]',
        "def on(context):\n  context['request'].flags['a']",
        'class V:\n def get(self, **kw):\n  (kw.pop("x", None) or self.request).flags["a"]',
        'try:\n from flagstaff import flag_enabled as f\nexcept ImportError:\n f = None\nf("a")',
    ],
    ("evaluation", "value"): [
        "from flagstaff import get_value\nget_value('a')",
        "def v(request):\n    request.flags.value('a')",
        "from flagstaff import resolve_value\nresolve_value('a')",
        "from flagstaff import snapshot\nsnapshot().resolve_value('a')",
        "client.get_string_value('a', '')",
        "client.get_integer_details('a', 1)",
        "client.get_float_value('a', 1.0)",
        "async def v():\n    await client.get_object_details_async('a', {})",
    ],
    ("evaluation", "experiment"): [
        "from flagstaff.experiments import get_variant\nget_variant('a', 1)",
        "from flagstaff import experiments\nexperiments.peek_variant('a')",
        "from flagstaff import otel\notel.get_variant('a')",
        "def v(request):\n    request.flags.variant('a')",
        "from flagstaff.experiments import resolve_variant\nresolve_variant('a', 1)",
        "from flagstaff import snapshot\nsnapshot().resolve_variant('a')",
        "from flagstaff import snapshot\nsnapshot().get_variant('a')",
    ],
    ("change", "experiment"): ["from flagstaff.experiments import ship\nship('a', 'green')"],
    ("test", "experiment"): [
        "from flagstaff.testing import override_variant\noverride_variant('a', 'b')",
        # Files without the word flagstaff.
        "import pytest\n@pytest.mark.variant('a', 'b')\ndef test_it(): ...",
        "def test_it(flags):\n    flags.variant('a', 'b')",
    ],
    ("decorator", "flag"): [
        "from flagstaff.decorators import flag_required\n@flag_required('a')\ndef v(r): ..."
    ],
    ("permission", "flag"): [
        "from flagstaff.drf import HasFlag\nclass V:\n    permission_classes = [HasFlag('a')]"
    ],
    ("mixin", "flag"): [
        "from flagstaff.mixins import FlagRequiredMixin as M\nclass V(M):\n    flag_key = 'a'",
        'View.as_view(flag_key="a")',
    ],
    ("test", "flag"): [
        "from flagstaff.testing import override_flag\noverride_flag('a', True)",
        "import pytest\n@pytest.mark.flag('a')\ndef test_it(): ...",
        "def test_it(flags):\n    flags.on('a')",
    ],
    ("test", "value"): ["from flagstaff.testing import override_value\noverride_value('a', 1)"],
    ("change", "flag"): [
        "from flagstaff import changes\nchanges.enable('a')",
        "from flagstaff import rollouts\nrollouts.start('a')",
        "from django.core.management import call_command\ncall_command('flags', 'on', 'a')",
    ],
    ("change", "value"): ["from flagstaff.changes import set_value\nset_value('a', 1)"],
    ("change", "segment"): ["from flagstaff.changes import delete_segment as d\nd('a')"],
    ("query", "flag"): [
        "from flagstaff.models import FeatureFlag\nFeatureFlag.objects.get(key='a')",
        "from flagstaff.models import FeatureFlag as F\nF.objects.using('b').create(key='a')",
        "from flagstaff.history import flag_history\nflag_history('a')",
        "from flagstaff.history import recent_events\nrecent_events(key='a')",
    ],
    ("query", "value"): [
        (
            "def forward(apps, editor):\n    model = apps.get_model('flagstaff', 'KeyValueStore')\n"
            "    model.objects.create(key='a', value=1)"
        )
    ],
}


@pytest.mark.parametrize(
    ("source", "kind", "about"),
    [(source, *place) for place, sources in PLACES.items() for source in sources],
)
def test_place_has_its_kind_and_what_has_the_key(
    tmp_path: Path, source: str, kind: str, about: str
) -> None:
    [found] = references_in(tmp_path, views=source)
    assert (str(found.kind), str(found.about), found.key) == (kind, about, "a")


@pytest.mark.parametrize(
    "source",
    [
        'from waffle import flag_is_active\nflag_is_active(request, "flagstaff")',
        'def flag_enabled(key): ...\nflag_enabled("a")',
        'import numpy\nnumpy.zeros(1).flags["C_CONTIGUOUS"]  # flagstaff',
        '# flag_enabled("a") of flagstaff',
        'text = """from flagstaff import flag_enabled\nflag_enabled("a")"""',
        'class Form:\n    flag_key = "a"',
        'from flagstaff import refresh, status\nrefresh()\nstatus()["a"]',
        'settings = {}\nsettings.get("flags").get("a")',
        'request = {"x": 1}\nrequest.flags["a"]',
    ],
)
def test_code_of_others_is_not_a_reference(tmp_path: Path, source: str) -> None:
    assert found_in(tmp_path, views=source) == []


def test_names_of_another_module_are_found(tmp_path: Path) -> None:
    base = "from flagstaff.mixins import FlagRequiredMixin\nclass Base(FlagRequiredMixin): ..."
    view = 'import base\nclass View(base.Base):\n    flag_key = "a"'
    shared = "from flagstaff import flag_enabled as is_on"
    views = 'from shared import is_on\nis_on("b")'
    found = found_in(tmp_path, base=base, shared=shared, view=view, views=views)
    assert found == [("mixin", "a"), ("evaluation", "b")]


def test_modules_that_take_a_name_from_each_other_are_searched(tmp_path: Path) -> None:
    place = 'from flagstaff import flag_enabled\nflag_enabled("a")\nf("b")'
    one, other = f"from other import f\n{place}", f"from one import f\n{place}"
    found = found_in(tmp_path, one=one, other=other)
    assert found == [("evaluation", "a"), ("evaluation", "a")]


def test_place_has_line_column_and_code(tmp_path: Path) -> None:
    source = 'from flagstaff import flag_enabled\n\nx = "é"; y = flag_enabled(\n    "a"\n)\n'
    [found] = references_in(tmp_path, views=source)
    assert (found.line, found.column) == (3, 14)
    assert found.code == 'x = "é"; y = flag_enabled('
    assert found.path == str(tmp_path / "views.py")


def test_places_are_right_among_nested_calls_and_subscripts(tmp_path: Path) -> None:
    source = """\
        from flagstaff import flag_enabled as f, all_flags
        a(b[c(1)](f("one")))[all_flags()["two"]](f("three"))
        x = f("five") if f("six") else (lambda y=f("seven"): y)(f"{f('eight')}")
        """
    found = references_in(tmp_path, views=source)
    lines = (tmp_path / "views.py").read_text().split("\n")
    for one in found:
        rest = lines[one.line - 1][one.column - 1 :]
        assert rest.startswith("all_flags()[" if one.key == "two" else f"f({rest[2]}{one.key}")
    assert len(found) == 7


def test_file_with_a_byte_order_mark_is_searched(tmp_path: Path) -> None:
    text = 'from flagstaff import flag_enabled\nflag_enabled("a")\n'
    (tmp_path / "views.py").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    [found] = search([tmp_path])
    assert (found.line, found.column, found.key) == (2, 1, "a")


def test_search_for_keys_leaves_out_other_keys(tmp_path: Path) -> None:
    source = 'from flagstaff import flag_enabled as f\nf("a")\nf("b")'
    assert [one.key for one in references_in(tmp_path, ["b"], views=source)] == ["b"]


def test_each_of_several_keys_is_found(tmp_path: Path) -> None:
    query = "from flagstaff.models import FeatureFlag as F\nF.objects.filter(key__in=['a', 'b'])"
    stars = "from flagstaff import *\nfrom flagstaff.testing import *\n"
    stars += "flag_enabled('a')\noverride_flag('b')"
    assert found_in(tmp_path, one=query) == [("query", "a"), ("query", "b")]
    assert found_in(tmp_path, one=stars) == [("evaluation", "a"), ("test", "b")]


OWN_FIXTURE = "@pytest.fixture\ndef flags():\n    return {}\n"


def test_own_fixture_with_the_name_of_ours_is_no_reference(tmp_path: Path) -> None:
    test = "def test_one(flags):\n    flags.on('a')\n"
    imports = "import pytest\nfrom flagstaff import flag_enabled\n"
    assert found_in(tmp_path, test_views=f"{imports}{test}") == [("test", "a")]
    assert found_in(tmp_path, test_views=f"{imports}{OWN_FIXTURE}{test}") == []
    files = {"conftest": f"{imports}{OWN_FIXTURE}", "test_views": f"{imports}{test}"}
    assert found_in(tmp_path, **files) == []


@pytest.mark.parametrize(
    ("source", "keys"),
    [
        ('list(map(flag_enabled, ["a", "b"]))', ["a", "b"]),
        ('KEYS = ("a", "b")\nany(map(flag_enabled, KEYS))', ["a", "b"]),
        ('filter(flag_enabled, {"a"})', ["a"]),
        ('pool.submit(flag_enabled, "a", user)', ["a"]),
        ('loop.run_in_executor(None, flag_enabled, "a")', ["a"]),
        ('async def f():\n    await sync_to_async(flag_enabled)("a", user)', ["a"]),
        ("register.filter(flag_enabled)", []),
        ("map(flag_enabled, read_keys())", [None]),
    ],
)
def test_key_of_a_function_that_is_passed_on_is_found(
    tmp_path: Path, source: str, keys: list[str | None]
) -> None:
    source = f"from flagstaff import flag_enabled\n{source}"
    assert [one.key for one in references_in(tmp_path, views=source)] == keys


@pytest.mark.parametrize(
    ("arguments", "keys"),
    [
        ("'kill', 'a', 'b', '--no-wait'", ["a", "b"]),
        ("'history', 'a'", ["a"]),
        ("'usage', 'a'", ["a"]),
        ("'rollout', 'a', '25'", ["a"]),
        ("'stale', '--fail'", []),
        ("'value', 'set', 'x', '1'", []),
    ],
)
def test_keys_of_a_command_are_found(tmp_path: Path, arguments: str, keys: list[str]) -> None:
    start = "from django.core.management import call_command\n"
    found = keys_in(tmp_path, views=f"{start}call_command('flags', {arguments})")
    assert found == keys


# What gets a key, but no key of the code: events, exceptions, and files.
_NOT_SEARCHED = {
    "flagstaff.changes.Changed",
    "flagstaff.changes.UndoneEvents",
    "flagstaff.exceptions.ConflictError",
    "flagstaff.history.Event",
    "flagstaff.serialization.Step",
    "flagstaff.serialization.export",
    "flagstaff.validators.validate_flag_key",
}


def _public_functions() -> Iterator[str]:
    """Yields the public functions and classes with a parameter "key"."""
    for module in pkgutil.iter_modules(flagstaff.__path__, "flagstaff."):
        if module.name.rpartition(".")[2].startswith("_"):
            continue
        try:
            found = import_module(module.name)
        except ImportError:
            continue  # It needs an extra that is not installed.
        for name in getattr(found, "__all__", ()):
            if callable(one := getattr(found, name)) and _takes_key(one):
                yield f"{module.name}.{name}"


def _takes_key(function: Callable[..., object]) -> bool:
    try:
        return not {"key", "keys"}.isdisjoint(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return False


def test_public_function_with_a_key_is_searched() -> None:
    assert {*_public_functions()} - {*BY_NAME} == _NOT_SEARCHED
