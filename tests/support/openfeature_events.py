"""The provider of OpenFeature in a process of a test, and the events of this process."""

import os
import threading
from typing import Any

from openfeature import api
from openfeature.event import EventDetails, ProviderEvent, ProviderEventDetails

from flagstaff.contrib.openfeature import FlagstaffProvider

_emitted: list[list[Any]] = []
_handled: list[list[Any]] = []
# Processes in which a thread has waited for changes as soon as the provider was set.
_with_thread: list[int] = []


class RecordingProvider(FlagstaffProvider):
    """Records events in their order. The SDK runs handlers in threads, so theirs may differ."""

    def emit(self, event: ProviderEvent, details: ProviderEventDetails) -> None:
        _emitted.append([os.getpid(), event.name, details.flags_changed])
        super().emit(event, details)


def set_provider(timeout: float = 8.0, *, waits: bool = True) -> None:
    """Sets the provider, which starts the engine."""
    provider = RecordingProvider(timeout=timeout)
    (api.set_provider_and_wait if waits else api.set_provider)(provider)
    if has_thread():
        _with_thread.append(os.getpid())


def set_provider_without_waiting(timeout: float = 8.0) -> None:
    """The same, while the SDK initializes the provider in a thread."""
    set_provider(timeout, waits=False)


def attach() -> None:
    """Begins as the SDK does, which then initializes the provider in a thread."""
    RecordingProvider().attach(lambda _provider, _event, _details: None)


def shut_down() -> None:
    """Shuts the provider down twice, as some projects do."""
    provider = api.get_client().provider
    provider.shutdown()
    provider.shutdown()


def initialize_again() -> None:
    """Initializes the provider that was shut down."""
    api.get_client().provider.initialize(api.get_evaluation_context())


def has_thread() -> bool:
    """Whether a thread waits for changes."""
    return any(thread.name == "flagstaff-changes" for thread in threading.enumerate())


def evaluate(kind: str, key: str, default: Any) -> list[Any]:
    """Returns the value, the reason and the error code."""
    details = getattr(api.get_client(), f"get_{kind}_details")(key, default)
    return [details.value, details.reason, details.error_code]


def status() -> str:
    """Returns what the SDK says about its provider."""
    return api.get_client().get_provider_status().name


def emitted() -> list[list[Any]]:
    """Returns the events that this process has emitted, in their order."""
    return [event for by, *event in _emitted if by == os.getpid()]


def handled() -> list[list[Any]]:
    """Returns the events that have reached handlers of this process."""
    return [event for by, *event in _handled if by == os.getpid()]


def add_handlers() -> None:
    """Records the events that reach handlers."""
    for event in ProviderEvent:
        api.add_handler(event, _record(event))


def _record(event: ProviderEvent) -> Any:
    def handle(details: EventDetails) -> None:
        _handled.append([os.getpid(), event.name, details.flags_changed])

    return handle


def events() -> dict[str, Any]:
    """Returns all of these, with the process."""
    return {
        "pid": os.getpid(),
        "emitted": emitted(),
        "handled": handled(),
        "status": status(),
        "parent_has_thread": os.getppid() in _with_thread,
    }
