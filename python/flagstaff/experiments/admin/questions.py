"""The pages of the actions of experiments: their fields, and what each action would change."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flagstaff._words.rule_text import rules_text
from flagstaff._words.text import local_list, localized
from flagstaff.actions import Argument
from flagstaff.admin.app_rows import AppPreview, AppRequest
from flagstaff.admin.confirmation import PreviewRow
from flagstaff.admin.rules.editor import RulesField
from flagstaff.admin.rules.offers import Offer, rule_notes
from flagstaff.admin.unit_input import UnitInput
from flagstaff.exceptions import ConfigurationError, ExperimentError
from flagstaff.experiments.actions import guardrails_of
from flagstaff.experiments.admin.report import possible_harms
from flagstaff.experiments.admin.texts import NONE, percent_text, shares_text
from flagstaff.experiments.metrics import find_metric, metric_names
from flagstaff.experiments.models import Experiment, ExperimentEvent, State
from flagstaff.experiments.reporting import read_report, withdrawn_by_addition
from flagstaff.experiments.undoing import last_decision
from flagstaff.experiments.variants import (
    Variant,
    shares_of,
    valid_variants,
    variants_as_json,
    variants_of,
)
from flagstaff.experiments.words import outcome_text
from flagstaff.validators import MAX_PERCENT

# What the fields are called, and what to write into them.
_FIELDS: Mapping[str, tuple[Any, Any]] = {
    "variants": (
        gettext_lazy("Variants"),
        gettext_lazy("One on each line with its weight, such as “green:2”. The control is first."),
    ),
    "traffic_percent": (
        gettext_lazy("Traffic in percent"),
        gettext_lazy("The share of all units that take part."),
    ),
    "percent": (
        gettext_lazy("Traffic in percent"),
        gettext_lazy("The share of all units that take part."),
    ),
    "description": (gettext_lazy("Description"), ""),
    "owner": (gettext_lazy("Owner"), ""),
    "bucket_by": (
        gettext_lazy("Bucketing unit"),
        gettext_lazy("What gets a variant: a user, a visitor, or an attribute."),
    ),
    "primary": (
        gettext_lazy("Primary metric"),
        gettext_lazy("The metric that decides. It cannot change after the start."),
    ),
    "others": (
        gettext_lazy("Other metrics"),
        gettext_lazy(
            "One on each line. Each widens all intervals, because results are corrected for "
            "multiple metrics."
        ),
    ),
    "metric": (gettext_lazy("Metric"), ""),
    "tolerated": (
        gettext_lazy("Tolerated harm"),
        gettext_lazy(
            "For a guardrail: by how much it may get worse; of a share, 0.01 is one point."
        ),
    ),
    "guardrails": (
        gettext_lazy("Guardrails"),
        gettext_lazy(
            "One metric on each line that must not get worse, and how much worse is tolerated, "
            "such as “refunds=0.01”: of a share, that is one percentage point."
        ),
    ),
    "planned_units": (
        gettext_lazy("Planned units"),
        gettext_lazy("Of all variants together. Results are most exact at this number."),
    ),
    "min_days": (
        gettext_lazy("Days before a verdict"),
        gettext_lazy("Whole weeks, because weekends differ from other days."),
    ),
    "min_units": (gettext_lazy("Units before a verdict"), gettext_lazy("Of each variant.")),
    "smallest_effect": (
        gettext_lazy("Smallest effect that matters"),
        gettext_lazy("On the primary metric: of a share, 0.01 is one percentage point."),
    ),
    "unit": (gettext_lazy("Unit"), gettext_lazy("Such as the primary key of a user.")),
}


class ExperimentRequest(AppRequest):
    """A request to the page of an action of an experiment."""

    def _given(
        self, fields: Mapping[str, forms.Field], initial: Mapping[str, Any]
    ) -> Mapping[str, Any] | None:
        # What is edited is no answer yet.
        return None if self.action.fields else super()._given(fields, initial)

    def _field(self, name: str, argument: Argument, *, required: bool) -> forms.Field:
        """Returns the field: an editor of rules, a choice, or that of the argument."""
        label, help_text = _FIELDS.get(name, ("", ""))
        if name == "rules":
            return RulesField(
                Offer(self.admin.admin_site, self.request),
                no_rules=_("No rules: all units take part."),
                label=_("Rules"),
                help_text=_("The first rule that matches decides."),
                required=False,
            )
        if name in ("primary", "metric"):
            choices = [("", _("none yet")), *_metric_choices(self.row)]
            return forms.ChoiceField(
                label=label, help_text=help_text, choices=choices, required=required
            )
        if name == "winner":
            return forms.ChoiceField(
                label=_("Everyone gets"),
                choices=[*_winners(self.row)],
                widget=forms.RadioSelect,
            )
        if name == "variant":
            keys = [(one.key, one.key) for one in variants_of(self.row.variants)]
            choices = [*reversed(keys), ("", _("what its bucket says"))]
            return forms.TypedChoiceField(
                label=_("Variant"), choices=choices, required=False, empty_value=None
            )
        if name == "report":
            text = _("Without it, a ship is possible although a metric fails.")
            return forms.BooleanField(
                label=_("Keep the report"), initial=True, required=False, help_text=text
            )
        field = super()._field(name, argument, required=required)
        field.label, field.help_text = label or field.label, help_text or field.help_text
        if name in ("others", "guardrails") and (names := _names()):
            field.help_text = f"{help_text} {_('Metrics')}: {local_list(names)}."
        if name == "bucket_by":
            field.widget = UnitInput(field.widget.attrs)
        if isinstance(field, forms.CharField) and name in ("description", "owner"):
            # An empty text removes what was there.
            field.empty_value = ""
        return field


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


def preview_of(name: str, experiment: Experiment, arguments: Mapping[str, Any]) -> AppPreview:
    """Returns what an action would change. Raises FlagstaffError if the arguments are wrong."""
    preview = _PREVIEWS.get(name)
    return AppPreview() if preview is None else preview(experiment, arguments)


def preview_of_new(arguments: Mapping[str, Any]) -> AppPreview:
    """Returns what an experiment would be."""
    rows = [PreviewRow(key, NONE, share) for key, share in _shares(arguments)]
    rules = arguments.get("rules", [])
    rows.append(PreviewRow(_("who takes part"), NONE, _who(rules)))
    return AppPreview(rows=rows, notes=rule_notes(rules))


def _shares(arguments: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yields the variants with their shares of all units."""
    variants = variants_as_json(valid_variants(arguments["variants"]))
    traffic = arguments["traffic_percent"] / MAX_PERCENT
    yield from ((key, percent_text(traffic * one)) for key, one in shares_of(variants).items())


