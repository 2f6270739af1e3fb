"""What the page of an experiment says first: its state, its verdicts, and what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._engine.forced_off import VARIABLE
from flagstaff._words.text import local_number
from flagstaff.admin.words import badge
from flagstaff.experiments.admin.texts import count_text, p_sentence, time_text
from flagstaff.experiments.models import State
from flagstaff.experiments.report_data import Report, VerdictReport
from flagstaff.experiments.statistics import Outcome, Statement
from flagstaff.experiments.words import OUTCOMES, STATEMENTS, missing_text

# A trend is no result, so its figures are no headline.
_RESULTS = {Outcome.BETTER, Outcome.WORSE, Outcome.NO_DIFFERENCE}


@dataclass(frozen=True)
class Headline:
    """The verdict on one treatment."""

    treatment: str
    outcome: SafeString
    #: The figures of the primary metric; empty before there is a result.
    figures: str
    may: list[str]
    may_not: list[str]
    missing: str
    harmed: str


def headlines(report: Report, figures: Mapping[str, str]) -> list[Headline]:
    """Returns the verdict on each treatment. `figures` are those of the primary metric."""
    return [_headline(one, report, figures) for one in report.verdicts]


def outcome_label(outcome: Outcome) -> SafeString:
    """Returns the outcome of a verdict as a coloured label."""
    return badge(outcome.value, outcome_text(outcome))


def outcome_text(outcome: Outcome) -> str:
    """Returns the outcome of a verdict in words."""
    return str(OUTCOMES[outcome])


def state_sentence(report: Report) -> str:
    """Returns the state as one sentence."""
    values = {
        "started": time_text(report.started_at),
        "ended": time_text(report.ended_at),
        "winner": report.winner,
        "phase": local_number(max((one.number for one in report.phases), default=0)),
    }
    texts = {
        State.DRAFT: _("Not started: every call gets its default, and no exposure is recorded."),
        State.RUNNING: _("Started %(started)s, phase %(phase)s."),
        State.STOPPED: _("Stopped %(ended)s: every call gets its default."),
        State.SHIPPED: _("Shipped %(ended)s: everyone gets “%(winner)s”."),
    }
    return texts[State(report.state)] % values


def mismatch_notice(report: Report) -> SafeString | None:
    """Returns what is wrong with the shares, and what to look for; None if they are right."""
    if not report.has_mismatch:
        return None
    counts = report.exposures
    text = _("%(variant)s: %(seen)s units, %(expected)s expected")
    seen = format_html_join(
        "",
        "<li>{}</li>",
        (
            [
                text
                % {
                    "variant": variant,
                    "seen": count_text(units),
                    "expected": count_text(counts.expected[variant]),
                }
            ]
            for variant, units in counts.units.items()
        ),
    )
    return format_html(
        '<p><strong>{}</strong></p><ul class="flagstaff-list">{}</ul><p>{}</p><p>{}</p><p>{}</p>',
        _("The shares of the variants are wrong (sample-ratio mismatch): %(p)s.")
        % {"p": p_sentence(counts.mismatch_p_value)},
        seen,
        STATEMENTS[Statement.SHARES_ARE_WRONG],
        _("No figure of a metric is shown, because none would be valid."),
        _repair(report),
    )


def _repair(report: Report) -> str:
    """Returns the next step if the shares are wrong; empty if the units are no longer counted."""
    if report.state == State.RUNNING:
        return _(
            "Repair the cause, then press “Shuffle…”: the units so far stay wrong. Until then, "
            "“Stop…” returns the default to all."
        )
    if report.state == State.STOPPED and report.frozen_at is None:
        return _("Repair the cause, then press “Shuffle…”: the units so far stay wrong.")
    return ""


def notes(report: Report) -> list[str]:
    """Returns what is missing or left out in the report, as sentences."""
    counts = report.exposures
    found = []
    if report.forced_off:
        text = _("Forced off in this process by %(variable)s: every call returns its default.")
        found.append(text % {"variable": VARIABLE})
    if lost := counts.lost:
        text = ngettext(
            "%(count)s exposure was lost, because too many waited in a worker. The units may be "
            "recorded later.",
            "%(count)s exposures were lost, because too many waited in a worker. The units may be "
            "recorded later.",
            lost,
        )
        found.append(text % {"count": local_number(lost)})
    if left_out := counts.left_out:
        text = ngettext(
            "%(count)s new visitor was left out, because a worker reached NEW_VISITORS_PER_HOUR.",
            "%(count)s new visitors were left out, because a worker reached NEW_VISITORS_PER_HOUR.",
            left_out,
        )
        found.append(text % {"count": local_number(left_out)})
    if workers := counts.workers_without_last_report:
        text = ngettext(
            "%(count)s worker ended without its last report: the exposures of its last interval "
            "may be missing.",
            "%(count)s workers ended without their last reports: the exposures of their last "
            "intervals may be missing.",
            workers,
        )
        found.append(text % {"count": local_number(workers)})
    if moved := counts.met_two_variants:
        text = ngettext(
            "%(count)s unit met two variants. It is left out of all figures.",
            "%(count)s units met two variants. They are left out of all figures.",
            moved,
        )
        found.append(text % {"count": local_number(moved)})
    if moved := counts.moved:
        text = ngettext(
            "A change of weights moved %(count)s unit. It is left out of all figures.",
            "A change of weights moved %(count)s units. They are left out of all figures.",
            moved,
        )
        found.append(text % {"count": local_number(moved)})
    return found


def _headline(verdict: VerdictReport, report: Report, figures: Mapping[str, str]) -> Headline:
    outcome = verdict.outcome
    # The notice above says the same in more words.
    hidden = {Statement.SHARES_ARE_WRONG, Statement.NO_FIGURE_IS_VALID}
    return Headline(
        treatment=verdict.treatment,
        outcome=outcome_label(outcome),
        figures=figures.get(verdict.treatment, "") if outcome in _RESULTS else "",
        may=_statements(set(verdict.may_conclude) - hidden),
        may_not=_statements(set(verdict.may_not_conclude) - hidden),
        missing=missing_text(verdict, report.settings.method, local_number),
        harmed=", ".join(verdict.harmed),
    )


def _statements(found: set[Statement]) -> list[str]:
    return [str(text) for statement, text in STATEMENTS.items() if statement in found]
