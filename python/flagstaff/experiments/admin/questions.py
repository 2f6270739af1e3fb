"""The pages of the actions of experiments: their fields, and what each action would change."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import copy
from typing import Any

from django import forms
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flagstaff._words.rule_text import rules_text
from flagstaff._words.text import Text, local_list, local_number, localized
from flagstaff.actions import Action, Argument
from flagstaff.admin.app_rows import AppRequest
from flagstaff.admin.confirmation import PreviewRow
from flagstaff.admin.question import Preview
from flagstaff.admin.rules.editor import RulesField
from flagstaff.admin.rules.offers import Offer, rule_notes
from flagstaff.exceptions import ConfigurationError, ExperimentError
from flagstaff.experiments.actions import guardrails_of
from flagstaff.experiments.conditions import require_now
from flagstaff.experiments.editing import columns_of, set_columns
from flagstaff.experiments.figures import NONE, percent_text
from flagstaff.experiments.lifecycle import last_decision
from flagstaff.experiments.metrics import find_metric, metric_names
from flagstaff.experiments.models import Experiment, ExperimentEvent, State
from flagstaff.experiments.reporting import read_report
from flagstaff.experiments.variants import Variant, shares_of, variants_of
from flagstaff.experiments.words import outcome_text
from flagstaff.validators import MAX_PERCENT

_LABELS: Mapping[str, Any] = {
    "variants": gettext_lazy("Variants"),
    "traffic_percent": gettext_lazy("Traffic in percent"),
    "percent": gettext_lazy("Traffic in percent"),
    "description": gettext_lazy("Description"),
    "owner": gettext_lazy("Owner"),
    "bucket_by": gettext_lazy("Bucketing unit"),
    "rules": gettext_lazy("Rules"),
    "primary": gettext_lazy("Primary metric"),
    "others": gettext_lazy("Other metrics"),
    "metric": gettext_lazy("Metric"),
    "tolerated": gettext_lazy("Tolerated harm"),
    "guardrails": gettext_lazy("Guardrails"),
    "planned_units": gettext_lazy("Planned units"),
    "min_days": gettext_lazy("Days before a verdict"),
    "min_units": gettext_lazy("Units before a verdict"),
    "smallest_effect": gettext_lazy("Smallest effect that matters"),
    "unit": gettext_lazy("Unit"),
    "variant": gettext_lazy("Variant"),
    "winner": gettext_lazy("Everyone gets"),
    "report": gettext_lazy("Keep the report"),
}


class ExperimentRequest(AppRequest):
    """A request to the page of an action of an experiment."""

    def _given(
        self, fields: Mapping[str, forms.Field], initial: Mapping[str, Any]
    ) -> Mapping[str, Any] | None:
        # What is edited is no answer yet.
        return None if self.action.fields else super()._given(fields, initial)

    def _field(self, name: str, argument: Argument, *, required: bool) -> forms.Field:
        """Returns the field of the argument: an editor of rules, a choice, or a text."""
        field = self._special_field(name, required=required)
        if field is None:
            field = super()._field(name, argument, required=required)
            if isinstance(argument.help, Text):
                # What the terminal says, too.
                field.help_text = capfirst(localized(argument.help))
        field.label = _LABELS.get(name, field.label)
        if name in ("others", "guardrails") and (names := _names()):
            field.help_text = f"{field.help_text}. {_('Metrics')}: {local_list(names)}."
        if isinstance(field, forms.CharField) and name in ("description", "owner"):
            # An empty text removes what was there.
            field.empty_value = ""
        return field

    def _special_field(self, name: str, *, required: bool) -> forms.Field | None:
        if name == "rules":
            return RulesField(
                Offer(self.admin.admin_site, self.request),
                no_rules=_("No rules: all units take part."),
                help_text=_("The first rule that matches decides."),
                required=False,
            )
        if name in ("primary", "metric"):
            choices = [("", _("none yet")), *_metric_choices(self.row)]
            return forms.ChoiceField(choices=choices, required=required)
        if name == "winner":
            return forms.ChoiceField(choices=[*_winners(self.row)], widget=forms.RadioSelect)
        if name == "variant":
            keys = [(one.key, one.key) for one in variants_of(self.row.variants)]
            choices = [*reversed(keys), ("", _("what its bucket says"))]
            return forms.TypedChoiceField(choices=choices, required=False, empty_value=None)
        if name == "report":
            text = _("Without it, a ship is possible although a metric fails.")
            return forms.BooleanField(initial=True, required=False, help_text=text)
        return None


def _names() -> list[str]:
    try:
        return metric_names()
    except ConfigurationError:
        # A system check reports the setting.
        return []


def _metric_choices(experiment: Experiment) -> Iterator[tuple[str, str]]:
    """Yields the metrics of the setting and that of the experiment, with their descriptions."""
    for name in dict.fromkeys([*_names(), *filter(None, [experiment.primary_metric])]):
        try:
            description = find_metric(name).description
        except ConfigurationError:
            description = ""
        yield name, f"{name} {NONE} {description}" if description else name


def _winners(experiment: Experiment) -> Iterator[tuple[str, str]]:
    """Yields the variants that can be shipped, each with its verdict."""
    report, _error = read_report(experiment)
    outcomes = {one["treatment"]: one["outcome"] for one in report["verdicts"]} if report else {}
    texts = {treatment: outcome_text(outcome) for treatment, outcome in outcomes.items()}
    control, *_treatments = variants_of(experiment.variants)
    if "better" in outcomes.values():
        texts[control.key] = _("the report says that another variant is better")
    for variant in variants_of(experiment.variants):
        if variant.key != experiment.winner:
            text = texts.get(variant.key)
            yield variant.key, f"{variant.key} {NONE} {text}" if text else variant.key


def initial_texts(experiment: Experiment | None) -> dict[str, Any]:
    """Returns what the forms contain at first: for a draft what it has, as a person writes it."""
    if experiment is None:
        return {"variants": "control\ntreatment", "traffic_percent": 100, "bucket_by": "user"}
    guardrails = experiment.guardrails.items()
    return {
        "variants": "\n".join(map(_line, variants_of(experiment.variants))),
        "traffic_percent": experiment.traffic_percent,
        "bucket_by": experiment.bucket_by,
        "rules": experiment.rules,
        "description": experiment.description,
        "owner": experiment.owner,
        "primary": experiment.primary_metric,
        "others": "\n".join(experiment.other_metrics),
        "guardrails": "\n".join(f"{name}={tolerated!r}" for name, tolerated in guardrails),
        "planned_units": experiment.planned_units,
        "min_days": experiment.min_days,
        "min_units": experiment.min_units,
        "smallest_effect": experiment.smallest_effect,
        "percent": experiment.traffic_percent,
    }


def _line(variant: Variant) -> str:
    return variant.key if variant.weight == 1 else f"{variant.key}:{variant.weight}"


# What an action would change.


def preview_of(
    action: Action, experiment: Experiment | None, arguments: Mapping[str, Any]
) -> Preview:
    """Returns what an action would change. Raises FlagstaffError if the arguments are wrong.

    Its notes are those of the terminal's question, and those of the page alone.
    """
    if experiment is None:
        return _new(arguments)
    notes = _NOTES[action.name](experiment) if action.name in _NOTES else []
    if action.question is not None and (asked := action.question(experiment.key, **arguments)):
        notes += map(localized, asked.lines)
    if rules := arguments.get("rules"):
        notes += rule_notes(rules)
    rows = [*_ROWS[action.name](experiment, arguments)]
    return Preview(rows=rows, notes=notes, asks=action.name != "force")


def _new(arguments: Mapping[str, Any]) -> Preview:
    given = {name: one for name, one in arguments.items() if name != "key"}
    experiment = Experiment(key=arguments["key"])
    set_columns(experiment, columns_of(**given))
    rows = [PreviewRow(key, NONE, share) for key, share in _shares(experiment).items()]
    rows.append(PreviewRow(_("who takes part"), NONE, _who(experiment.rules)))
    return Preview(rows=rows, notes=rule_notes(experiment.rules))


def shares_text(experiment: Experiment) -> str:
    """Returns the variants with their shares of all units. Makes no query."""
    return ", ".join(f"{key} {share}" for key, share in _shares(experiment).items())


def _shares(experiment: Experiment) -> dict[str, str]:
    """Returns the share of all units that each variant gets."""
    traffic, shares = experiment.traffic_percent / MAX_PERCENT, shares_of(experiment.variants)
    return {key: percent_text(traffic * share) for key, share in shares.items()}


def _who(rules: Any) -> str:
    if not rules:
        return _("all units")
    return rules_text(rules) or _("rules that cannot be read")


def _edited(experiment: Experiment, arguments: Mapping[str, Any]) -> Iterator[PreviewRow]:
    """Yields the share of each variant if it changes, and the other settings that change."""
    given, after = {**arguments}, copy(experiment)
    if "guardrails" in given:
        given["guardrails"] = guardrails_of(given["guardrails"])
    if "percent" in given:
        given["traffic_percent"] = given.pop("percent")
    changes = set_columns(after, columns_of(**given))
    now, then = _shares(experiment), _shares(after)
    if now != then:
        for key in dict.fromkeys([*now, *then]):
            yield PreviewRow(key, now.get(key, NONE), then.get(key, NONE))
    if experiment.rules != after.rules:
        yield PreviewRow(_("who takes part"), _who(experiment.rules), _who(after.rules))
    for one in changes:
        if one.column not in ("variants", "traffic_percent", "rules"):
            sides = (
                local_number(side) if isinstance(side, (int, float)) else localized(side)
                for side in (one.old, one.new)
            )
            yield PreviewRow(capfirst(localized(one.name)), *sides)


def _change(experiment: Experiment, after: State, winner: str = "") -> Iterator[PreviewRow]:
    """Yields the lines of a change to another state."""
    present = State(experiment.state)
    yield PreviewRow(_("state"), str(present.label), str(after.label))
    yield PreviewRow(
        _("who gets what"),
        _who_gets_what(experiment, present, experiment.winner),
        _who_gets_what(experiment, after, winner),
    )


def _who_gets_what(experiment: Experiment, state: State, winner: str) -> str:
    if state is State.RUNNING:
        return shares_text(experiment)
    if state is State.SHIPPED:
        return _("everyone gets “%(winner)s”") % {"winner": winner}
    return _("every call gets its default")


def _start(experiment: Experiment, _arguments: Mapping[str, Any]) -> Iterator[PreviewRow]:
    yield from _change(experiment, State.RUNNING)
    if experiment.rules:
        yield PreviewRow(_("who takes part"), _("nobody"), _who(experiment.rules))


def _add_metric(_experiment: Experiment, arguments: Mapping[str, Any]) -> Iterator[PreviewRow]:
    role = _("guardrail") if "tolerated" in arguments else _("other metric")
    yield PreviewRow(arguments["metric"], NONE, role)


def _force(experiment: Experiment, arguments: Mapping[str, Any]) -> Iterator[PreviewRow]:
    unit, bucket = arguments["unit"], _("what its bucket says")
    now = experiment.overrides.get(unit, bucket)
    yield PreviewRow(unit, now, arguments.get("variant") or bucket)


def undone_event(experiment: Experiment) -> ExperimentEvent | None:
    """Returns the stop or the ship that can be undone; None without one. Makes one query."""
    try:
        event = last_decision(experiment)
    except ExperimentError:
        return None
    # Without its exposures, it cannot run again.
    is_lost = experiment.exposures_deleted_at and event.before["state"] == State.RUNNING
    return None if is_lost else event


def _undo(experiment: Experiment, _arguments: Mapping[str, Any]) -> Iterator[PreviewRow]:
    event = last_decision(experiment)
    yield PreviewRow(_("event"), localized(event.message), _("undone"))
    yield from _change(experiment, State(event.before["state"]), event.before["winner"])
    is_stored = experiment.frozen_report is not None
    if is_stored and not event.before["has_report"] and experiment.exposures_deleted_at is None:
        yield PreviewRow(_("report"), _("stored"), _("computed from all exposures"))


_ROWS: Mapping[str, Callable[[Experiment, Mapping[str, Any]], Iterator[PreviewRow]]] = {
    "edit": _edited,
    "start": _start,
    "grow": _edited,
    "add-metric": _add_metric,
    "restart": _edited,
    "force": _force,
    "stop": lambda experiment, _arguments: _change(experiment, State.STOPPED),
    "ship": lambda experiment, given: _change(experiment, State.SHIPPED, given["winner"]),
    "undo": _undo,
    "delete": lambda experiment, _arguments: iter(
        [PreviewRow(_("state"), str(State(experiment.state).label), _("deleted"))]
    ),
}


def _notes_of_a_start(experiment: Experiment) -> list[str]:
    require_now(experiment, "start")
    notes = [
        _(
            "From now on, each unit that meets it gets a variant and is recorded. Nothing but the "
            "traffic and further metrics can change after that."
        )
    ]
    if not experiment.primary_metric:
        notes.append(_("There is no primary metric, so there will be no verdict."))
    return notes


#: What the page says before actions about which the terminal does not ask.
_NOTES: Mapping[str, Callable[[Experiment], list[str]]] = {
    "start": _notes_of_a_start,
    "stop": lambda _experiment: [_("No exposure is recorded. “Undo” takes it back.")],
    "force": lambda _experiment: [_("A forced unit is not recorded.")],
}