def _who(rules: Any) -> str:
    if not rules:
        return _("all units")
    return rules_text(rules) or _("rules that cannot be read")


def _edit(experiment: Experiment, arguments: Mapping[str, Any]) -> AppPreview:
    guardrails_of(arguments.get("guardrails", ()))
    rules = arguments.get("rules", [])
    rows = [*_changed_shares(experiment, arguments)]
    if rules != experiment.rules:
        rows.append(PreviewRow(_("who takes part"), _who(experiment.rules), _who(rules)))
    present = initial_texts(experiment)
    for name in present.keys() & arguments.keys() - {"variants", "traffic_percent", "rules"}:
        now, after = _shown(present[name]), _shown(arguments[name])
        if now != after:
            rows.append(PreviewRow(str(_FIELDS[name][0]), now, after))
    return AppPreview(rows=rows, notes=rule_notes(rules))


def _changed_shares(experiment: Experiment, arguments: Mapping[str, Any]) -> Iterator[PreviewRow]:
    """Yields a line for each variant, with its share of all units now and afterwards."""
    present = {
        "variants": variants_of(experiment.variants),
        "traffic_percent": experiment.traffic_percent,
    }
    now, after = dict(_shares(present)), dict(_shares({**present, **arguments}))
    for key in dict.fromkeys([*now, *after]):
        yield PreviewRow(key, now.get(key, NONE), after.get(key, NONE))


def _shown(value: Any) -> str:
    """Returns what a form contains or what was typed into it, in one line."""
    lines = value if isinstance(value, list) else "" if value is None else str(value).splitlines()
    return ", ".join(lines) or NONE


def _change(experiment: Experiment, after: State, winner: str = "") -> list[PreviewRow]:
    """Returns the lines of a change to another state."""
    present = State(experiment.state)
    return [
        PreviewRow(_("state"), str(present.label), str(after.label)),
        PreviewRow(
            _("who gets what"),
            _who_gets_what(experiment, present, experiment.winner),
            _who_gets_what(experiment, after, winner),
        ),
    ]


def _who_gets_what(experiment: Experiment, state: State, winner: str) -> str:
    if state is State.RUNNING:
        return shares_text(experiment)
    if state is State.SHIPPED:
        return _("everyone gets “%(winner)s”") % {"winner": winner}
    return _("every call gets its default")


def _start(experiment: Experiment, _arguments: Mapping[str, Any]) -> AppPreview:
    rows = _change(experiment, State.RUNNING)
    if experiment.rules:
        rows.append(PreviewRow(_("who takes part"), _("nobody"), _who(experiment.rules)))
    notes = [
        _(
            "From now on, each unit that meets it gets a variant and is recorded. Nothing but the "
            "traffic and further metrics can change after that."
        )
    ]
    if not experiment.primary_metric:
        notes.append(_("There is no primary metric, so there will be no verdict."))
    return AppPreview(rows=rows, notes=notes)


def _stop(experiment: Experiment, _arguments: Mapping[str, Any]) -> AppPreview:
    note = _("No exposure is recorded. “Undo” takes it back.")
    return AppPreview(rows=_change(experiment, State.STOPPED), notes=[note])


