"""The code of the pages about frameworks and other tools."""

import json
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import structlog
from asgiref.sync import async_to_sync
from asgiref.testing import ApplicationCommunicator
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpResponse
from django.test import AsyncClient, Client, override_settings
from django.urls import path
from django.utils.module_loading import import_string
from strawberry.django.context import StrawberryDjangoContext

from flagstaff import flag_enabled, get_value
from flagstaff.models import FeatureFlag
from flagstaff.testing import live_engine, override_flag
from tests.support.fixtures import COMMITTED
from tests.support.pages import code_of, names_of
from tests.support.views import request_of, with_flags
from tools.limits import SERVER, seconds

pytestmark = pytest.mark.django_db

FRAMEWORKS, PAGE = "how-to/frameworks.md", "how-to/other-tools.md"


def test_panel_of_the_debug_toolbar_can_be_imported() -> None:
    panels = names_of(PAGE, "DEBUG_TOOLBAR_PANELS")["DEBUG_TOOLBAR_PANELS"]
    assert import_string(panels[-1]).__name__ == "FlagsPanel"


@pytest.mark.parametrize("is_on", [True, False])
def test_resolver_evaluates_for_the_user_of_the_request(is_on: bool, alice: User) -> None:
    schema = names_of(FRAMEWORKS, "import strawberry", __name__=__name__)["schema"]
    if is_on:
        FeatureFlag.objects.create(key="new_checkout", enabled=True).allowed_users.add(alice)
    request = with_flags(request_of(alice))
    # As the views of strawberry do.
    context = StrawberryDjangoContext(request=request, response=HttpResponse())
    expected = "new" if is_on else "old"
    assert schema.execute_sync("{ checkout }", context_value=context).data == {"checkout": expected}
    execute = async_to_sync(schema.execute)
    both = execute("{ checkout checkoutAsync }", context_value=context).data
    assert both == {"checkout": expected, "checkoutAsync": expected}


def test_task_gets_the_user_and_the_visitor(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    names = names_of(FRAMEWORKS, "shared_task")
    sent: list[tuple[Any, ...]] = []
    # As a broker does it: JSON.
    monkeypatch.setattr(
        names["send_receipt"], "delay", lambda *a: sent.append(tuple(json.loads(json.dumps(a))))
    )
    flag = FeatureFlag.objects.create(key="new_receipt", enabled=True)
    flag.allowed_users.add(alice)
    for user in (alice, AnonymousUser()):
        assert names["order"](with_flags(request_of(user))).content == b"Thank you."
    assert [names["send_receipt"](*arguments) for arguments in sent] == ["new", "old"]
    assert [arguments[1] for arguments in sent] == [alice.pk, None]


def test_task_gives_a_visitor_the_result_of_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    names = names_of(FRAMEWORKS, "shared_task")
    results: list[tuple[bool, str]] = []
    FeatureFlag.objects.create(
        key="new_receipt", enabled=True, rollout_percent=50, bucket_by="visitor"
    )
    for _visitor in range(10):
        request = with_flags(request_of(AnonymousUser()))
        page = request.flags.enabled("new_receipt")
        monkeypatch.setattr(
            names["send_receipt"],
            "delay",
            lambda *a, page=page: results.append((page, names["send_receipt"](*a))),
        )
        names["order"](request)
    assert {(page, "new" if page else "old") for page, _ in results} == set(results)
    assert len(results) == 10


@COMMITTED
def test_consumer_evaluates_for_the_user_of_its_scope(alice: User) -> None:
    chat = names_of(FRAMEWORKS, "AsyncJsonWebsocketConsumer")["Chat"]
    FeatureFlag.objects.create(key="live_typing", enabled=True).allowed_users.add(alice)

    async def typing(user: object) -> object:
        # Not the communicator of Channels, which needs Daphne.
        scope = {"type": "websocket", "path": "/chat/", "user": user}
        socket = ApplicationCommunicator(chat.as_asgi(), scope)
        await socket.send_input({"type": "websocket.connect"})
        assert (await socket.receive_output(seconds(SERVER)))["type"] == "websocket.accept"
        await socket.send_input({"type": "websocket.receive", "text": "{}"})
        answer = json.loads((await socket.receive_output(seconds(SERVER)))["text"])
        await socket.send_input({"type": "websocket.disconnect", "code": 1000})
        await socket.wait(seconds(SERVER))
        return answer

    with live_engine():
        assert async_to_sync(typing)(alice) == {"typing": True}
        assert async_to_sync(typing)(AnonymousUser()) == {"typing": False}


@pytest.fixture
def ninja_urls() -> Iterator[None]:
    api = names_of(FRAMEWORKS, "NinjaAPI")["api"]
    urls = ModuleType("urls")
    vars(urls)["urlpatterns"] = [path("api/", api.urls)]
    with override_settings(ROOT_URLCONF=urls):
        yield


@pytest.mark.usefixtures("ninja_urls")
def test_ninja_responds_with_json_without_the_flag(client: Client) -> None:
    response = client.get("/api/orders/7")
    assert (response.status_code, response.json()) == (404, {"detail": "Not Found"})
    refused = async_to_sync(AsyncClient().get)("/api/reports")
    assert (refused.status_code, refused.json()) == (403, {"detail": "Not available."})
    with override_settings(DEBUG=True):
        assert "new_api" in client.get("/api/orders/7").json()["detail"]


@pytest.mark.usefixtures("ninja_urls")
def test_ninja_calls_the_operation_with_the_flag(client: Client, alice: User) -> None:
    for key in ("new_api", "reports"):
        FeatureFlag.objects.create(key=key, enabled=True).allowed_users.add(alice)
    client.force_login(alice)
    assert client.get("/api/orders/7").json() == {"number": 7}
    assert client.get("/api/orders/x").status_code == 422
    async_client = AsyncClient()
    async_client.force_login(alice)
    assert async_to_sync(async_client.get)("/api/reports").json() == []


def test_structlog_adds_results_to_later_lines() -> None:
    names_of(PAGE, "import structlog")["add_listener"]()
    with structlog.contextvars.bound_contextvars(), override_flag("new_checkout", True):
        get_value("limit", 3)
        flag_enabled("new_checkout")
        line = structlog.contextvars.merge_contextvars(None, "error", {"event": "order failed"})
    [shown] = code_of(PAGE, "json", having="order failed")
    assert line == json.loads(shown)
    structlog.contextvars.clear_contextvars()
