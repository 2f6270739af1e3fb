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


def _no_style(_record: Record) -> None:
    return None


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
# What is shown as it is stored.
_STORED = (
    *("traffic_percent", "bucket_by", "rules", "overrides", "run"),
    *("other_metrics", "guardrails", "added_metrics", "planned_units"),
    *("owner", "description", "created_at", "started_at", "ended_at"),
)
_TEXTS = {"state": _state, "variants": _variants, "overrides": _overrides}
EXPERIMENT_COLUMNS = tuple(
    Column(name, _TEXTS.get(name), style=_state_style if name == "state" else _no_style)
    for name in ("key", "state", "winner", "variants", "primary_metric", *_STORED)
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
        "primary_metric": experiment.primary_metric or None,
        **{name: getattr(experiment, name) for name in _STORED},
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
