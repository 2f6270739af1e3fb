"""What depends on the project: its settings, its other files, and its templates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flagstaff.cleanup.rewrite import reasons
from flagstaff.cleanup.rewrite.keys import Keys, KnownFlag
from flagstaff.cleanup.rewrite.reasons import Reason
from tests.support.rewriting import KEYS, rewriting_of

VIEW = "from waffle import flag_is_active\ndef view(request):\n    flag_is_active(request, 'a')\n"
SWITCH = "from waffle import switch_is_active\nswitch_is_active('a')\n"
DECORATED = (
    "from waffle.decorators import waffle_switch\n@waffle_switch('a')\ndef view(request): ...\n"
)
TAG = "{% load waffle_tags %}{% flag 'a' %}x{% endflag %}"
OVERRIDE = "a parameter of the URL (WAFFLE_OVERRIDE)"
CALL = "{% if waffle.flag('a') %}x{% endif %}{{ waffle.switch('b') }}"


@pytest.fixture(autouse=True)
def project(settings: Any) -> None:
    settings.FLAGSTAFF = {"WAFFLE": {"SERVE": True}}
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "flagstaff.middleware.FlagstaffMiddleware"]


def _left(root: Path, files: dict[str, str], keys: Keys = KEYS) -> list[str]:
    made = rewriting_of(root, files, keys=keys)
    assert (made.files, made.problems) == ({}, {})
    return [one.why for one in made.left]


def _new(root: Path, files: dict[str, str]) -> str:
    made = rewriting_of(root, files)
    assert made.left == []
    return next(new for _, new in made.files.values())


@pytest.mark.parametrize(
    ("code", "changed", "reason"),
    [
        (VIEW, {"MIDDLEWARE": []}, reasons.NO_MIDDLEWARE),
        (VIEW, {"WAFFLE_OVERRIDE": True}, reasons.needs_compat("a", OVERRIDE)),
        (DECORATED, {"WAFFLE_SWITCH_DEFAULT": True}, reasons.DEFAULT),
        (SWITCH, {"FLAGSTAFF": {"WAFFLE": {"SERVE": ["b"]}}}, reasons.not_served("a")),
    ],
)
def test_settings_decide_what_is_rewritten(
    tmp_path: Path, settings: Any, code: str, changed: dict[str, Any], reason: Reason
) -> None:
    for name, value in changed.items():
        setattr(settings, name, value)
    assert _left(tmp_path, {"main.py": code}) == [reason.why]


def test_default_of_waffle_is_kept(tmp_path: Path, settings: Any) -> None:
    settings.WAFFLE_SWITCH_DEFAULT = settings.WAFFLE_FLAG_DEFAULT = True
    new = _new(tmp_path, {"main.py": VIEW + SWITCH})
    assert "request.flags.enabled('a', default=True)" in new
    assert "flag_enabled('a', default=True)" in new


@pytest.mark.parametrize(
    ("flag", "code", "reason"),
    [
        (KnownFlag(percent=50), VIEW, reasons.needs_compat("a", "waffle's cookie")),
        (KnownFlag(percent=50), DECORATED, reasons.depends_on_user("a")),
        (KnownFlag(rules='[{"segment": "s"}]'), VIEW, reasons.needs_compat("a", "the language")),
    ],
)
def test_flag_decides_what_is_rewritten(
    tmp_path: Path, settings: Any, flag: KnownFlag, code: str, reason: Reason
) -> None:
    settings.FLAGSTAFF = {"WAFFLE": {"SERVE": True, "KEEP_COOKIES_UNTIL": "2999-01-01"}}
    keys = Keys({"a": flag}, {"s": '{"attribute": "language"}'})
    assert _left(tmp_path, {"main.py": code}, keys) == [reason.why]


def test_key_of_another_name_is_written_only_into_a_text(tmp_path: Path, settings: Any) -> None:
    settings.FLAGSTAFF = {"WAFFLE": {"SERVE": True, "KEYS": {"switch:old": "a"}}}
    start, constant = SWITCH.partition("\n")[0], "NAME = 'old'\nswitch_is_active(NAME)\n"
    assert _left(tmp_path, {"main.py": f"{start}\n{constant}"}) == [reasons.RENAMED.why]
    new = _new(tmp_path, {"main.py": f"{start}\nswitch_is_active('old')\n"})
    assert new.endswith("\nflag_enabled('a')\n")


@pytest.mark.parametrize(
    ("path", "code", "reason"),
    [
        ("test_main.py", VIEW, reasons.TEST_REQUEST),
        ("a.py", "call_command('waffle_flag', 'a', '--everyone')", reasons.COMMAND),
        ("a.py", "from waffle.admin import FlagAdmin", reasons.UNUSED_IMPORT),
        ("a.py", "path('x', include('waffle.urls'))", reasons.PATCH_OF_WAFFLE),
        ("a.py", "apps.get_model('waffle', 'Flag')", reasons.MODEL),
        ("migrations/a.py", "apps.get_model('waffle', 'Flag')", reasons.MIGRATION),
        ("migrations/a.py", "apps.get_model(app_label='waffle', model_name='Flag')",
         reasons.MIGRATION),
        ("migrations/a.py", "x = [('shop', '0001'), ('waffle', '0004')]", reasons.MIGRATION),
        ("migrations/a.py", "models.ForeignKey(to='waffle.flag')", reasons.MIGRATION),
        ("a.py", "exec('from waffle import flag_is_active')", reasons.CODE),
        ("settings.py", "X = [f'import waffle  # {y}']", reasons.CODE),
        ("a.py", "run('./manage.py waffle_switch a on')", reasons.COMMAND),
        ("start.sh", "./manage.py waffle_flag \\\n  a --everyone", reasons.COMMAND),
        ("Makefile", "x:\n\tdjango-admin waffle_switch a on --create", reasons.COMMAND),
        (".github/workflows/ci.yml", "run: python manage.py waffle_delete --flags a",
         reasons.COMMAND),
        ("a.html", "<script>if (waffle.flag_is_active('a')) x()</script>", reasons.SCRIPT),
        ("a.html", "{% load waffle_tags %}{% wafflejs %}", reasons.SCRIPT),
        ("a.html", "{% load flagstaff waffle_tags %}{% flag 'a' %}{% endflag %}",
         reasons.BOTH_LIBRARIES),
        ("a.html", "{% load waffle_tags nothing %}{% flag 'a' %}{% endflag %}",
         reasons.NOT_COMPILED),
        ("a.jinja", CALL.replace("'a'", "name"), reasons.DYNAMIC),
        ("a.jinja", "{{ waffle.sample('a') }}", reasons.SAMPLE),
    ],
)  # fmt: skip
def test_place_is_listed_with_its_reason(
    tmp_path: Path, path: str, code: str, reason: Reason
) -> None:
    assert reason.why in _left(tmp_path, {path: code})


@pytest.mark.parametrize(
    ("other", "is_taken"),
    [
        ("from blog.views import switch_is_active", False),
        ("from shop.views import switch_is_active", True),
        ("from shop import views\nviews.switch_is_active('b')", True),
        ("from blog import views\nviews.switch_is_active('b')", False),
        ("mock.patch('blog.views.switch_is_active')", False),
        ("mock.patch('shop.views.switch_is_active')", True),
        ("import shop as s\ns.views.switch_is_active('b')", True),
    ],
)
def test_name_that_another_module_takes_is_left(tmp_path: Path, other: str, is_taken: bool) -> None:
    files = {"shop/views.py": SWITCH, "blog/views.py": "", "shop/other.py": other}
    made = rewriting_of(tmp_path, files)
    assert (reasons.PATCHED.why in {one.why for one in made.left}) is is_taken
    assert (f"{tmp_path}/shop/views.py" in made.files) is not is_taken


@pytest.mark.parametrize(
    ("settings_file", "is_known"),
    [("KEY = 'a'\nX = {'KEY': [1]}", True), ("KEY = 'a'\nuse({'KEY': 1})", False)],
)
def test_key_in_a_setting_is_known_beside_a_dict_with_its_name(
    tmp_path: Path, settings_file: str, is_known: bool
) -> None:
    start = SWITCH.partition("\n")[0]
    code = f"from django.conf import settings\n{start}\nswitch_is_active(settings.KEY)\n"
    made = rewriting_of(tmp_path, {"settings.py": settings_file, "main.py": code})
    assert [one.why for one in made.left] == [] if is_known else [reasons.DYNAMIC.why]


def test_load_without_a_tag_is_counted(tmp_path: Path) -> None:
    assert rewriting_of(tmp_path, {"a.html": "{% load waffle_tags %}"}).done == 1


def test_library_that_needs_no_load_is_left(tmp_path: Path) -> None:
    builtins = "X = {'builtins': ['waffle.templatetags.waffle_tags']}"
    files = {"settings.py": builtins, "a.html": "{% flag 'a' %}x{% endflag %}"}
    assert _left(tmp_path, files) == [reasons.BUILTIN.why]


def test_tag_needs_the_request_in_templates(tmp_path: Path, settings: Any) -> None:
    backend = "django.template.backends.django.DjangoTemplates"
    settings.TEMPLATES = [{"BACKEND": backend}]
    assert _left(tmp_path, {"a.html": TAG}) == [reasons.NO_CONTEXT.why]


@pytest.mark.parametrize("has_extension", [True, False])
def test_call_in_jinja_needs_our_extension(
    tmp_path: Path, settings: Any, has_extension: bool
) -> None:
    extensions = ["waffle.jinja.WaffleExtension"]
    extensions += ["flagstaff.jinja2.FlagstaffExtension"] if has_extension else []
    backend = "django.template.backends.jinja2.Jinja2"
    settings.TEMPLATES = [{"BACKEND": backend, "OPTIONS": {"extensions": extensions}}]
    if has_extension:
        new = _new(tmp_path, {"a.jinja": CALL})
        assert new == "{% if flag_enabled('a') %}x{% endif %}{{ flag_enabled('b') }}"
    else:
        assert {*_left(tmp_path, {"a.jinja": CALL})} == {reasons.NO_EXTENSION.why}


def test_import_of_a_name_that_compat_lacks_is_left(tmp_path: Path) -> None:
    files = {"main.py": "from waffle.utils import keyfmt\nkeyfmt('a')\n"}
    made = rewriting_of(tmp_path, files, "compat")
    assert (made.files, [one.why for one in made.left]) == ({}, [reasons.NO_NAME.why])


def test_file_with_a_byte_order_mark_and_windows_lines_keeps_them(tmp_path: Path) -> None:
    path = tmp_path / "main.py"
    path.write_bytes(b"\xef\xbb\xbf" + SWITCH.replace("\n", "\r\n").encode())
    [(_, new)] = rewriting_of(tmp_path, {}).files.values()
    assert new == "\ufefffrom flagstaff import flag_enabled\r\nflag_enabled('a')\r\n"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a.py", 'def f():\n    """\n    import waffle\n    """\n'),
        ("a.py", "x = ['waffle']"),
        ("a.py", "x = 'waffle_flag'"),
        ("a.yml", "waffle_flag: true\nother: waffle.waffle_flag"),
    ],
)
def test_text_that_uses_nothing_of_waffle_is_not_listed(
    tmp_path: Path, path: str, text: str
) -> None:
    assert _left(tmp_path, {path: text}) == []
