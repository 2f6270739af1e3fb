"""The search for keys in Python: imports, objects of flagstaff, and the place that is reported."""

from __future__ import annotations

from pathlib import Path

import pytest

from flagstaff.cleanup.references import About, Kind, search
from tests.support.references import found_in, keys_in, references_in


@pytest.mark.parametrize(
    "source",
    [
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
    ],
)
def test_evaluation_is_found(tmp_path: Path, source: str) -> None:
    assert found_in(tmp_path, views=source) == [("evaluation", "a")]


@pytest.mark.parametrize(
    ("source", "kind", "about"),
    [
        ("from flagstaff import get_value\nget_value('a')", "evaluation", "value"),
        (
            "from flagstaff.experiments import get_variant\nget_variant('a', 1)",
            "evaluation",
            "experiment",
        ),
        (
            "from flagstaff import experiments\nexperiments.peek_variant('a')",
            "evaluation",
            "experiment",
        ),
        ("from flagstaff import otel\notel.get_variant('a')", "evaluation", "experiment"),
        ("def v(request):\n    request.flags.variant('a')", "evaluation", "experiment"),
        ("from flagstaff import snapshot\nsnapshot().get_variant('a')", "evaluation", "experiment"),
        ("from flagstaff.experiments import ship\nship('a', 'green')", "change", "experiment"),
        (
            "from flagstaff.testing import override_variant\noverride_variant('a', 'b')",
            "test",
            "experiment",
        ),
        ("def v(request):\n    request.flags.value('a')", "evaluation", "value"),
        (
            "from flagstaff.decorators import flag_required\n@flag_required('a')\ndef v(r): ...",
            "decorator",
            "flag",
        ),
        (
            "from flagstaff.drf import HasFlag\nclass V:\n    permission_classes = [HasFlag('a')]",
            "permission",
            "flag",
        ),
        (
            (
                "from flagstaff.mixins import FlagRequiredMixin\n"
                "class V(FlagRequiredMixin):\n    flag_key = 'a'"
            ),
            "mixin",
            "flag",
        ),
        ("from flagstaff.testing import override_flag\noverride_flag('a', True)", "test", "flag"),
        ("from flagstaff.testing import override_value\noverride_value('a', 1)", "test", "value"),
        ("import pytest\n@pytest.mark.flag('a')\ndef test_it(): ...", "test", "flag"),
        ("def test_it(flags):\n    flags.on('a')", "test", "flag"),
        ("from flagstaff import changes\nchanges.enable('a')", "change", "flag"),
        ("from flagstaff.changes import set_value\nset_value('a', 1)", "change", "value"),
        ("from flagstaff.changes import delete_segment as d\nd('a')", "change", "segment"),
        ("from flagstaff import rollouts\nrollouts.start('a')", "change", "flag"),
        (
            "from django.core.management import call_command\ncall_command('flags', 'on', 'a')",
            "change",
            "flag",
        ),
        (
            "from flagstaff.models import FeatureFlag\nFeatureFlag.objects.get(key='a')",
            "query",
            "flag",
        ),
        (
            (
                "from flagstaff.models import FeatureFlag\n"
                "FeatureFlag.objects.using('b').create(key='a')"
            ),
            "query",
            "flag",
        ),
        (
            (
                "def forward(apps, editor):\n"
                "    model = apps.get_model('flagstaff', 'KeyValueStore')\n"
                "    model.objects.create(key='a', value=1)"
            ),
            "query",
            "value",
        ),
        ("from flagstaff.history import flag_history\nflag_history('a')", "query", "flag"),
    ],
)
def test_place_has_its_kind_and_what_has_the_key(
    tmp_path: Path, source: str, kind: str, about: str
) -> None:
    [found] = references_in(tmp_path, views=source)
    assert (found.kind, found.about, found.key) == (kind, about, "a")


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
    ],
)
def test_code_of_others_is_not_a_reference(tmp_path: Path, source: str) -> None:
    assert found_in(tmp_path, views=source) == []


def test_mixin_of_another_module_is_found(tmp_path: Path) -> None:
    base = "from flagstaff.mixins import FlagRequiredMixin\nclass Base(FlagRequiredMixin): ..."
    view = 'import base\nclass View(base.Base):\n    flag_key = "a"'
    assert found_in(tmp_path, base=base, view=view) == [("mixin", "a")]


