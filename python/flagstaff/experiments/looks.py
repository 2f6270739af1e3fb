"""What the actions of experiments would do: what changes, and what cannot be taken back.

Who gets a variant is said as a share of all units: those to come are more than any count. A row
that cannot be read has no form, so no argument is required: its look says what is wrong.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from copy import copy
from typing import Any

from django.db.models import Count, OuterRef, Subquery

from flagstaff._tables.database import Reading, db
from flagstaff._text import Sentence, localized, say
from flagstaff.actions.table import Line, Look, Present
from flagstaff.changes.consequence import Consequence, text_for_many
from flagstaff.changes.impact import limited
from flagstaff.exceptions import ExperimentError, FlagstaffError
from flagstaff.experiments import editing, lifecycle
from flagstaff.experiments.editing import changed_texts, columns_of, set_columns, settings_of
from flagstaff.experiments.models import Experiment, ExperimentEvent, Exposure, State
from flagstaff.experiments.records import SETTINGS, setting_texts, shares_text
from flagstaff.experiments.report_rows import NONE, percent_text, possible_harms, verdict_text
from flagstaff.experiments.reporting import read_report, stop_alpha
from flagstaff.experiments.requirements import refusal, require_now, require_variant
from flagstaff.experiments.rows import find, newest_event
from flagstaff.experiments.statistics.sequential import ALPHA
from flagstaff.experiments.variants import shares_of
from flagstaff.history.describe import HasPermissions

#: What an action stands on: the newest event, or only the run, so that no other one is stopped.
EXPECT_EVENT, RUN = "expect_event", "run"
_ALL, _HALF = 100, 50
# Seconds for the count of units: before a stop, which nothing delays, it is short.
_COUNT, _SHORT_COUNT = 1.0, 0.3


def present(keys: Collection[str]) -> Reading:
    """Reads experiments, and by what their actions would be refused now: the event, or the run."""
    events = db.rows(ExperimentEvent).filter(experiment=OuterRef("pk")).order_by("-id")
    newest = Subquery(events.values("id")[:1])
    rows = yield db.rows(Experiment).filter(key__in=keys).annotate(event=newest)
    return {
        row.key: Present([row], {EXPECT_EVENT: row.event or 0, RUN: [f"{row.pk} {row.started_at}"]})
        for row in rows
    }


def look_at_creation(key: str, *, viewer: HasPermissions | None = None, **settings: Any) -> Look:
    """The variants, and who takes part."""
    experiment = Experiment(key=key)
    usual = {"variants": ("control", "treatment")}
    set_columns(experiment, columns_of(**settings_of({**usual, **settings})))
    texts = setting_texts(experiment)
    lines = [Line(str(SETTINGS[name]), NONE, texts[name]) for name in ("variants", "rules")]
    return Look(lines=lines, rows=[Experiment])


def look_at_edit(key: str, *, viewer: HasPermissions | None = None, **settings: Any) -> Look:
    """The settings that change."""
    experiment = _experiment(key, "edit")
    return Look(lines=[*_edited(experiment, settings)], asks=False, rows=[experiment])


def look_at_start(key: str, *, viewer: HasPermissions | None = None) -> Look:
    """Who takes part, and gets what."""
    experiment = _experiment(key, "start")
    lines = [*_to_state(experiment, State.RUNNING)]
    if experiment.rules:
        lines.append(
            Line(
                say("who takes part").local, say("nobody").local, setting_texts(experiment)["rules"]
            )
        )
    notes = [
        say(
            "From now on, each unit that meets it gets a variant and is recorded. After that, you "
            "can only raise the traffic, add metrics and force units. Other variants or less "
            "traffic need a restart."
        ).local
    ]
    if experiment.state == State.STOPPED:
        notes.insert(0, say("It continues: all units keep their variants and exposures.").local)
    if not experiment.primary_metric:
        notes.append(say("There is no primary metric, so there will be no verdict.").local)
    return _giving(experiment, experiment.traffic_percent, lines, notes, question=f"Start {key}?")


def look_at_growth(key: str, percent: int = 0, *, viewer: HasPermissions | None = None) -> Look:
    """How many more units take part."""
    experiment = _experiment(key, "grow")
    editing.require_growth(experiment, percent)
    note = say("The ratio of the variants stays. The traffic cannot shrink without a restart.")
    question = (
        f"Let {percent} % instead of {experiment.traffic_percent} % of all units take part in "
        f"{key}?"
    )
    lines = _edited(experiment, {"traffic_percent": percent})
    return _giving(
        experiment, percent, [*lines], [localized(note)], question=question, asks_always=True
    )


def look_at_addition(
    key: str,
    metric: str = "",
    tolerated: float | None = None,
    *,
    viewer: HasPermissions | None = None,
) -> Look:
    """The metric, and what it does to the results of the others."""
    experiment = _experiment(key, "add-metric")
    notes = [say("Only units that are exposed from now on count. A metric that was added stays.")]
    if tolerated is None:
        notes.append(
            say("The corrected p values of the others rise, so a result may be withdrawn.")
        )
    elif experiment.guardrails:
        notes.append(
            say(
                "All guardrails together have {alpha}: each stops at {after} instead of {before}, "
                "so a stop may be withdrawn.",
                alpha=percent_text(ALPHA),
                before=percent_text(stop_alpha(experiment)),
                after=percent_text(stop_alpha(experiment, more=1)),
            )
        )
    role = say("other metric").local if tolerated is None else say("guardrail").local
    return Look(
        lines=[Line(metric, NONE, role)],
        notes=[*map(localized, notes)],
        asks=True,
        asks_always=True,
        question=f"Measure {metric} in {key}, too?",
        rows=[experiment],
    )


def look_at_restart(
    key: str,
    variants: Sequence[str] | None = None,
    traffic_percent: int | None = None,
    *,
    viewer: HasPermissions | None = None,
) -> Look:
    """Which settings change, and what is lost."""
    experiment = _experiment(key, "restart")
    settings = {"variants": variants, "traffic_percent": traffic_percent}
    changed = {name: value for name, value in settings.items() if value is not None}
    percent = experiment.traffic_percent if traffic_percent is None else traffic_percent
    variants_after = columns_of(**settings_of(changed)).get("variants", experiment.variants)
    shares = shares_of(variants_after).items()
    notes = [
        _moved_text(
            experiment,
            say("About {count} of {units} units that met a variant get another one, or none."),
            kept={variant: share * percent / _ALL for variant, share in shares},
        ),
        say("All units get other buckets. This cannot be undone."),
        say("The exposures so far are no longer reported."),
    ]
    return _giving(
        experiment,
        percent,
        [*_edited(experiment, changed)],
        [*map(localized, notes)],
        question=f"Restart {key}?",
        asks_always=True,
    )


def look_at_force(
    key: str, unit: str = "", variant: str | None = None, *, viewer: HasPermissions | None = None
) -> Look:
    """What the unit gets."""
    experiment, bucket = _experiment(key, "force"), say("what its bucket says").local
    line = Line(unit, experiment.overrides.get(unit, bucket), variant or bucket)
    notes = [say("A forced unit is not recorded.").local]
    return Look(lines=[line], notes=notes, rows=[experiment])


def look_at_stop(key: str, *, viewer: HasPermissions | None = None) -> Look:
    """Every call gets its default."""
    experiment = _experiment(key, "stop")
    notes = [say("After the stop, no exposure is recorded. “Undo” takes the stop back.")]
    if experiment.state == State.RUNNING:
        text = say("{units} units that met a variant get the default instead.")
        notes.insert(0, _moved_text(experiment, text, timeout=_SHORT_COUNT))
    if experiment.state == State.SHIPPED:
        text = say("All units get the default instead of “{winner}”.", winner=experiment.winner)
        notes.insert(0, text)
        if experiment.exposures_deleted_at is None:
            text = say("{units} of them met a variant before the ship.")
            notes.insert(1, _moved_text(experiment, text, timeout=_SHORT_COUNT))
    lines = [*_to_state(experiment, State.STOPPED)]
    return Look(lines=lines, notes=[*map(localized, notes)], rows=[experiment])


def look_at_ship(key: str, winner: str = "", *, viewer: HasPermissions | None = None) -> Look:
    """The verdict, and which harm is possible. Computes the report."""
    experiment, notes = _experiment(key, "ship"), list[Sentence]()
    require_variant(experiment, winner)
    text = say("{count} of {units} units that met a variant get another one.")
    notes.append(_moved_text(experiment, text, kept={winner: 1.0}))
    report, error = read_report(experiment)
    if error:
        notes.append(say("No report will be stored: {error}", error=error))
    if report is not None:
        for verdict in report["verdicts"]:
            outcome = verdict_text(report, verdict)
            notes.append(
                say("{treatment}: {outcome}.", treatment=verdict["treatment"], outcome=outcome)
            )
        if not any(verdict["outcome"] == "better" for verdict in report["verdicts"]):
            notes.append(say("No treatment has been shown to be better."))
        notes += possible_harms(report, winner)
    return _giving(
        experiment,
        _ALL,
        [*_to_state(experiment, State.SHIPPED, winner)],
        [*map(localized, notes)],
        share=say("All units get {variant}.", variant=winner),
        question=f"Ship {winner} to all units of {key}?",
        asks_always=True,
    )


def look_at_undo(key: str, *, viewer: HasPermissions | None = None) -> Look:
    """The decision that is taken back, and what becomes of the report."""
    experiment = _experiment(key, "undo")
    decision = lifecycle.last_decision(experiment)
    before = decision.before
    notes = [say("All exposures are kept.")]
    if before["state"] == State.RUNNING and experiment.winner:
        notes.append(say("Units that met the shipped variant meanwhile stay in the report."))
    lines = [
        Line(say("event").local, localized(decision.message), say("undone").local),
        *_to_state(experiment, State(before["state"]), before["winner"]),
    ]
    is_stored = experiment.frozen_report is not None
    if is_stored and not before["has_report"] and experiment.exposures_deleted_at is None:
        lines.append(
            Line(say("report").local, say("stored").local, say("computed from all exposures").local)
        )
    return Look(
        lines=lines,
        notes=[*map(localized, notes)],
        asks=True,
        asks_always=True,
        question=f"Undo “{decision.message}” of {key}? It is {before['state']} again.",
        rows=[experiment],
    )


def look_at_deletion(key: str, *, viewer: HasPermissions | None = None) -> Look:
    """What is lost for good."""
    experiment = _experiment(key, "delete")
    notes = [
        say(
            "Its exposures and its report are deleted, too; its events stay among the recent "
            "changes. This cannot be undone."
        )
    ]
    if winner := experiment.winner:
        text = say("Everyone gets “{winner}” now: remove the experiment from the code first.")
        notes.append(say(text, winner=winner))
    return Look(
        lines=[Line(say("state").local, str(State(experiment.state).label), say("deleted").local)],
        notes=[*map(localized, notes)],
        asks=True,
        asks_always=True,
        question=f"Delete the experiment {key}?",
        rows=[experiment],
    )


def undone_event(experiment: Experiment) -> ExperimentEvent | None:
    """Returns the stop or the ship that can be undone; None without one. Makes one query."""
    try:
        event = lifecycle.last_decision(experiment)
    except ExperimentError:
        return None
    # Without its exposures, it cannot run again.
    is_lost = experiment.exposures_deleted_at and event.before["state"] == State.RUNNING
    return None if is_lost else event


def can_continue(experiment: Experiment) -> bool:
    """Whether a start continues an experiment that was stopped."""
    return experiment.state == State.STOPPED and refusal(experiment, "start") is None


def ways_back(experiment: Experiment) -> Sentence | str:
    """Returns what can be done with an experiment that has ended. Makes a query."""
    if can_continue(experiment):
        return say(
            "“Start” continues it with the units that it already has. “Restart” begins anew and "
            "assigns all units to variants again."
        )
    has_ended = experiment.state in {State.STOPPED, State.SHIPPED}
    if not has_ended or (event := undone_event(experiment)) is None:
        return ""
    return say("After “Undo”, it is {state} again.", state=say(event.before["state"]))


def _experiment(key: str, action: str) -> Experiment:
    experiment = find(key)
    require_now(experiment, action)
    return experiment


def _giving(  # noqa: PLR0913 (what is given, to whom, and what is asked)
    experiment: Experiment,
    percent: int,
    lines: Sequence[Line],
    notes: Sequence[str],
    *,
    question: str,
    share: Sentence | None = None,
    asks_always: bool = False,
) -> Look:
    """Returns the look at an action that gives variants to a share of all units."""
    return Look(
        expected={experiment.key: {EXPECT_EVENT: newest_event(experiment)}},
        lines=lines,
        share=share or say("{percent} % of all units take part.", percent=percent),
        consequence=Consequence.MOST if percent > _HALF else Consequence.MORE,
        notes=notes,
        asks=True,
        typed=text_for_many([experiment.key]) if percent > _HALF else "",
        asks_always=asks_always,
        question=question,
        rows=[experiment],
    )


def _moved_text(
    experiment: Experiment,
    text: Sentence,
    *,
    kept: Mapping[str, float] | None = None,
    timeout: float = _COUNT,
) -> Sentence:
    """Returns how many units get something else; `kept` is the share of a variant that keeps it.

    A query, for at most `timeout` seconds.
    """
    exposures = db.rows(Exposure).filter(experiment_id=experiment.pk, run=experiment.run)
    try:
        with limited(timeout):
            units = dict(exposures.values_list("variant").annotate(Count("unit")).order_by())
    except FlagstaffError:
        return say("There are too many units to count them in time.")
    if not units:
        return say("No unit has met a variant yet.")
    moved = sum(count * (1 - (kept or {}).get(variant, 0.0)) for variant, count in units.items())
    return say(text, count=round(moved), units=sum(units.values()))


def _edited(experiment: Experiment, settings: Mapping[str, Any]) -> Iterator[Line]:
    """Yields the settings that change."""
    _is_changed, texts = changed_texts(copy(experiment), columns_of(**settings_of(settings)))
    yield from (Line(name, old, new) for name, old, new in texts)


def _to_state(experiment: Experiment, after: State, winner: str = "") -> Iterator[Line]:
    """Yields the lines of a change to another state."""
    present = State(experiment.state)
    yield Line(say("state").local, str(present.label), str(after.label))
    yield Line(
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
