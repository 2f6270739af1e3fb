"""The OpenTelemetry event of an evaluation with a variant."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor

from flagstaff import experiments, otel
from tests.support.fixtures import Load

pytestmark = pytest.mark.django_db

KEY = "checkout_button"


@pytest.fixture
def exporter() -> InMemoryLogRecordExporter:
    return InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]


@pytest.fixture
def provider(exporter: InMemoryLogRecordExporter) -> LoggerProvider:
    provider = LoggerProvider()
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    return provider


def emitted(exporter: InMemoryLogRecordExporter) -> tuple[str | None, dict[str, Any]]:
    [data] = exporter.get_finished_logs()
    return data.log_record.event_name, dict(data.log_record.attributes or {})


def test_event_has_key_variant_and_reason_but_no_user(
    load: Load, exporter: InMemoryLogRecordExporter, provider: LoggerProvider
) -> None:
    experiments.create(KEY)
    experiments.start(KEY)
    load()
    variant = otel.get_variant(KEY, 4711, logger_provider=provider)
    name, attributes = emitted(exporter)
    assert variant == experiments.get_variant(KEY, 4711)
    assert name == "feature_flag.evaluation"
    assert attributes == {
        "feature_flag.key": KEY,
        "feature_flag.provider.name": "flagstaff",
        "feature_flag.result.variant": variant,
        "feature_flag.result.reason": "split",
    }


def test_event_of_a_default_has_no_variant(
    load: Load, exporter: InMemoryLogRecordExporter, provider: LoggerProvider
) -> None:
    load()
    assert otel.get_variant("other", 1, default="a", logger_provider=provider) == "a"
    assert emitted(exporter)[1] == {
        "feature_flag.key": "other",
        "feature_flag.provider.name": "flagstaff",
        "feature_flag.result.reason": "error",
        "error.type": "flag_not_found",
    }


def test_variant_without_a_provider_is_the_same(load: Load) -> None:
    experiments.create(KEY)
    experiments.start(KEY)
    load()
    assert otel.get_variant(KEY, 1) == experiments.get_variant(KEY, 1)
