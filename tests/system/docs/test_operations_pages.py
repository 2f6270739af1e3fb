"""The pages for operators are correct: runbook, alarms, probes."""

import re
from typing import Any

import pytest
import yaml
from django.db import connection
from django.test import Client

from flagstaff._workers.status import METRICS, MODES, prometheus_text, status
from flagstaff.extensions import JOBS
from tests.conftest import ROOT
from tests.support.pages import DOCS, code_of, names_of, rows_of

OPERATIONS, RUNBOOK = "operations.md", "runbook.md"
TYPES = {
    **{metric.prometheus_name: "counter" if metric.is_counter else "gauge" for metric in METRICS},
    **{f"flagstaff_{job.name}": "gauge" for job in JOBS if job.backlog},
    "flagstaff_jobs_age_seconds": "gauge",
}


def test_metric_has_a_row_with_its_type() -> None:
    text = (DOCS / OPERATIONS).read_text()
    shown = re.findall(r"^\| `(flagstaff_\w+)\S*` \| (\w+) \|", text, re.MULTILINE)
    assert dict(shown) == TYPES


def test_alarm_uses_existing_metrics_and_modes() -> None:
    [block] = code_of(OPERATIONS, "yaml", having="alert:")
    [group] = yaml.safe_load(block)["groups"]
    for rule in group["rules"]:
        assert set(re.findall(r"flagstaff_[a-z_]+", rule["expr"])) <= TYPES.keys(), rule["alert"]
        modes = re.findall(r'mode=~?"([a-z|]+)"', rule["expr"])
        assert {mode for modes_of_line in modes for mode in modes_of_line.split("|")} <= set(MODES)
        assert rule["expr"].count("(") == rule["expr"].count(")")
        assert rule["annotations"]["summary"].endswith(".")


def test_error_of_the_runbook_is_a_message_of_the_engine() -> None:
    source = (ROOT / "src" / "postgres" / "texts.rs").read_text()
    texts = re.findall(r'(?s)"((?:[^"\\]|\\.)+)";', source)
    joined = [re.sub(r"\\\n +", "", text).replace('\\"', '"') for text in texts]
    around = r"^\{step\}: |(: \{problem\})?\{details\}$"
    said = {re.sub(around, "", text) for text in joined}
    shown = {error for error, _what_to_do in rows_of(RUNBOOK, "error")}
    assert shown
    assert shown <= said


def test_deadlines_equal_those_of_the_engine() -> None:
    source = (ROOT / "src" / "postgres" / "deadline.rs").read_text()
    limits = dict(re.findall(r"const (\w+): Duration = Duration::from_secs\((\d+)\)", source))
    quoted = "{CONNECT} s to connect, {STATEMENT} s for a poll, {LOAD} s for a load"
    assert quoted.format(**limits) in (DOCS / OPERATIONS).read_text()


@pytest.mark.django_db
@pytest.mark.parametrize("statement", [*code_of(OPERATIONS, "sql"), *code_of(RUNBOOK, "sql")])
def test_query_of_the_runbook_runs(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement.replace("%", "%%"), [])
        cursor.fetchall()


@pytest.fixture
def addresses() -> Any:
    return names_of(OPERATIONS, "urlpatterns")["urlpatterns"]


@pytest.mark.django_db
def test_url_of_the_page_responds(addresses: Any, settings: Any, client: Client) -> None:
    settings.ROOT_URLCONF = type("Pages", (), {"urlpatterns": addresses})
    quoted = re.findall(r"^\| `(flagstaff/[^`]+)`", (DOCS / OPERATIONS).read_text(), re.MULTILINE)
    assert len(quoted) == 6
    for address in quoted:
        expected = 404 if address.endswith("details") else 200
        assert client.get(f"/{address}").status_code == expected
    [shown] = re.findall(r"^\{.+", code_of(OPERATIONS, "console", having="curl")[0], re.MULTILINE)
    assert client.get("/flagstaff/ready").json().keys() == yaml.safe_load(shown).keys()


def test_probe_uses_an_existing_url(addresses: Any) -> None:
    [block] = code_of("how-to/containers.md", "yaml", having="startupProbe")
    for probe in yaml.safe_load(block).values():
        assert addresses[0].resolve(probe["httpGet"]["path"].lstrip("/"))


def test_registering_works_as_in_the_page() -> None:
    for having in ("prometheus", "otel"):
        names = names_of(OPERATIONS, f"{having}.register")
        assert callable(names["on_worker_start"])
        assert names[having].register


def test_exposition_begins_with_a_help_line() -> None:
    assert prometheus_text(status()).startswith("# HELP flagstaff_ready ")
