"""What is told to systems that collect numbers."""

from __future__ import annotations

import re
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from flagstaff import otel, prometheus
from flagstaff._engine.exposition import exposition
from flagstaff._engine.metrics import MEASURES, MODES
from flagstaff._engine.status import Status, status
from flagstaff.models import FeatureFlag
from flagstaff.testing import live_engine
from tests.conftest import ROOT, RunIsolated

DOWN: dict[str, Any] = {
    "mode": "down",
    "ready": True,
    "age": 301.5,
    "stale": True,
    "version": 7,
    "token": 2**53,
    "flags": 40,
    "values": 3,
    "loads": 7,
    "failures": 12,
    "last_error": "connect: the server cannot be reached (connection refused)",
    "problems": ('flagstaff_featureflag "new_checkout" is set aside: its enabled is NULL',),
    "pid": 4711,
    "load_seconds": 0.25,
    "mode_reason": "the server is a standby",
    "usage_problem": None,
}

Numbers = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def a_status(**fields: Any) -> Status:
    return Status(**(DOWN | fields))


def numbers(text: str) -> Numbers:
    """What a scraper takes from an exposition, by names and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def of(name: str, **labels: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    return f"flagstaff_{name}", tuple(sorted({"pid": "4711", **labels}.items()))


def test_exposition_has_every_measure_with_the_process_that_it_is_of() -> None:
    assert numbers(exposition(a_status())) == {
        of("ready"): 1,
        of("stale"): 1,
        of("snapshot_age_seconds"): 301.5,
        of("token"): 2**53,
        of("flags"): 40,
        of("values"): 3,
        of("problems"): 1,
        of("loads_total"): 7,
        of("failures_total"): 12,
        of("last_load_seconds"): 0.25,
        **{of("mode", mode=mode): mode == "down" for mode in MODES},
    }


def test_what_is_not_known_yet_has_no_number() -> None:
    told = numbers(exposition(a_status(mode="idle", age=None, token=None, load_seconds=None)))
    absent = {of("snapshot_age_seconds"), of("token"), of("last_load_seconds")}
    assert absent.isdisjoint(told)
    assert told[of("mode", mode="idle")] == 1


def test_exposition_names_no_flag_and_no_reason() -> None:
    text = exposition(a_status())
    assert "new_checkout" not in text
    assert "refused" not in text
    assert "standby" not in text


def test_modes_are_those_of_the_status() -> None:
    page = (ROOT / "docs" / "reference" / "reasons.md").read_text()
    assert set(MODES) == set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))


def test_names_and_help_are_as_prometheus_asks() -> None:
    for measure in MEASURES:
        assert re.fullmatch(r"flagstaff(_[a-z]+)+", measure.prometheus_name)
        assert measure.help.endswith(".")
        assert measure.is_counter == measure.prometheus_name.endswith("_total")


def test_collector_says_what_the_exposition_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flagstaff.prometheus.status", a_status)
    registry = CollectorRegistry()
    prometheus.register(registry)
    assert numbers(generate_latest(registry).decode()) == numbers(exposition(a_status()))


def test_registering_reads_nothing_and_is_done_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flagstaff.prometheus.status", None)
    registry = CollectorRegistry(auto_describe=True)
    prometheus.register(registry)
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        prometheus.register(registry)


def observed(reader: InMemoryMetricReader) -> dict[str, Any]:
    data: Any = reader.get_metrics_data()
    return {
        metric.name: metric
        for of_resource in data.resource_metrics
        for of_scope in of_resource.scope_metrics
        for metric in of_scope.metrics
    }


def test_instruments_say_what_the_exposition_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flagstaff.otel.status", a_status)
    reader = InMemoryMetricReader()
    otel.register(MeterProvider([reader]))
    found = observed(reader)
    age, loads = found["flagstaff.snapshot_age"], found["flagstaff.loads"]
    assert (age.unit, loads.unit) == ("s", "")
    assert loads.data.is_monotonic
    told = {
        (name, tuple(sorted((k, v) for k, v in point.attributes.items()))): point.value
        for name, metric in found.items()
        for point in metric.data.data_points
    }
    assert told == {
        (f"flagstaff.{measure.name}", (*labels.items(), ("process.pid", 4711))): value
        for measure in MEASURES
        for labels, value in measure.read(a_status())
    }


def test_instruments_without_a_provider_cost_nothing() -> None:
    # Those of the API alone, which nobody collects.
    otel.register()


@pytest.mark.django_db(transaction=True)
def test_worker_that_has_loaded_says_so() -> None:
    FeatureFlag.objects.create(key="new_checkout")
    with live_engine():
        now = status()
        told = numbers(exposition(now))
    by_name = {name: value for (name, _labels), value in told.items()}
    assert (by_name["flagstaff_flags"], by_name["flagstaff_ready"]) == (1, 1)
    assert by_name["flagstaff_loads_total"] >= 1
    assert by_name["flagstaff_snapshot_age_seconds"] < 60
    assert 0 < by_name["flagstaff_last_load_seconds"] < 60
    assert by_name["flagstaff_token"] == now.token


def test_addresses_of_health_need_neither_client_nor_api(run_isolated: RunIsolated) -> None:
    script = """
import sys
sys.modules["prometheus_client"] = sys.modules["opentelemetry"] = None
import django
django.setup()
from flagstaff import health
print(health.metrics.__name__)
"""
    assert run_isolated(script, DJANGO_SETTINGS_MODULE="tests.settings") == "metrics\n"
