"""The results of flags in Sentry's events, with the real SDK and a transport that records."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest
import sentry_sdk
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse
from django.urls import path
from sentry_sdk import integrations
from sentry_sdk.envelope import Envelope
from sentry_sdk.integrations import Integration
from sentry_sdk.integrations.wsgi import SentryWsgiMiddleware
from sentry_sdk.transport import Transport

from flagstaff import experiments, flag_enabled, get_value, listeners
from flagstaff.contrib import sentry
from flagstaff.contrib.sentry import FlagstaffIntegration
from flagstaff.experiments import get_variant
from flagstaff.models import FeatureFlag, KeyValueStore
from flagstaff.testing import override_flag
from tests.conftest import RunIsolated
from tests.support.fixtures import COMMITTED, Load
from tests.support.forced_off import forced_off

Flags = list[tuple[str, bool]]


class RecordingTransport(Transport):
    """Keeps what the SDK would send."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Any] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        event = envelope.get_event()
        if event is not None:
            self.events.append(event)

    def flags(self) -> list[Flags]:
        """Returns the flags of each event, oldest first."""
        contexts = [event["contexts"].get("flags", {"values": []}) for event in self.events]
        return [
            [(value["flag"], value["result"]) for value in flags["values"]] for flags in contexts
        ]


def init(transport: Transport, *integrations: Integration) -> None:
    # The default ones patch Django, for all later tests of the process.
    sentry_sdk.init(
        dsn="https://key@sentry.example/1",
        transport=transport,
        default_integrations=False,
        integrations=integrations,
    )


@pytest.fixture
def transport(monkeypatch: pytest.MonkeyPatch) -> Iterator[RecordingTransport]:
    """The SDK of a process that has just called `init`."""
    monkeypatch.setattr(integrations, "_processed_integrations", set())
    monkeypatch.setattr(integrations, "_installed_integrations", set())
    before = [*listeners._added]
    transport = RecordingTransport()
    init(transport, FlagstaffIntegration())
    with sentry_sdk.isolation_scope():
        yield transport
    sentry_sdk.get_client().close()
    sentry_sdk.get_global_scope().set_client(None)
    listeners._added[:] = before
    listeners._set()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Flags:
    """The calls of the SDK's function."""
    made: Flags = []

    def add(flag: str, result: bool) -> None:
        made.append((flag, result))
        sentry_sdk.feature_flags.add_feature_flag(flag, result)

    monkeypatch.setattr(sentry, "add_feature_flag", add)
    return made


@pytest.fixture
def flags(load: Load) -> None:
    FeatureFlag.objects.create(key="on", enabled=True, rollout_percent=100)
    FeatureFlag.objects.create(key="off", enabled=False)
    load()


@pytest.mark.usefixtures("flags")
def test_event_has_the_flags_in_the_order_of_their_evaluation(
    transport: RecordingTransport,
) -> None:
    flag_enabled("off")
    flag_enabled("on")
    flag_enabled("unknown", default=True)
    sentry_sdk.capture_message("now")
    assert transport.flags() == [[("off", False), ("on", True), ("unknown", True)]]
    # A cleared scope gets the flag again, and one that is forced off is false.
    sentry_sdk.get_isolation_scope().clear()
    flag_enabled("off")
    with forced_off(["on"]):
        flag_enabled("on", default=True)
    sentry_sdk.capture_message("now")
    assert transport.flags()[1:] == [[("off", False), ("on", False)]]


def test_values_and_variants_are_not_added(transport: RecordingTransport, load: Load) -> None:
    KeyValueStore.objects.create(key="is_open", value=True)
    experiments.create("button")
    experiments.start("button")
    load()
    assert get_value("is_open") is True
    get_variant("button", 1)
    sentry_sdk.capture_message("now")
    assert transport.flags() == [[]]


def test_equal_result_is_added_once_for_each_scope(
    transport: RecordingTransport, calls: Flags
) -> None:
    for result in (True, False):
        with sentry_sdk.isolation_scope(), override_flag("a", result):
            assert [flag_enabled("a"), flag_enabled("a")] == [result, result]
            sentry_sdk.capture_message("now")
    assert calls == [("a", True), ("a", False)]
    assert transport.flags() == [[("a", True)], [("a", False)]]


def test_changed_result_replaces_the_earlier_one(
    transport: RecordingTransport, calls: Flags
) -> None:
    for result in (True, False, True):
        with override_flag("a", result):
            flag_enabled("a")
    sentry_sdk.capture_message("now")
    assert calls == [("a", True), ("a", False), ("a", True)]
    assert transport.flags() == [[("a", True)]]


