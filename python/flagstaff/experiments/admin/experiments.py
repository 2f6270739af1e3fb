"""The admin of experiments: the list, the page with the report, and the lines of the overview."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, cast

from django.contrib import admin
from django.contrib.admin import AdminSite
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from flagstaff._engine import forced_off
from flagstaff._tables.database import db
from flagstaff._text import local_list, localized, say
from flagstaff._text.rules import sentence
from flagstaff._text.times import aware
from flagstaff.actions import Action
from flagstaff.admin.action_page import ArgumentForm
from flagstaff.admin.links import overview_line
from flagstaff.admin.parts import AppPages, Head, Level, Note, OverviewLine, Section
from flagstaff.admin.row_page import AppRowAdmin
from flagstaff.admin.rules.sentences import rules_html
from flagstaff.admin.words import (
    COLOURS,
    as_of,
    badge,
    facts_html,
    joined,
    time_cell,
    two_lines,
)
from flagstaff.experiments.actions import EXPERIMENT
from flagstaff.experiments.admin import report as reports
from flagstaff.experiments.admin.fields import initial_settings, prepare_fields
from flagstaff.experiments.jobs import verdict_of
from flagstaff.experiments.looks import can_continue, undone_event, ways_back
from flagstaff.experiments.models import Experiment, ExperimentEvent, State, StoredVerdict
from flagstaff.experiments.records import SETTINGS, setting_texts, shares_text
from flagstaff.experiments.report_data import Report
from flagstaff.experiments.report_rows import notes
from flagstaff.experiments.reporting import read_report
from flagstaff.experiments.requirements import refusal
from flagstaff.experiments.rows import newest_event
from flagstaff.experiments.verdict import Outcome, outcome_text
from flagstaff.history.deleted import deleted_rows

if TYPE_CHECKING:
    from django.contrib.admin.options import _ListDisplayT, _ListFilterT
    from django.utils.datastructures import _ListOrTuple

_MAX_FORCED = 50


class ExperimentAdmin(AppRowAdmin):
    """Experiments: the list, the page of each with its report, and the pages of its actions."""

    app_kind = EXPERIMENT
    docs_page = "how-to/experiments/"

    list_display: _ListDisplayT[Experiment] = (
        "experiment",
        "shown_state",
        "verdict",
        "started",
    )
    list_display_links = ("experiment",)
    list_filter: ClassVar[_ListOrTuple[_ListFilterT]] = ("state",)
    search_fields: ClassVar[_ListOrTuple[str]] = ("key", "description")

    # The list.

    def get_queryset(self, request: HttpRequest) -> QuerySet[Experiment]:
        """All experiments of the flags' database."""
        # Frozen reports are large, and the list shows none.
        return super().get_queryset(request).defer("frozen_report").select_related("stored_verdict")

    @admin.display(description=say("experiment").lazy, ordering="key")
    def experiment(self, experiment: Experiment) -> SafeString:
        """The key, with the description as its tooltip, and the variants."""
        key = format_html(
            '<span class="flagstaff-key" title="{}">{}</span>',
            experiment.description,
            experiment.key,
        )
        return two_lines(key, "" if experiment.problem else shares_text(experiment))

    @admin.display(description=say("state").lazy, ordering="state")
    def shown_state(self, experiment: Experiment) -> SafeString:
        """The state, and the variant that was shipped."""
        winner = experiment.winner
        note = say("everyone gets “{winner}”", winner=winner).local if winner else ""
        label = state_label(experiment.state)
        if experiment.key in forced_off.keys:
            forced = badge("forced off", say("forced off").local, title=forced_off.VARIABLE)
            label = format_html("{} {}", label, forced)
        return two_lines(label, note)

    @admin.display(description=say("verdict").lazy)
    def verdict(self, experiment: Experiment) -> str:
        """The last verdict of a running experiment, or what is wrong, in red."""
        if experiment.state != State.RUNNING and not experiment.problem:
            return ""
        level, label, text = next(verdict_lines(experiment, aware(timezone.now())))
        shown = "" if level is Level.RUNNING else label
        return two_lines(shown, text)

    @admin.display(description=say("started").lazy, ordering="started_at")
    def started(self, experiment: Experiment) -> str:
        """The time since the start."""
        return time_cell(experiment.started_at)

    # The page.

    def events(self, row: Experiment) -> QuerySet[ExperimentEvent]:
        """What has happened to the experiment."""
        return db.rows(ExperimentEvent).filter(experiment_id=row.pk)

    def prepare_form(
        self, form: ArgumentForm, request: HttpRequest, action: Action, row: Any
    ) -> None:
        """An editor of rules, and choices."""
        prepare_fields(form, self.admin_site, request, row)

    def initial_arguments(self, request: HttpRequest, action: Action, row: Any) -> dict[str, Any]:
        """What is usual; for a draft what it has."""
        return initial_settings(row)

    def version(self, row: Experiment) -> str:
        """A text that differs after each change. Makes a query."""
        return str(newest_event(row))

    def is_offered(self, request: HttpRequest, action: Action, row: Experiment) -> bool:
        """What the state of the experiment allows."""
        if refusal(row, action.name):
            return False
        if action.name == "undo":
            # What was stopped while it ran is started again.
            return undone_event(row) is not None and not can_continue(row)
        return action.name != "stop" or row.state not in {State.DRAFT, State.STOPPED}

    def head(self, request: HttpRequest, row: Experiment) -> Head:
        """The state and the verdict, what comes next, and what somebody must look at."""
        report, error = _report_of(row)
        about = (row.description, reports.state_sentence(row), localized(ways_back(row)))
        alarms = []
        if row.problem:
            alarms.append(sentence(row.problem))
        elif error and (report is None or not report["has_mismatch"]):
            text = (
                say("There is no verdict: {error}")
                if report
                else say("There is no report: {error}")
            )
            alarms.append(say(text, error=error).local)
        if report and report["has_mismatch"]:
            alarms.append(reports.mismatch_notice(report))
        verdicts = reports.verdict_lines(report) if report and row.state != State.DRAFT else ()
        quiet = '<small class="flagstaff-quiet">{}</small>'
        return Head(
            state=(COLOURS[row.state], _state_text(row)),
            lines=[
                *verdicts,
                format_html(quiet, " · ".join(filter(None, about))),
            ],
            main=_next_action(row, report),
            beside=("start", "ship", "stop"),
            others=["undo"],
            notes=[
                *(Note(text, Level.PROBLEM) for text in alarms),
                *(Note(text, Level.NOTICE) for text in (notes(report) if report else ())),
            ],
        )

    def sections(self, request: HttpRequest, row: Experiment) -> Iterator[Section]:
        """What the metrics mean, the metrics, the units, and the settings."""
        report, _error = _report_of(row)
        if report and row.state != State.DRAFT:
            yield reports.conclusions(report)
            yield reports.metrics(report)
            yield reports.before(report)
            yield reports.units(report)
        if not row.problem:
            yield self._settings(request, row)

    def _settings(self, request: HttpRequest, row: Experiment) -> Section:
        """What does not change after the start."""
        texts = setting_texts(row)
        if row.rules:
            texts["rules"] = rules_html(row.rules, self.admin_site, request)
        lines = [(label, texts[name]) for name, label in SETTINGS.items() if name != "description"]
        forced = [f"{unit}: {variant}" for unit, variant in row.overrides.items()]
        if forced:
            lines.append((say("Forced units").local, local_list(forced, _MAX_FORCED)))
        html, actions = facts_html(lines), ("edit", "force", "delete")
        if row.state != State.DRAFT:
            summary = joined(" · ", [texts["variants"], texts["bucket_by"], texts["primary"]])
            html = format_html("<details><summary>{}</summary>{}</details>", summary, html)
        return Section(say("Settings").local, html, actions)