def test_key_of_as_view_is_found(tmp_path: Path) -> None:
    assert found_in(tmp_path, urls='View.as_view(flag_key="a")') == [("mixin", "a")]


def test_reexported_function_is_found(tmp_path: Path) -> None:
    shared = "from flagstaff import flag_enabled as is_on"
    views = 'from shared import is_on\nis_on("a")'
    assert found_in(tmp_path, shared=shared, views=views) == [("evaluation", "a")]


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


def test_call_in_a_branch_is_found_once(tmp_path: Path) -> None:
    source = """\
        try:
            from flagstaff import flag_enabled
        except ImportError:
            flag_enabled = None
        flag_enabled("a")
        """
    assert keys_in(tmp_path, views=source) == ["a"]


def test_kind_of_a_place_is_json(tmp_path: Path) -> None:
    assert (str(Kind.TEST), str(About.VALUE)) == ("test", "value")


def test_query_of_several_keys_names_each_of_them(tmp_path: Path) -> None:
    source = (
        "from flagstaff.models import FeatureFlag\nFeatureFlag.objects.filter(key__in=['a', 'b'])"
    )
    assert found_in(tmp_path, views=source) == [("query", "a"), ("query", "b")]


def test_second_star_import_is_found(tmp_path: Path) -> None:
    source = (
        "from flagstaff import *\nfrom flagstaff.testing import *\n"
        "override_flag('a')\nflag_enabled('b')"
    )
    assert sorted(found_in(tmp_path, views=source)) == [("evaluation", "b"), ("test", "a")]


OWN_FIXTURE = "@pytest.fixture\ndef flags():\n    return {}\n"


def test_own_fixture_with_the_name_of_ours_is_no_reference(tmp_path: Path) -> None:
    test = "def test_one(flags):\n    flags.on('a')\n"
    imports = "import pytest\nfrom flagstaff import flag_enabled\n"
    assert found_in(tmp_path, test_views=f"{imports}{test}") == [("test", "a")]
    assert found_in(tmp_path, test_views=f"{imports}{OWN_FIXTURE}{test}") == []
    files = {"conftest": f"{imports}{OWN_FIXTURE}", "test_views": f"{imports}{test}"}
    assert found_in(tmp_path, **files) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pytest\n@pytest.mark.variant('a', 'b')\ndef test_it(): ...",
        "def test_it(flags):\n    flags.variant('a', 'b')",
    ],
)
def test_variant_of_a_test_is_found_in_a_file_without_the_word_flagstaff(
    tmp_path: Path, source: str
) -> None:
    assert found_in(tmp_path, test_views=source) == [("test", "a")]


@pytest.mark.parametrize(
    "request_of",
    [
        'self.context["request"]',
        "context['request']",
        'self.context.get("request")',
        'kwargs.pop("x", None) or self.request',
    ],
)
def test_request_of_a_context_is_found(tmp_path: Path, request_of: str) -> None:
    source = f'class Serializer:\n    def on(self, context):\n        {request_of}.flags["a"]'
    if " or " in request_of:
        source = source.replace(request_of, f"({request_of})")
    assert found_in(tmp_path, views=source) == [("evaluation", "a")]


def test_variable_with_the_name_of_a_request_is_one(tmp_path: Path) -> None:
    source = 'def resolve(info):\n    request = info.context\n    return request.flags["a"]'
    assert found_in(tmp_path, views=source) == [("evaluation", "a")]


def test_variable_that_is_something_else_is_no_request(tmp_path: Path) -> None:
    source = 'request = {"x": 1}\nrequest.flags["a"]'
    assert found_in(tmp_path, views=source) == []


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
    ],
)
def test_key_of_a_function_that_is_passed_on_is_found(
    tmp_path: Path, source: str, keys: list[str]
) -> None:
    assert keys_in(tmp_path, views=f"from flagstaff import flag_enabled\n{source}") == keys


def test_unknown_keys_of_a_function_that_is_passed_on_are_dynamic(tmp_path: Path) -> None:
    source = "from flagstaff import flag_enabled\nmap(flag_enabled, read_keys())"
    assert found_in(tmp_path, views=source) == [("dynamic", "*")]


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


def test_recent_events_of_a_key_are_found(tmp_path: Path) -> None:
    source = "from flagstaff.history import recent_events\nrecent_events(key='a')"
    assert found_in(tmp_path, views=source) == [("query", "a")]
