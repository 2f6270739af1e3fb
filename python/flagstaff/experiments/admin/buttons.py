"""The buttons on the page of an experiment: what each one asks, and what it changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flagstaff._words.rule_text import rules_text
from flagstaff._words.text import localized
from flagstaff.admin.action_page import Button, Confirmation
from flagstaff.admin.confirmation import PreviewRow
from flagstaff.changes.changed import command_line
from flagstaff.exceptions import ExperimentError
from flagstaff.experiments import assigning, lifecycle, metric_settings, undoing
from flagstaff.experiments.admin.button_forms import ForceForm, ShipForm, WeightsForm
from flagstaff.experiments.admin.headline import outcome_text
from flagstaff.experiments.admin.metrics_form import MetricsForm
from flagstaff.experiments.admin.reading import read_report
from flagstaff.experiments.admin.tables import shares_text
from flagstaff.experiments.admin.texts import is_harm_possible
from flagstaff.experiments.models import Experiment, ExperimentEvent, State
from flagstaff.experiments.report_data import Report
from flagstaff.experiments.statistics import Outcome


def buttons_of(experiment: Experiment) -> tuple[Button, ...]:
    """Returns the buttons that the state of an experiment allows."""
    state = State(experiment.state)
    if state is State.DRAFT:
        return (_start(experiment), _WEIGHTS, _METRICS, _FORCE)
    if state is State.RUNNING:
        return (_SHIP, _STOP, _WEIGHTS, _METRICS, _FORCE, _SHUFFLE)
    undo = (_UNDO,) if _undone_event(experiment) else ()
    if state is State.SHIPPED:
        return (_SHIP_ANOTHER, _STOP_SHIPPED, *undo)
    if experiment.frozen_report is not None:
        # It cannot continue, and a ship keeps the report.
        return (_SHIP_STOPPED, *undo, _WEIGHTS, _METRICS, _SHUFFLE)
    return (_CONTINUE, _SHIP, *undo, _WEIGHTS, _METRICS, _SHUFFLE)


def next_button(report: Report) -> str:
    """Returns the name of the button that a verdict suggests; empty without one."""
    # One that is stopped for the first time is rather continued.
    is_left = report.state == State.RUNNING or (
        report.state == State.STOPPED and report.frozen_at is not None
    )
    is_better = any(verdict.outcome is Outcome.BETTER for verdict in report.verdicts)
    return _SHIP.name if is_left and is_better else ""


def _undone_event(experiment: Experiment) -> ExperimentEvent | None:
    """Returns the stop or the ship that can be undone; None without one. Makes one query."""
    try:
        event = undoing.last_decision(experiment)
    except ExperimentError:
        return None
    # Without its exposures, it cannot run again.
    is_lost = experiment.exposures_deleted_at and event.before["state"] == State.RUNNING
    return None if is_lost else event


def _state_row(experiment: Experiment, after: State) -> PreviewRow:
    return PreviewRow(_("state"), str(State(experiment.state).label), str(after.label))


def _present(experiment: Experiment, state: str, winner: str) -> str:
    """Returns who gets what in this state."""
    if state == State.RUNNING:
        return shares_text(experiment)
    if state == State.SHIPPED:
        return _("everyone gets “%(winner)s”") % {"winner": winner}
    return _("every call gets its default")


def _who_gets_what(experiment: Experiment, state: State, winner: str = "") -> PreviewRow:
    """Returns the line of a change to this state."""
    now = _present(experiment, experiment.state, experiment.winner)
    return PreviewRow(_("who gets what"), now, _present(experiment, state, winner))


def _ask_start(experiment: Experiment, _data: Any) -> Confirmation:
    rows = [_state_row(experiment, State.RUNNING), _who_gets_what(experiment, State.RUNNING)]
    if experiment.rules:
        texts = rules_text(experiment.rules) or _("rules that cannot be read")
        rows.append(PreviewRow(_("who takes part"), _("nobody"), texts))
    warnings = []
    if not experiment.primary_metric:
        warnings.append(
            _("There is no primary metric, so there will be no verdict. It can be added later.")
        )
    return Confirmation(rows, warnings=warnings)


def _ask_stop(experiment: Experiment, _data: Any) -> Confirmation:
    return Confirmation(
        [_state_row(experiment, State.STOPPED), _who_gets_what(experiment, State.STOPPED)]
    )


def _ask_undo(experiment: Experiment, _data: Any) -> Confirmation:
    if (event := _undone_event(experiment)) is None:
        return Confirmation()
    state, winner = State(event.before["state"]), event.before["winner"]
    rows = [
        PreviewRow(_("event"), event.message, _("undone")),
        _state_row(experiment, state),
        _who_gets_what(experiment, state, winner),
    ]
    is_stored = experiment.frozen_report is not None
    if is_stored and not event.before["has_report"] and experiment.exposures_deleted_at is None:
        rows.append(PreviewRow(_("report"), _("stored"), _("computed from all exposures")))
    notes = []
    if state is State.RUNNING:
        notes.append(
            _(
                "A new phase begins, with the same buckets. Units that met the shipped variant "
                "meanwhile stay in the report."
            )
            if experiment.winner
            else _("A new phase begins, with the same buckets.")
        )
    return Confirmation(rows, notes=notes)


def _ask_shuffle(experiment: Experiment, _data: Any) -> Confirmation:
    text = _("shuffle %(number)s")
    numbers = (experiment.shuffle, experiment.shuffle + 1)
    return Confirmation(
        [PreviewRow(_("buckets"), *(text % {"number": number} for number in numbers))]
    )


def _ask_ship(experiment: Experiment, data: Any) -> Confirmation:
    report, error = read_report(experiment)
    verdicts = report.verdicts if report is not None else []
    texts = {verdict.treatment: outcome_text(verdict.outcome) for verdict in verdicts}
    # A report that is stored stays.
    fails = bool(error) and experiment.frozen_report is None
    is_better = any(verdict.outcome is Outcome.BETTER for verdict in verdicts)
    if report is not None and is_better:
        texts[report.variants[0]] = _("the report says that another variant is better")
    form = ShipForm(data, experiment=experiment, verdicts=texts, fails=fails)
    rows = [
        _state_row(experiment, State.SHIPPED),
        PreviewRow(
            _("who gets what"),
            _present(experiment, experiment.state, experiment.winner),
            _("everyone gets the same variant"),
        ),
    ]
    warnings = []
    if fails:
        warnings.append(_("A metric cannot be read: %(error)s") % {"error": localized(error)})
    if not is_better:
        warnings.append(
            _("No treatment has been shown to be better, so this is not a decision by the figures.")
        )
    text = _("Guardrail %(metric)s: harm beyond what is tolerated is not excluded.")
    warnings += [
        text % {"metric": metric.metric}
        for metric in (report.metrics if report is not None else [])
        if any(is_harm_possible(one, metric) for one in metric.treatments)
    ]
    return Confirmation(rows, warnings=warnings, form=form)


def _ask_weights(experiment: Experiment, data: Any) -> Confirmation:
    return Confirmation(form=WeightsForm(data, experiment=experiment))


def _ask_metrics(experiment: Experiment, data: Any) -> Confirmation:
    return Confirmation(form=MetricsForm(data, experiment=experiment))


def _ask_force(experiment: Experiment, data: Any) -> Confirmation:
    return Confirmation(form=ForceForm(data, experiment=experiment))


def _ship(key: str, form: ShipForm) -> Experiment:
    given: Mapping[str, Any] = form.cleaned_data
    with_report = not given.get("without_report", False)
    return lifecycle.ship(key, given["winner"], with_report=with_report)


def _set_weights(key: str, form: WeightsForm) -> Experiment:
    traffic = form.cleaned_data["traffic_percent"]
    return assigning.set_weights(key, form.weights(), traffic_percent=traffic)


def _set_metrics(key: str, form: MetricsForm) -> Experiment:
    return metric_settings.set_metrics(key, **form.metrics())


def _force(key: str, form: ForceForm) -> Experiment:
    return assigning.force(key, form.cleaned_data["unit"], form.cleaned_data["variant"] or None)


def _after_ship(key: str) -> str:
    """Returns what is left to do in the code."""
    text = _("Now remove the experiment from the code. This lists where it is: %(command)s")
    return text % {"command": command_line("references", key)}


def _present_values(experiment: Experiment) -> Mapping[str, str]:
    """Returns who gets what after a change, for its message."""
    return {"present": _present(experiment, experiment.state, experiment.winner)}


def _start(experiment: Experiment) -> Button:
    """Returns the button of a draft. What cannot change after the start depends on its metrics."""
    if experiment.primary_metric:
        return _START
    question = gettext_lazy(
        "Start “%(key)s”? From now on, each unit that meets it gets a variant and is recorded. The "
        "planned units and the method cannot change after that."
    )
    return replace(_START, question=question)


_START = Button(
    "start",
    gettext_lazy("Start…"),
    lambda key, _form: lifecycle.start(key),
    gettext_lazy("The experiment “%(key)s” has started."),
    gettext_lazy(
        "Start “%(key)s”? From now on, each unit that meets it gets a variant and is recorded. The "
        "primary metric, the planned units and the method cannot change after that."
    ),
    _ask_start,
    weight="default",
)
_CONTINUE = Button(
    "start",
    gettext_lazy("Continue…"),
    lambda key, _form: lifecycle.start(key),
    gettext_lazy("The experiment “%(key)s” continues."),
    gettext_lazy("Continue “%(key)s”? A new phase begins, with the same buckets."),
    _ask_start,
    weight="default",
)
_STOP = Button(
    "stop",
    gettext_lazy("Stop…"),
    lambda key, _form: lifecycle.stop(key),
    gettext_lazy("The experiment “%(key)s” was stopped: every call gets its default."),
    gettext_lazy(
        "Stop “%(key)s”? Every call gets its default at once, and no exposure is recorded. It can "
        "be continued later."
    ),
    _ask_stop,
    weight="danger",
    is_brake=True,
    undo="undo",
)
_STOP_SHIPPED = replace(
    _STOP,
    question=gettext_lazy(
        "Stop “%(key)s”? Every call gets its default at once, and nobody gets the shipped variant. "
        "The report stays. “Undo” ships it again."
    ),
)
_SHIP = Button(
    "ship",
    gettext_lazy("Ship a variant…"),
    _ship,
    gettext_lazy("The experiment “%(key)s” was shipped: %(present)s."),
    gettext_lazy(
        "Ship a variant of “%(key)s”? Everyone gets it from now on, and the report is stored as it "
        "is. “Undo” takes it back, with all exposures."
    ),
    _ask_ship,
    values=_present_values,
    undo="undo",
    then=_after_ship,
    weight="secondary",
)
_SHIP_STOPPED = replace(
    _SHIP,
    question=gettext_lazy(
        "Ship a variant of “%(key)s”? Everyone gets it from now on. The stored report stays as it "
        "is. “Undo” takes it back."
    ),
)
_SHIP_ANOTHER = replace(
    _SHIP_STOPPED,
    label=gettext_lazy("Ship another variant…"),
    question=gettext_lazy(
        "Ship another variant of “%(key)s”? Everyone gets it from now on. The stored report stays "
        "as it is. “Undo” takes it back."
    ),
)
_UNDO = Button(
    "undo",
    gettext_lazy("Undo…"),
    lambda key, _form: undoing.undo(key),
    gettext_lazy("“%(key)s” is as it was before: %(present)s."),
    gettext_lazy("Undo the last stop or ship of “%(key)s”? All exposures are kept."),
    _ask_undo,
    values=_present_values,
    weight="secondary",
)
_WEIGHTS = Button(
    "weights",
    gettext_lazy("Change weights…"),
    _set_weights,
    gettext_lazy("The weights of “%(key)s” were saved."),
    gettext_lazy(
        "Change the weights of “%(key)s”? While it runs, this begins a phase: the report compares "
        "variants only within a phase. No more units than necessary get another variant; those "
        "of them that have met one before are left out."
    ),
    _ask_weights,
)
_SHUFFLE = Button(
    "shuffle",
    gettext_lazy("Shuffle…"),
    lambda key, _form: assigning.shuffle(key),
    gettext_lazy("The experiment “%(key)s” was shuffled: its report starts again."),
    gettext_lazy(
        "Shuffle “%(key)s”? All units get other buckets, and many another variant. The exposures "
        "so far are no longer reported. This cannot be undone."
    ),
    _ask_shuffle,
)
_METRICS = Button(
    "metrics",
    gettext_lazy("Change metrics…"),
    _set_metrics,
    gettext_lazy("The metrics of “%(key)s” were saved."),
    gettext_lazy("What does “%(key)s” measure, and when is there a verdict?"),
    _ask_metrics,
)
_FORCE = Button(
    "force",
    gettext_lazy("Force a unit…"),
    _force,
    gettext_lazy("The forced units of “%(key)s” were saved."),
    gettext_lazy(
        "Give a unit a variant of “%(key)s”, such as for a test? The unit is not recorded while it "
        "is forced."
    ),
    _ask_force,
)