# The head of the page.


def _report_of(row: Any) -> tuple[Report | None, str]:
    """Returns the report, which is made once for a page."""
    if not hasattr(row, "shown_report"):
        report, error = read_report(row)
        row.shown_report = report, str(localized(error))
    return cast("tuple[Report | None, str]", row.shown_report)


def _state_text(row: Experiment) -> str:
    label = str(State(row.state).label)
    if row.state == State.RUNNING:
        label = f"{label}, {day_text(row, aware(timezone.now()))}"
    forced = say("forced off").local
    return f"{label}, {forced}" if row.key in forced_off.keys else label


def _next_action(row: Experiment, report: Report | None) -> str:
    """Returns the action that has the filled button; an empty text for none."""
    if row.state == State.RUNNING:
        verdicts = report["verdicts"] if report else ()
        return "ship" if any(verdict["outcome"] == "better" for verdict in verdicts) else "stop"
    return "start" if row.state != State.SHIPPED and row.frozen_report is None else ""


# The last verdicts, for the list and the overview.

# What a person decides or corrects. The most urgent outcome of an experiment is its label.
_LEVELS = {
    Outcome.MISMATCH: Level.PROBLEM,
    Outcome.HARM: Level.PROBLEM,
    Outcome.GUARDRAIL_FAILED: Level.PROBLEM,
    Outcome.WORSE: Level.PROBLEM,
    Outcome.BETTER: Level.NOTICE,
    Outcome.NO_DIFFERENCE: Level.NOTICE,
    Outcome.UNDECIDED: Level.RUNNING,
    Outcome.TOO_EARLY: Level.RUNNING,
}


