"""The last verdicts of running experiments, for the overview and the list."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString

from flagstaff._text import localized, say
from flagstaff._text.times import aware
from flagstaff.admin.app_pages import AppPages, Level, OverviewLine
from flagstaff.admin.links import page_url
from flagstaff.admin.words import as_of, badge
from flagstaff.experiments.admin.report import outcome_label
from flagstaff.experiments.jobs import verdict_of
from flagstaff.experiments.models import Experiment, ExperimentEvent, State, StoredVerdict
from flagstaff.experiments.verdict import Outcome, outcome_text

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


def _search_texts(experiment: Experiment) -> tuple[SafeString, str]:
    return state_label(experiment.state), experiment.description


def overview_lines(site: AdminSite, request: HttpRequest) -> list[OverviewLine]:
    """Returns the lines, by key. Makes one query."""
    shown = site.get_model_admin(Experiment).get_queryset(request)
    running = shown.filter(state=State.RUNNING)
    now = aware(timezone.now())
    return [
        OverviewLine(
            experiment.key,
            text,
            level,
            page_url(site, Experiment, "change", experiment.pk),
            label,
            str(Experiment._meta.verbose_name),
        )
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
    verdict, time = _verdict(stored), as_of(stored.at)
    outcomes = [outcome for outcome in _LEVELS if outcome.value in stored.outcomes.values()]
    if stored.problem:
        yield Level.PROBLEM, badge("no verdict", say("no verdict").local), f"{verdict}, {time}"
    elif outcomes and (level := _LEVELS[outcomes[0]]) is not Level.RUNNING:
        # Of one treatment, the label says it already.
        details = verdict if len(stored.outcomes) > 1 else day
        yield level, outcome_label(outcomes[0].value), f"{details}, {time}"
    yield Level.RUNNING, running, f"{day}: {verdict}, {time}"


def _verdict(stored: StoredVerdict) -> str:
    """Returns the outcome; with several treatments, that of each."""
    if stored.problem:
        return stored.problem
    if len(stored.outcomes) == 1:
        return outcome_text(next(iter(stored.outcomes.values())))
    texts = (f"{arm}: {outcome_text(outcome)}" for arm, outcome in stored.outcomes.items())
    return "; ".join(texts)


def day_text(experiment: Experiment, now: datetime) -> str:
    """Returns the day of an experiment since its start, such as "Day 3"."""
    started = aware(experiment.started_at) if experiment.started_at else now
    return say("Day {number}", number=max((now - started).days, 0) + 1).local


PAGES = AppPages(Experiment, ExperimentEvent, "experiment", _search_texts, overview_lines)
