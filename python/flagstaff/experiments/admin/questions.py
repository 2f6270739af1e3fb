"""The pages of the actions of experiments: their fields, and what each action would change."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import copy
from typing import Any

from django import forms

from flagstaff._text import local_list, localized, say
from flagstaff.actions import Argument
from flagstaff.admin.app_rows import AppRequest
from flagstaff.admin.confirmation import PreviewRow
from flagstaff.admin.question import Preview
from flagstaff.admin.rules.editor import RulesField
from flagstaff.admin.rules.offers import Offer, rule_notes
from flagstaff.exceptions import ConfigurationError, ExperimentError
from flagstaff.experiments.actions import settings_of
from flagstaff.experiments.editing import COLUMNS, changed_texts, columns_of, set_columns
from flagstaff.experiments.figures import NONE
from flagstaff.experiments.lifecycle import last_decision
from flagstaff.experiments.metrics import metric_names
from flagstaff.experiments.models import Experiment, ExperimentEvent, State
from flagstaff.experiments.records import SETTINGS, setting_texts, shares_text
from flagstaff.experiments.requirements import require_now
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


class ExperimentRequest(AppRequest):
    """A request to the page of an action of an experiment."""

    def _arguments(self) -> Mapping[str, tuple[Argument, bool]]:
        """A row that cannot be read has no fields, and `preview` says why."""
        is_broken = self.row is not None and self.row.problem
        return {} if is_broken else super()._arguments()

    def _initial(self, fields: Mapping[str, forms.Field]) -> dict[str, Any]:
        """What is usual; for a draft what it has, as a person writes it."""
        experiment = self.row
        if experiment is None:
            return {"variants": "control\ntreatment", "traffic_percent": 100, "bucket_by": "user"}
        if not fields:
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

    def preview(self, arguments: dict[str, Any]) -> Preview:
        """What the action would change. Its notes are those of the terminal's question, and more.

        Raises FlagstaffError if the arguments are wrong.
        """
        action, experiment = self.action, self.row
        if experiment is None:
            return _new(arguments)
        require_now(experiment, action.name)
        notes = _NOTES[action.name](experiment) if action.name in _NOTES else []
        if action.question is not None and (
            question := action.question(experiment.key, **arguments)
        ):
            notes += map(localized, question.lines)
        if rules := arguments.get("rules"):
            notes += rule_notes(rules)
        rows = [*_ROWS[action.name](experiment, arguments)]
        outlook = action.outlook(experiment.key, **arguments) if action.outlook else None
        return Preview(rows=rows, notes=notes, asks=action.name != "force", outlook=outlook)

    def _data_of_link(
        self, fields: Mapping[str, forms.Field], initial: Mapping[str, Any]
    ) -> Mapping[str, Any] | None:
        # What is edited is no answer yet.
        return None if fields and self.action.fields else super()._data_of_link(fields, initial)

    def _field(self, name: str, argument: Argument, *, required: bool) -> forms.Field:
        """Returns the field of the argument: an editor of rules, a choice, or a text."""
        field = self._special_field(name, required=required)
        if field is None:
            field = super()._field(name, argument, required=required)
        field.label = _LABELS.get(name, field.label)
        if name in ("others", "guardrails") and (names := _names()):
            label = say("Metrics").local
            field.help_text = f"{field.help_text}. {label}: {local_list(names)}."
        if isinstance(field, forms.CharField) and name == "description":
            # An empty text removes what was there.
            field.empty_value = ""
        return field

    def _special_field(self, name: str, *, required: bool) -> forms.Field | None:
        if name == "rules":
            return RulesField(
                Offer(self.site, self.request),
                no_rules=say("No rules: all units take part.").local,
                help_text=say("The first rule that matches decides.").local,
                required=False,
            )
        if name in ("primary", "metric"):
            choices = [("", say("none yet").local), *((metric, metric) for metric in _names())]
            return forms.ChoiceField(choices=choices, required=required)
        if name in ("winner", "variant"):
            keys = [(variant.key, variant.key) for variant in variants_of(self.row.variants)]
            if name == "winner":
                return forms.ChoiceField(choices=keys, widget=forms.RadioSelect)
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


# What an action would change.


def _new(arguments: Mapping[str, Any]) -> Preview:
    settings = {name: value for name, value in arguments.items() if name != "key"}
    experiment = Experiment(key=arguments["key"])
    set_columns(experiment, columns_of(**settings_of(settings)))
    texts = setting_texts(experiment)
    rows = [PreviewRow(str(SETTINGS[name]), NONE, texts[name]) for name in ("variants", "rules")]
    return Preview(rows=rows, notes=rule_notes(experiment.rules))


def _edited(experiment: Experiment, arguments: Mapping[str, Any]) -> Iterator[PreviewRow]:
    """Yields the settings that change."""
    settings = settings_of(arguments)
    if "percent" in settings:
        settings["traffic_percent"] = settings.pop("percent")
    _is_changed, texts = changed_texts(copy(experiment), columns_of(**settings))
    yield from (PreviewRow(name, old, new) for name, old, new in texts)


def _change(experiment: Experiment, after: State, winner: str = "") -> Iterator[PreviewRow]:
    """Yields the lines of a change to another state."""
    present = State(experiment.state)
    yield PreviewRow(say("state").local, str(present.label), str(after.label))
    yield PreviewRow(
        say("who gets what").local,
        _who_gets_what(experiment, present, experiment.winner),
        _who_gets_what(experiment, after, winner),
    )


def _who_gets_what(experiment: Experiment, state: State, winner: str) -> str:
    if state is State.RUNNING:
        return shares_text(experiment)
    if state is State.SHIPPED:
        return say("everyone gets “{winner}”", winner=winner).local
    return say("every call gets its default").local


def _start(experiment: Experiment, _arguments: Mapping[str, Any]) -> Iterator[PreviewRow]:
    yield from _change(experiment, State.RUNNING)
    if experiment.rules:
        yield PreviewRow(
            say("who takes part").local, say("nobody").local, setting_texts(experiment)["rules"]
        )


def _add_metric(_experiment: Experiment, arguments: Mapping[str, Any]) -> Iterator[PreviewRow]:
    role = say("guardrail").local if "tolerated" in arguments else say("other metric").local
    yield PreviewRow(arguments["metric"], NONE, role)


def _force(experiment: Experiment, arguments: Mapping[str, Any]) -> Iterator[PreviewRow]:
    unit, bucket = arguments["unit"], say("what its bucket says").local
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
    yield PreviewRow(say("event").local, localized(event.message), say("undone").local)
    yield from _change(experiment, State(event.before["state"]), event.before["winner"])
    is_stored = experiment.frozen_report is not None
    if is_stored and not event.before["has_report"] and experiment.exposures_deleted_at is None:
        yield PreviewRow(
            say("report").local, say("stored").local, say("computed from all exposures").local
        )


_ROWS: Mapping[str, Callable[[Experiment, Mapping[str, Any]], Iterator[PreviewRow]]] = {
    "edit": _edited,
    "start": _start,
    "grow": _edited,
    "add-metric": _add_metric,
    "restart": _edited,
    "force": _force,
    "stop": lambda experiment, _arguments: _change(experiment, State.STOPPED),
    "ship": lambda experiment, arguments: _change(experiment, State.SHIPPED, arguments["winner"]),
    "undo": _undo,
    "delete": lambda experiment, _arguments: iter(
        [PreviewRow(say("state").local, str(State(experiment.state).label), say("deleted").local)]
    ),
}


def _notes_of_a_start(experiment: Experiment) -> list[str]:
    notes = [
        say(
            "From now on, each unit that meets it gets a variant and is recorded. Nothing but the "
            "traffic and further metrics can change after that."
        ).local
    ]
    if not experiment.primary_metric:
        notes.append(say("There is no primary metric, so there will be no verdict.").local)
    return notes


#: What the page says before actions about which the terminal does not ask.
_NOTES: Mapping[str, Callable[[Experiment], list[str]]] = {
    "start": _notes_of_a_start,
    "stop": lambda _experiment: [say("No exposure is recorded. “Undo” takes it back.").local],
    "force": lambda _experiment: [say("A forced unit is not recorded.").local],
}