def state_label(state: str) -> SafeString:
    """Returns the state as a coloured label."""
    return badge(state, State(state).label)


def _search_texts(experiments: Sequence[Experiment]) -> list[tuple[str, str]]:
    return [(state_label(each.state), each.description) for each in experiments]


def overview_lines(site: AdminSite, request: HttpRequest) -> list[OverviewLine]:
    """Returns the lines, by key. Makes one query."""
    shown = site.get_model_admin(Experiment).get_queryset(request)
    running = shown.filter(state=State.RUNNING)
    now = aware(timezone.now())
    return [
        overview_line(site, experiment, text, level, label)
        for experiment in running.order_by("key")
        for level, label, text in verdict_lines(experiment, now)
    ]


def verdict_lines(experiment: Experiment, now: datetime) -> Iterator[tuple[Level, str, str]]:
    """Yields the level, the label and the text of each line of a running experiment.

    For one that cannot be read, in any state, yields why.
    """
    if problem := experiment.problem:
        yield Level.PROBLEM, badge("no verdict", say("no verdict").local), localized(problem)
        return
    running, day = state_label(State.RUNNING), day_text(experiment, now)
    stored = verdict_of(experiment)
    if stored is None:
        yield (
            Level.RUNNING,
            running,
            say("{day}. No verdict yet: run-jobs has not run since the start.", day=day).local,
        )
        return
    verdict, time = _verdict(experiment, stored), as_of(stored.at)
    outcomes = [outcome for outcome in _LEVELS if outcome.value in stored.outcomes.values()]
    if stored.problem:
        yield Level.PROBLEM, badge("no verdict", say("no verdict").local), f"{verdict}, {time}"
    elif outcomes and (level := _LEVELS[outcomes[0]]) is not Level.RUNNING:
        # Of one treatment, the label says it already.
        details = verdict if len(stored.outcomes) > 1 else day
        yield level, _outcome_label(experiment, outcomes[0]), f"{details}, {time}"
    yield Level.RUNNING, running, f"{day}: {verdict}, {time}"


def _outcome_label(experiment: Experiment, outcome: Outcome) -> SafeString:
    """Returns an outcome as a coloured label; amber if the guardrails may spoil it."""
    colour = Outcome.UNDECIDED if _may_harm(experiment, outcome.value) else outcome
    return badge(colour.value, _outcome_text(experiment, outcome.value))


def _verdict(experiment: Experiment, stored: StoredVerdict) -> str:
    """Returns the outcome; with several treatments, that of each."""
    if stored.problem:
        return stored.problem
    texts = {arm: _outcome_text(experiment, outcome) for arm, outcome in stored.outcomes.items()}
    if len(texts) == 1:
        return next(iter(texts.values()))
    return "; ".join(f"{arm}: {text}" for arm, text in texts.items())


def _outcome_text(experiment: Experiment, outcome: str) -> str:
    if _may_harm(experiment, outcome):
        return say("the treatment is better: look at its guardrails").local
    return outcome_text(outcome)


def _may_harm(experiment: Experiment, outcome: str) -> bool:
    """Whether a guardrail may be harmed by a better treatment: no stored verdict says so."""
    return outcome == Outcome.BETTER.value and bool(experiment.guardrails)


def day_text(experiment: Experiment, now: datetime) -> str:
    """Returns the day of an experiment since its start, such as "Day 3"."""
    started = aware(experiment.started_at) if experiment.started_at else now
    return say("Day {number}", number=max((now - started).days, 0) + 1).local


PAGES = AppPages(
    Experiment,
    ExperimentEvent,
    "experiment",
    _search_texts,
    overview_lines,
    lambda _site, _request: deleted_rows(Experiment),
)
