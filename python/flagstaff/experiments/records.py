"""Experiments and their settings as texts and records, for people and programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.functional import Promise

from flagstaff._engine import forced_off
from flagstaff._tables.database import db
from flagstaff._text import local_number, localized, say
from flagstaff._text.rules import rules_text
from flagstaff._text.times import Column, Record
from flagstaff.experiments.models import Experiment, ExperimentEvent, State
from flagstaff.experiments.report_rows import number_text, percent_text
from flagstaff.experiments.variants import shares_of
from flagstaff.validators import MAX_PERCENT

#: The settings, by the arguments of `edit`.
SETTINGS: Mapping[str, str | Promise] = {
    "description": say("Description").lazy,
    "variants": say("Variants").lazy,
    "traffic_percent": say("Traffic in percent").lazy,
    "bucket_by": say("Bucketing unit").lazy,
    "rules": say("Rules").lazy,
    "primary": say("Primary metric").lazy,
    "others": say("Other metrics").lazy,
    "guardrails": say("Guardrails").lazy,
    "planned_units": say("Planned units").lazy,
    "min_days": say("Days before a verdict").lazy,
    "min_units": say("Units before a verdict").lazy,
    "smallest_effect": say("Smallest effect that matters").lazy,
}


def setting_texts(experiment: Experiment) -> dict[str, str]:
    """Returns the settings as texts in the active language, in the order of SETTINGS."""
    tolerated = (f"{name} ({number_text(harm)})" for name, harm in experiment.guardrails.items())
    rules, effect = experiment.rules, experiment.smallest_effect
    texts = {
        "description": experiment.description,
        "variants": shares_text(experiment),
        "traffic_percent": local_number(experiment.traffic_percent),
        "bucket_by": experiment.bucket_by,
        "rules": (rules_text(rules) or say("rules that cannot be read").local) if rules else "",
        "primary": experiment.primary_metric,
        "others": ", ".join(experiment.other_metrics),
        "guardrails": ", ".join(tolerated),
        "planned_units": local_number(experiment.planned_units),
        "min_days": local_number(experiment.min_days),
        "min_units": local_number(experiment.min_units),
        "smallest_effect": "" if effect is None else number_text(effect),
    }
    return {name: texts[name] or say("none").local for name in SETTINGS}


def shares_text(experiment: Experiment) -> str:
    """Returns the variants with their shares of all units; or why they cannot be read."""
    if problem := experiment.problem:
        return localized(problem)
    traffic, shares = experiment.traffic_percent / MAX_PERCENT, shares_of(experiment.variants)
    return ", ".join(f"{key} {percent_text(traffic * share)}" for key, share in shares.items())


# Records.


def _state_style(record: Record) -> str | None:
    is_running = record["state"] == State.RUNNING and not record["forced_off"]
    return "SUCCESS" if is_running else None


def _state(record: Record) -> str:
    return f"{record['state']} (forced off)" if record["forced_off"] else str(record["state"])


def _variants(record: Record) -> str:
    if record["problem"]:
        return str(record["problem"])
    return ", ".join(f"{variant['key']} {variant['share']:.4g} %" for variant in record["variants"])


def _overrides(record: Record) -> str:
    if record["problem"]:
        return ""
    return ", ".join(f"{unit}: {variant}" for unit, variant in record["overrides"].items())


LIST_COLUMNS = (
    Column("key"),
    Column("state", _state, style=_state_style),
    Column("variants", _variants, is_text=True),
    Column("started_at"),
    Column("description", truncate=True),
)
# What a record has as it is stored.
_STORED = (
    "traffic_percent",
    "bucket_by",
    "rules",
    "overrides",
    "run",
    "other_metrics",
    "guardrails",
    "added_metrics",
    "planned_units",
    "description",
    "created_at",
    "started_at",
    "ended_at",
)
EXPERIMENT_COLUMNS = (
    *LIST_COLUMNS[:2],
    Column("winner"),
    LIST_COLUMNS[2],
    Column("primary_metric"),
    *(Column(name, _overrides if name == "overrides" else None) for name in _STORED),
)
EVENT_COLUMNS = (
    Column("at"),
    Column("kind"),
    Column("actor"),
    Column("text", truncate=True),
)


def experiment_record(experiment: Experiment, *, with_events: bool = True) -> dict[str, Any]:
    """Returns an experiment as a dict for JSON. Makes one query for its events.

    One that cannot be read has no variants, and its other columns as they are stored.
    """
    variants = [] if (problem := experiment.problem) else experiment.variants
    shares = shares_of(variants)
    record = {
        "key": experiment.key,
        "state": experiment.state,
        "forced_off": experiment.key in forced_off.keys,
        "winner": experiment.winner or None,
        "problem": problem,
        "variants": [{**variant, "share": 100 * shares[variant["key"]]} for variant in variants],
        "primary_metric": experiment.primary_metric or None,
        **{name: getattr(experiment, name) for name in _STORED},
    }
    return {**record, "events": _events(experiment)} if with_events else record


def _events(experiment: Experiment) -> list[dict[str, Any]]:
    events = db.rows(ExperimentEvent).filter(experiment_id=experiment.pk)
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
