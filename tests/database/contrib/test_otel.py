"""OpenTelemetry's event for each evaluation, with the real SDK."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.semconv._incubating.attributes import feature_flag_attributes as names
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE

from flagstaff import flag_enabled, get_value
from flagstaff.contrib import otel
from flagstaff.experiments import get_variant, resolve_variant
from flagstaff.models import FeatureFlag, KeyValueStore
from tests.support.fixtures import Load
from tests.support.forced_off import forced_off
from tests.support.shop import Shop

FLAG = {names.FEATURE_FLAG_KEY: "banner", names.FEATURE_FLAG_PROVIDER_NAME: "flagstaff"}


class Events:
    """A logger provider, and the attributes of the events that it has received."""

    def __init__(self) -> None:
        self._exporter = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]
        self.provider = LoggerProvider()
        self.provider.add_log_record_processor(SimpleLogRecordProcessor(self._exporter))

    def take(self) -> list[dict[str, Any]]:
        """Returns the events since the last call."""
        records = [finished.log_record for finished in self._exporter.get_finished_logs()]
        self._exporter.clear()
        assert {record.event_name for record in records} <= {"feature_flag.evaluation"}
        return [dict(record.attributes or {}) for record in records]

    def keys(self) -> list[Any]:
        return [record[names.FEATURE_FLAG_KEY] for record in self.take()]


@pytest.fixture
def events(shop: Shop, load: Load) -> Events:
    FeatureFlag.objects.create(key="banner", enabled=True, rollout_percent=100)
    KeyValueStore.objects.create(key="limit", value=3)
    shop.experiment("button")
    load()
    return Events()


@pytest.fixture
def recorded(events: Events) -> Iterator[Events]:
    """Events while they are switched on."""
    stop = otel.record_evaluations(events.provider)
    yield events
    stop()


EVENTS: dict[str, tuple[Callable[[], object], dict[str, object] | None]] = {
    "flag": (
        lambda: flag_enabled("banner", User(pk=4711)),
        {names.FEATURE_FLAG_RESULT_VARIANT: "on", names.FEATURE_FLAG_RESULT_REASON: "static"},
    ),
    "unknown flag": (
        lambda: flag_enabled("unknown", default=False),
        {
            names.FEATURE_FLAG_KEY: "unknown",
            names.FEATURE_FLAG_RESULT_VALUE: False,
            names.FEATURE_FLAG_RESULT_REASON: "error",
            ERROR_TYPE: "flag_not_found",
        },
    ),
    "variant": (
        # The bucket of this unit is 1914.
        lambda: get_variant("button", 4711),
        {
            names.FEATURE_FLAG_KEY: "button",
            names.FEATURE_FLAG_RESULT_VARIANT: "control",
            names.FEATURE_FLAG_RESULT_REASON: "split",
        },
    ),
    "default of a variant": (
        lambda: resolve_variant("other", 1, default="a"),
        {
            names.FEATURE_FLAG_KEY: "other",
            names.FEATURE_FLAG_RESULT_VALUE: "a",
            names.FEATURE_FLAG_RESULT_REASON: "error",
            ERROR_TYPE: "flag_not_found",
        },
    ),
    "value": (lambda: get_value("limit"), None),
}


@pytest.mark.parametrize(("evaluate", "event"), EVENTS.values(), ids=EVENTS)
def test_evaluation_of_a_flag_or_a_variant_has_an_event_without_its_user(
    recorded: Events, evaluate: Callable[[], object], event: dict[str, object] | None
) -> None:
    evaluate()
    assert recorded.take() == ([] if event is None else [FLAG | event])


def test_flag_that_is_forced_off_has_the_variant_off(recorded: Events) -> None:
    with forced_off(["banner"]):
        flag_enabled("banner", default=True)
    [event] = recorded.take()
    assert event[names.FEATURE_FLAG_RESULT_VARIANT] == "off"
    assert event[names.FEATURE_FLAG_RESULT_REASON] == "disabled"


def test_flag_that_an_attribute_function_evaluates_within_a_variant_has_its_event(
    shop: Shop, recorded: Events, load: Load, settings: Any
) -> None:
    settings.FLAGSTAFF = {"ATTRIBUTES": f"{__name__}.attributes"}
    rule = {"conditions": [{"attribute": "has_banner", "operator": "in", "values": [True]}]}
    shop.experiment("title", rules=[rule])
    load()
    get_variant("title", User(pk=1))
    assert recorded.keys() == ["banner", "title"]


def attributes(user: object, request: object) -> dict[str, bool]:
    return {"has_banner": flag_enabled("banner")}


def test_events_end_with_the_returned_function(events: Events) -> None:
    flag_enabled("banner")
    stop = otel.record_evaluations(events.provider)
    flag_enabled("banner")
    assert events.keys() == ["banner"]
    stop()
    flag_enabled("banner")
    assert events.take() == []
