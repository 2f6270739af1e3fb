"""Experiments as records for people and programs."""

from __future__ import annotations

from typing import Any

from flagstaff._engine import forced_off
from flagstaff._words.cells import Column, Record
from flagstaff.conf import conf
from flagstaff.experiments.models import Experiment, ExperimentEvent, State
from flagstaff.experiments.variants import shares_of


def _state_style(record: Record) -> str | None:
    is_running = record["state"] == State.RUNNING and not record["forced_off"]
    return "SUCCESS" if is_running else None


def _state(record: Record) -> str:
    return f"{record['state']} (forced off)" if record["forced_off"] else str(record["state"])


def _variants(record: Record) -> str:
    return ", ".join(f"{one['key']} {one['share']:.4g} %" for one in record["variants"])


def _overrides(record: Record) -> str:
    return ", ".join(f"{unit}: {variant}" for unit, variant in record["overrides"].items())


LIST_COLUMNS = (
    Column("key"),
    Column("state", _state, style=_state_style),
    Column("variants", _variants),
    Column("started_at"),
    Column("owner"),
    Column("description", truncate=True),
)
EXPERIMENT_COLUMNS = (
    Column("key"),
    Column("state", _state, style=_state_style),
    Column("winner"),
    Column("variants", _variants),
    Column("traffic_percent"),
    Column("bucket_by"),
    Column("rules"),
    Column("overrides", _overrides),
    Column("run"),
    Column("primary_metric"),
    Column("other_metrics"),
    Column("guardrails"),
    Column("added_metrics"),
    Column("planned_units"),
    Column("owner"),
    Column("description"),
    Column("created_at"),
    Column("started_at"),
    Column("ended_at"),
)
EVENT_COLUMNS = (
    Column("at"),
    Column("kind"),
    Column("actor"),
    Column("text", truncate=True),
)


def experiment_record(experiment: Experiment, *, with_events: bool = True) -> dict[str, Any]:
    """Returns an experiment as a dict for JSON. Makes one query for its events."""
    shares = shares_of(experiment.variants)
    record = {
        "key": experiment.key,
        "state": experiment.state,
        "forced_off": experiment.key in forced_off.keys,
        "winner": experiment.winner or None,
        "variants": [
            {**variant, "share": 100 * shares[variant["key"]]} for variant in experiment.variants
        ],
        "traffic_percent": experiment.traffic_percent,
        "bucket_by": experiment.bucket_by,
        "rules": experiment.rules,
        "overrides": experiment.overrides,
        "run": experiment.run,
        "primary_metric": experiment.primary_metric or None,
        "other_metrics": experiment.other_metrics,
        "guardrails": experiment.guardrails,
        "added_metrics": experiment.added_metrics,
        "planned_units": experiment.planned_units,
        "owner": experiment.owner,
        "description": experiment.description,
        "created_at": experiment.created_at,
        "started_at": experiment.started_at,
        "ended_at": experiment.ended_at,
    }
    return {**record, "events": _events(experiment)} if with_events else record


def _events(experiment: Experiment) -> list[dict[str, Any]]:
    events = ExperimentEvent.objects.using(conf.database).filter(experiment_id=experiment.pk)
    return [
        {
            "at": event.at,
            "kind": event.kind,
            "actor": event.actor or None,
            "reason": event.reason,
            "text": event.message,
        }
        for event in events.order_by("id")
    ]