def test_flag_that_sentry_has_dropped_is_added_again(transport: RecordingTransport) -> None:
    for number in range(101):
        flag_enabled(f"flag_{number}")
    flag_enabled("flag_0")
    sentry_sdk.capture_message("now")
    [flags] = transport.flags()
    assert len(flags) == 100
    assert flags[-1] == ("flag_0", False)


def test_second_init_adds_no_second_listener(transport: RecordingTransport, calls: Flags) -> None:
    added = len(listeners._added)
    second = RecordingTransport()
    init(second, FlagstaffIntegration())
    assert len(listeners._added) == added
    flag_enabled("a")
    sentry_sdk.capture_message("now")
    assert (calls, second.flags()) == ([("a", False)], [[("a", False)]])


def test_client_without_the_integration_gets_no_flags(transport: RecordingTransport) -> None:
    init(transport)
    flag_enabled("a")
    sentry_sdk.capture_message("now")
    assert transport.flags() == [[]]


@pytest.mark.usefixtures("flags")
@pytest.mark.parametrize("load", [pytest.param("memory", marks=COMMITTED)], indirect=True)
def test_concurrent_requests_do_not_mix(transport: RecordingTransport, settings: Any) -> None:
    both_evaluated = Barrier(2)

    def view(request: HttpRequest, key: str) -> HttpResponse:
        flag_enabled(key)
        both_evaluated.wait(10)
        raise LookupError(key)

    settings.ROOT_URLCONF = type("Urls", (), {"urlpatterns": [path("<key>", view)]})
    settings.MIDDLEWARE = ["flagstaff.middleware.FlagstaffMiddleware"]
    # Without Sentry's integration of Django, whose patches stay, the exception must get through.
    settings.DEBUG_PROPAGATE_EXCEPTIONS = True
    application = SentryWsgiMiddleware(WSGIHandler())

    def request(key: str) -> None:
        environ: dict[str, Any] = {"PATH_INFO": f"/{key}"}
        setup_testing_defaults(environ)
        with pytest.raises(LookupError, match=key):
            application(environ, lambda *_: lambda _: None)

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(request, key) for key in ("on", "off")]:
            done.result()
    assert sorted(transport.flags()) == [[("off", False)], [("on", True)]]


# Sentry's integration of Django patches Django, so it has its own process.
PROJECT = """
import asyncio, sys
from types import ModuleType
from wsgiref.util import setup_testing_defaults
import sentry_sdk
from asgiref.testing import ApplicationCommunicator
from sentry_sdk.transport import Transport
from flagstaff.contrib.sentry import FlagstaffIntegration

events = []

class Recording(Transport):
    def capture_envelope(self, envelope):
        if event := envelope.get_event():
            events.append(event)

# As in a settings file, before Django is set up.
options = {"dsn": "https://key@sentry.example/1", "transport": Recording()}
sentry_sdk.init(**options, integrations=[FlagstaffIntegration()])
import tests.support.settings as settings
settings.ROOT_URLCONF = "urls"
settings.MIDDLEWARE = ["flagstaff.middleware.FlagstaffMiddleware"]
import django
django.setup()

from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.urls import path
from flagstaff.testing import override_flag

def view(request):
    request.flags.enabled("sync_page")
    raise LookupError

async def async_view(request):
    await request.flags.aenabled("async_page")
    raise LookupError

urls = sys.modules["urls"] = ModuleType("urls")
urls.urlpatterns = [path("sync", view), path("async", async_view)]

async def get(url):
    scope = {"type": "http", "method": "GET", "path": url, "headers": [], "query_string": b""}
    page = ApplicationCommunicator(get_asgi_application(), scope)
    await page.send_input({"type": "http.request"})
    assert (await page.receive_output(10))["status"] == 500
    await page.receive_output(10)
    await page.wait(10)

with override_flag("sync_page", True), override_flag("async_page", True):
    environ = {"PATH_INFO": "/sync"}
    setup_testing_defaults(environ)
    get_wsgi_application()(environ, lambda *_: None).close()
    asyncio.run(get("/async"))
for event in events:
    print(event["exception"]["values"][-1]["type"], event["contexts"]["flags"]["values"])
"""


def test_exception_in_a_sync_and_an_async_view_has_the_flags_of_its_request(
    run_isolated: RunIsolated,
) -> None:
    assert run_isolated(PROJECT, DJANGO_SETTINGS_MODULE="tests.support.settings").splitlines() == [
        "LookupError [{'flag': 'sync_page', 'result': True}]",
        "LookupError [{'flag': 'async_page', 'result': True}]",
    ]
