"""Functions and views whose request may be None, or may not have passed the middleware."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flagstaff.cleanup.rewrite import reasons
from tests.support.rewriting import rewriting_of

_FLAG = "from waffle import flag_is_active\n"
_ON = "    return flag_is_active(request, 'a')\n"
HELPER = f"{_FLAG}def is_on(request, order=None):\n{_ON}"
METHOD = f"{_FLAG}class Site:\n  def is_on(self, request, order=None):\n    {_ON}"
VIEW = f"{_FLAG}class View:\n def get(self):\n  return flag_is_active(self.request, 'a')\n"


BASE = "class Mixin:\n def setUp(self):\n  self.request = RequestFactory().get('/')"
CASE = "class Case(Mixin):\n def test_it(self):\n  View.as_view()(self.request)"


@pytest.fixture(autouse=True)
def project(settings: Any) -> None:
    settings.FLAGSTAFF = {"WAFFLE": {"SERVE": True}}
    settings.MIDDLEWARE = ["flagstaff.middleware.FlagstaffMiddleware", "shop.below.Site"]


def _left(root: Path, files: dict[str, str]) -> list[str]:
    made = rewriting_of(root, files)
    assert made.problems == {}
    assert bool(made.files) is not bool(made.left)
    return [one.why for one in made.left]


MADE = {
    "None": "is_on(None)",
    "keyword": "is_on(order=1, request=None)",
    "text": "is_on('')",
    "made request": "is_on(HttpRequest())",
    "mock": "is_on(mock.Mock(user=user))",
    "namespace": "is_on(SimpleNamespace(user=user))",
    "result of a call": "is_on(current())",
    "one of two": "is_on(request if x else None)",
    "variable": "def send():\n  request = HttpRequest()\n  return is_on(request)",
    "partial": "partial(is_on, None)",
    "thread": "sync_to_async(is_on)(None)",
    "attribute that may be None": (
        "class Form:\n def __init__(self, request=None):\n  self.request = request\n"
        " def clean(self):\n  return is_on(self.request)"
    ),
    "parameter that may be None": "def send(request=None):\n  return is_on(request)",
    "keyword parameter that may be None": "def send(*, request=None):\n  return is_on(request)",
    "receiver of a signal": "def logged_in(sender, request, **kwargs):\n  return is_on(request)",
    "caller of a caller": (
        "def send(order, request):\n  return is_on(request)\ndef other(): send(1, None)"
    ),
}


@pytest.mark.parametrize("name", MADE)
def test_function_called_without_the_request_of_a_view_is_left(tmp_path: Path, name: str) -> None:
    files = {"shop/helpers.py": HELPER, "shop/other.py": MADE[name]}
    place = f"{tmp_path}/shop/other.py:"
    [why] = _left(tmp_path, files)
    assert why.startswith(reasons.made_at(place).why)


@pytest.mark.parametrize(("call", "is_left"), [("page(None)", True), ("page(request)", False)])
def test_decorator_of_a_function_called_with_none_is_left(
    tmp_path: Path, call: str, is_left: bool
) -> None:
    decorator = (
        f"{_FLAG}def guarded(view):\n  def inner(request):\n    {_ON}  return inner\n"
        "@guarded\ndef page(request): ...\n"
    )
    files = {"shop/views.py": decorator, "shop/other.py": f"def other(request): {call}"}
    assert bool(_left(tmp_path, files)) is is_left


def test_function_called_with_none_in_its_own_file_is_left(tmp_path: Path) -> None:
    [why] = _left(tmp_path, {"shop/helpers.py": f"{HELPER}\ndef other(): is_on(None)\n"})
    assert why == reasons.made_at(f"{tmp_path}/shop/helpers.py:5").why


@pytest.mark.parametrize("call", ["site.is_on(None)", "site.is_on(request=None)"])
def test_method_called_with_none_is_left(tmp_path: Path, call: str) -> None:
    [why] = _left(tmp_path, {"shop/models.py": METHOD, "shop/other.py": call})
    assert why == reasons.made_at(f"{tmp_path}/shop/other.py:1").why


@pytest.mark.parametrize(
    "code",
    [
        "def view(request):\n  return is_on(request)",
        "def view(request):\n  return is_on(request, None)",
        "class Page:\n def get(self):\n  return helpers.is_on(self.request)",
        (
            "class Page:\n def get(self, request):\n  self.request = request\n"
            "  return is_on(self.request)"
        ),
        "text.is_on('a')",
        "def test_it(client):\n  is_on(client.get('/').wsgi_request)",
    ],
)
def test_function_called_with_the_request_of_a_view_is_rewritten(tmp_path: Path, code: str) -> None:
    assert _left(tmp_path, {"shop/helpers.py": HELPER, "shop/other.py": code}) == []


@pytest.mark.parametrize("code", ["is_on(request)", "is_on(self.request)", "is_on(thing)"])
def test_function_called_with_a_request_of_a_test_is_left(tmp_path: Path, code: str) -> None:
    test = f"class Case(Base):\n def test_it(self, request):\n  {code}\n"
    [why] = _left(tmp_path, {"shop/helpers.py": HELPER, "shop/tests/test_it.py": test})
    assert why == reasons.made_at(f"{tmp_path}/shop/tests/test_it.py:3").why


def test_backend_called_by_the_test_client_is_left(tmp_path: Path) -> None:
    code = f"{_FLAG}class Backend:\n  def authenticate(self, request, token):\n    {_ON}"
    assert _left(tmp_path, {"a.py": code}) == [reasons.made_at("django.test.Client").why]


@pytest.mark.parametrize(
    "files",
    [
        {"test_it.py": "def test_it(rf): View.as_view()(rf.get('/'))"},
        {"test_it.py": "view = View()\nview.request = mock.MagicMock()"},
        {
            "tests/base.py": BASE,
            "tests/test_it.py": CASE,
        },
        {
            "tests/base.py": BASE,
            "tests/cases.py": "class Base(Mixin): ...",
            "tests/test_it.py": CASE.replace("Mixin", "Base"),
        },
        {
            "conftest.py": "@pytest.fixture\ndef get_request(rf):\n  return rf.get('/')",
            "test_it.py": "def test_it(get_request): View.as_view()(get_request)",
        },
    ],
)  # fmt: skip
def test_view_called_with_a_made_request_is_left(tmp_path: Path, files: dict[str, str]) -> None:
    assert _left(tmp_path, {"shop/views.py": VIEW, **files}) == [reasons.MADE_REQUEST.why]


def test_middleware_above_that_of_flagstaff_is_left(tmp_path: Path, settings: Any) -> None:
    code = f"{_FLAG}class Site:\n  def __call__(self, request):\n    {_ON}"
    assert _left(tmp_path, {"shop/below.py": code}) == []
    settings.MIDDLEWARE.reverse()
    assert _left(tmp_path / "again", {"shop/below.py": code}) == [reasons.NO_MIDDLEWARE.why]
