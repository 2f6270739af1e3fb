"""The metrics of a worker in Prometheus' text format, prometheus_client and OpenTelemetry."""

import re
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from flagstaff._workers.status import METRICS, MODES, Status, prometheus_text, status
from flagstaff.contrib import otel, prometheus
from flagstaff.models import FeatureFlag
from flagstaff.testing import live_engine
from tests.conftest import ROOT, RunIsolated

DOWN: dict[str, Any] = {
    "mode": "down",
    "ready": True,
    "age": 301.5,
    "members_age": None,
    "stale": True,
    "version": 7,
    "token": 2**53,
    "flags": 40,
    "values": 3,
    "loads": 7,
    "failures": 12,
    "lost_changes": 2,
    "last_lost_changes": "the database lacks changes of new_checkout",
    "last_error": "connect: the server cannot be reached (connection refused)",
    "problems": ('flag "new_checkout" is set aside: its enabled is NULL',),
    "problem_count": 1,
    "forced_off": ("search_v2",),
    "forced_on": (),
    "pid": 4711,
    "load_seconds": 0.25,
    "mode_reason": "the server is a standby",
    "usage_problem": None,
}

Numbers = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def status_of(**fields: Any) -> Status:
    return Status(**(DOWN | fields))


def numbers(text: str) -> Numbers:
    """Parses the text format into numbers by name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def sample(name: str, **labels: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    return f"flagstaff_{name}", tuple(sorted({"pid": "4711", **labels}.items()))


def test_text_has_all_metrics_with_pid_and_no_flag_and_no_error() -> None:
    text = prometheus_text(status_of())
    assert numbers(text) == {
        sample("ready"): 1,
        sample("stale"): 1,
        sample("snapshot_age_seconds"): 301.5,
        sample("token"): 2**53,
        sample("flags"): 40,
        sample("values"): 3,
        sample("problems"): 1,
        sample("forced_off"): 1,
        sample("loads_total"): 7,
        sample("failures_total"): 12,
        sample("lost_changes_total"): 2,
        sample("last_load_seconds"): 0.25,
        **{sample("mode", mode=mode): mode == "down" for mode in MODES},
    }
    for secret in ("new_checkout", "refused", "standby", "search_v2"):
        assert secret not in text
    unknown = status_of(mode="idle", age=None, token=None, load_seconds=None)
    metrics = numbers(prometheus_text(unknown))
    absent = {sample("snapshot_age_seconds"), sample("token"), sample("last_load_seconds")}
    assert absent.isdisjoint(metrics)
    assert metrics[sample("mode", mode="idle")] == 1


def test_names_follow_prometheus_conventions_and_modes_are_documented() -> None:
    for metric in METRICS:
        assert re.fullmatch(r"flagstaff(_[a-z]+)+", metric.prometheus_name)
        assert metric.help.endswith(".")
        assert metric.is_counter == metric.prometheus_name.endswith("_total")
    page = (ROOT / "docs" / "reference" / "reasons.md").read_text()
    assert set(MODES) == set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))


def test_collector_is_registered_once_without_a_status_and_equals_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("flagstaff.contrib.prometheus.status", None)
    registry = CollectorRegistry(auto_describe=True)
    prometheus.register(registry)
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        prometheus.register(registry)
    monkeypatch.setattr("flagstaff.contrib.prometheus.status", status_of)
    assert numbers(generate_latest(registry).decode()) == numbers(prometheus_text(status_of()))


def test_instruments_have_all_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    # Without a provider, the API has instruments that do nothing.
    otel.register()
    monkeypatch.setattr("flagstaff.contrib.otel.status", status_of)
    reader = InMemoryMetricReader()
    otel.register(MeterProvider([reader]))
    data: Any = reader.get_metrics_data()
    [of_scope] = data.resource_metrics[0].scope_metrics
    metrics = {metric.name: metric for metric in of_scope.metrics}
    age, loads = metrics["flagstaff.snapshot_age"], metrics["flagstaff.loads"]
    assert (age.unit, loads.unit) == ("s", "")
    assert loads.data.is_monotonic
    points = {
        (name, tuple(sorted((k, v) for k, v in point.attributes.items()))): point.value
        for name, metric in metrics.items()
        for point in metric.data.data_points
    }
    assert points == {
        (f"flagstaff.{metric.name}", (*labels.items(), ("process.pid", 4711))): value
        for metric in METRICS
        for labels, value in metric.read(status_of())
    }


@pytest.mark.django_db(transaction=True)
def test_loaded_worker_has_metrics() -> None:
    FeatureFlag.objects.create(key="new_checkout")
    with live_engine():
        now = status()
        metrics = numbers(prometheus_text(now))
    by_name = {name: value for (name, _labels), value in metrics.items()}
    assert (by_name["flagstaff_flags"], by_name["flagstaff_ready"]) == (1, 1)
    assert by_name["flagstaff_loads_total"] >= 1
    assert by_name["flagstaff_snapshot_age_seconds"] < 60
    assert 0 < by_name["flagstaff_last_load_seconds"] < 60
    assert by_name["flagstaff_token"] == now.token


WITHOUT_OPTIONAL_PACKAGES = """
import sys
for name in ("jinja2", "rest_framework", "prometheus_client", "opentelemetry", "sentry_sdk"):
    sys.modules[name] = None
import django
django.setup()
from flagstaff import context_processors, decorators, health, middleware, mixins, testing
print(health.metrics.__name__)
"""


def test_package_works_without_optional_packages(run_isolated: RunIsolated) -> None:
    settings = "tests.support.settings"
    assert run_isolated(WITHOUT_OPTIONAL_PACKAGES, DJANGO_SETTINGS_MODULE=settings) == "metrics\n"