def _restart(experiment: Experiment, arguments: Mapping[str, Any]) -> AppPreview:
    note = _(
        "All units get other buckets, and many another variant. The exposures so far are no longer "
        "reported. This cannot be undone."
    )
    return AppPreview(rows=[*_changed_shares(experiment, arguments)], notes=[note])


def _grow(experiment: Experiment, arguments: Mapping[str, Any]) -> AppPreview:
    rows = _changed_shares(experiment, {"traffic_percent": arguments["percent"]})
    note = _("The ratio of the variants stays, and no unit gets another one. It cannot shrink.")
    return AppPreview(rows=[*rows], notes=[note])


def _add_metric(experiment: Experiment, arguments: Mapping[str, Any]) -> AppPreview:
    notes = [_("Only units that are exposed from now on count. A metric that was added stays.")]
    report = None if "tolerated" in arguments else read_report(experiment)[0]
    if report is not None:
        notes.append(_("The intervals of the other metrics get wider."))
        if withdrawn := withdrawn_by_addition(report):
            text = _("No longer significant then: %(results)s.")
            notes.append(text % {"results": local_list(withdrawn)})
    role = _("guardrail") if "tolerated" in arguments else _("other metric")
    return AppPreview(rows=[PreviewRow(arguments["metric"], NONE, role)], notes=notes)


def _force(experiment: Experiment, arguments: Mapping[str, Any]) -> AppPreview:
    unit, bucket = arguments["unit"], _("what its bucket says")
    now = experiment.overrides.get(unit, bucket)
    row = PreviewRow(unit, now, arguments.get("variant") or bucket)
    return AppPreview(rows=[row], notes=[_("A forced unit is not recorded.")], asks=False)


def _ship(experiment: Experiment, arguments: Mapping[str, Any]) -> AppPreview:
    report, error = read_report(experiment)
    notes = []
    if error and experiment.frozen_report is None:
        notes.append(_("A metric cannot be read: %(error)s") % {"error": localized(error)})
    verdicts = report["verdicts"] if report else ()
    if not any(one["outcome"] == "better" for one in verdicts):
        notes.append(
            _("No treatment has been shown to be better, so this is not a decision by the figures.")
        )
    text = _("Guardrail %(metric)s: harm beyond what is tolerated is not excluded.")
    notes += [text % {"metric": one} for one in (possible_harms(report) if report else ())]
    notes.append(
        _("The stored report stays as it is. “Undo” takes it back.")
        if experiment.frozen_report
        else _("The report is stored as it is. “Undo” takes it back, with all exposures.")
    )
    return AppPreview(rows=_change(experiment, State.SHIPPED, arguments["winner"]), notes=notes)


def undone_event(experiment: Experiment) -> ExperimentEvent | None:
    """Returns the stop or the ship that can be undone; None without one. Makes one query."""
    try:
        event = last_decision(experiment)
    except ExperimentError:
        return None
    # Without its exposures, it cannot run again.
    is_lost = experiment.exposures_deleted_at and event.before["state"] == State.RUNNING
    return None if is_lost else event


def _undo(experiment: Experiment, _arguments: Mapping[str, Any]) -> AppPreview:
    event = last_decision(experiment)
    state, winner = State(event.before["state"]), event.before["winner"]
    rows = [
        PreviewRow(_("event"), localized(event.message), _("undone")),
        *_change(experiment, state, winner),
    ]
    is_stored = experiment.frozen_report is not None
    if is_stored and not event.before["has_report"] and experiment.exposures_deleted_at is None:
        rows.append(PreviewRow(_("report"), _("stored"), _("computed from all exposures")))
    notes = [_("All exposures are kept.")]
    if state is State.RUNNING and experiment.winner:
        notes.append(_("Units that met the shipped variant meanwhile stay in the report."))
    return AppPreview(rows=rows, notes=notes)


def _delete(experiment: Experiment, _arguments: Mapping[str, Any]) -> AppPreview:
    names = {"key": experiment.key, "winner": experiment.winner}
    if experiment.state == State.RUNNING:
        raise ExperimentError("the experiment {key} is running; stop it first", key=experiment.key)
    notes = [
        _(
            "It is deleted with its exposures, report and events. Every call gets its default. "
            "This cannot be undone."
        )
    ]
    if experiment.winner:
        text = _("Everyone gets “%(winner)s” now. Remove the experiment from the code first.")
        notes.append(text % names)
    row = PreviewRow(_("state"), str(State(experiment.state).label), _("deleted"))
    return AppPreview(rows=[row], notes=notes)


_PREVIEWS: Mapping[str, Callable[[Experiment, Mapping[str, Any]], AppPreview]] = {
    "edit": _edit,
    "start": _start,
    "grow": _grow,
    "add-metric": _add_metric,
    "restart": _restart,
    "force": _force,
    "stop": _stop,
    "ship": _ship,
    "undo": _undo,
    "delete": _delete,
}
