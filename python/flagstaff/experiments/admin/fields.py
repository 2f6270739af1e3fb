"""The fields of the actions of experiments: an editor of rules, a choice, or a text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import forms
from django.contrib.admin import AdminSite
from django.http import HttpRequest

from flagstaff._text import local_list, say
from flagstaff.admin.action_page import ArgumentForm
from flagstaff.admin.rules.editor import RulesField
from flagstaff.admin.rules.forms import Offer
from flagstaff.exceptions import ConfigurationError
from flagstaff.experiments.editing import COLUMNS
from flagstaff.experiments.metrics import metric_names
from flagstaff.experiments.models import Experiment
from flagstaff.experiments.records import SETTINGS
from flagstaff.experiments.variants import Variant, variants_of

_LABELS: Mapping[str, Any] = {
    **SETTINGS,
    "percent": SETTINGS["traffic_percent"],
    "metric": say("Metric").lazy,
    "tolerated": say("Tolerated harm").lazy,
    "unit": say("Unit").lazy,
    "variant": say("Variant").lazy,
    "winner": say("Everyone gets").lazy,
}


def initial_settings(experiment: Experiment | None) -> dict[str, Any]:
    """Returns what is usual; for a draft what it has, as a person writes it."""
    if experiment is None:
        return {"variants": "control\ntreatment", "traffic_percent": 100, "bucket_by": "user"}
    if experiment.problem:
        return {}
    guardrails = experiment.guardrails.items()
    stored = {name: getattr(experiment, COLUMNS.get(name, name)) for name in SETTINGS}
    return {
        **stored,
        "variants": "\n".join(map(_line, variants_of(experiment.variants))),
        "others": "\n".join(experiment.other_metrics),
        "guardrails": "\n".join(f"{name}={tolerated!r}" for name, tolerated in guardrails),
        "percent": experiment.traffic_percent,
    }


def prepare_fields(
    form: ArgumentForm, site: AdminSite, request: HttpRequest, experiment: Experiment | None
) -> None:
    """Replaces texts by better fields. A row that cannot be read has none: its look says why."""
    if experiment is not None and experiment.problem:
        form.fields.clear()
        form.data, form.is_bound = {}, True
    for name, field in form.fields.items():
        special = _special_field(name, site, request, experiment, required=field.required)
        better = form.fields[name] = special or field
        better.label = _LABELS.get(name, better.label)
        if name in ("others", "guardrails") and (names := _names()):
            label = say("Metrics").local
            better.help_text = f"{better.help_text}. {label}: {local_list(names)}."
        if isinstance(better, forms.CharField) and name == "description":
            # An empty text removes what was there.
            better.empty_value = ""


def _special_field(
    name: str,
    site: AdminSite,
    request: HttpRequest,
    experiment: Experiment | None,
    *,
    required: bool,
) -> forms.Field | None:
    if name == "rules":
        return RulesField(
            Offer(site, request),
            no_rules=say("No rules: all units take part.").local,
            help_text=say("The first rule that matches decides.").local,
            required=False,
        )
    if name in ("primary", "metric"):
        choices = [("", say("none yet").local), *((metric, metric) for metric in _names())]
        return forms.ChoiceField(choices=choices, required=required)
    if experiment is not None and name in ("winner", "variant"):
        keys = [(variant.key, variant.key) for variant in variants_of(experiment.variants)]
        if name == "winner":
            return forms.ChoiceField(
                choices=keys,
                widget=forms.RadioSelect,
                error_messages={"required": say("Choose the variant to ship.").lazy},
            )
        choices = [*reversed(keys), ("", say("what its bucket says").local)]
        return forms.TypedChoiceField(choices=choices, required=False, empty_value=None)
    return None


def _names() -> list[str]:
    try:
        return metric_names()
    except ConfigurationError:
        # A system check reports the setting.
        return []


def _line(variant: Variant) -> str:
    return variant.key if variant.weight == 1 else f"{variant.key}:{variant.weight}"
