"""The sentences of a report: what may and what may not be concluded."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from django.utils.functional import Promise
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from flagstaff._words.text import local_number
from flagstaff.experiments.report_data import MissingUnits, Report, VerdictReport
from flagstaff.experiments.statistics import Outcome, Statement

OUTCOMES: dict[Outcome, str | Promise] = {
    Outcome.MISMATCH: _("no verdict: the shares are wrong"),
    Outcome.TOO_EARLY: _("too early for a verdict"),
    Outcome.HARM: _("stop: a guardrail got worse"),
    Outcome.GUARDRAIL_FAILED: _("no verdict: a guardrail fails"),
    Outcome.BETTER: _("the treatment is better"),
    Outcome.WORSE: _("the treatment is worse"),
    Outcome.NO_DIFFERENCE: _("no difference was found"),
    Outcome.UNDECIDED: _("undecided"),
}

STATEMENTS: dict[Statement, str | Promise] = {
    Statement.SHARES_ARE_WRONG: _(
        "The variants do not have the shares that their weights give. Look for robots, for a page "
        "that fails in one variant before the variant is recorded, and for redirects that lose "
        "units."
    ),
    Statement.GUARDRAIL_GOT_WORSE: _("A guardrail got worse by more than is tolerated."),
    Statement.TREATMENT_IS_BETTER: _("The treatment is better than the control in this metric."),
    Statement.TREATMENT_IS_WORSE: _("The treatment is worse than the control in this metric."),
    Statement.LARGER_EFFECTS_ARE_UNLIKELY: _("An effect outside of the interval is unlikely."),
    Statement.EFFECT_IS_TOO_SMALL_TO_MATTER: _("If there is an effect, it is too small to matter."),
    Statement.MORE_UNITS_CAN_DECIDE: _("With more units there can still be a result."),
    Statement.NO_FIGURE_IS_VALID: _("No figure of a metric is valid."),
    Statement.TREND_IS_NO_RESULT: _("What the metrics show so far is no result."),
    Statement.SAME_EFFECT_IS_NOT_PROVEN: _(
        "It is not proven that both variants have the same effect."
    ),
    Statement.ESTIMATE_IS_NOT_EXACT: _(
        "The effect need not be equal to the estimate: all values in the interval are possible. An "
        "experiment that ends at its first success shows too large an effect on average."
    ),
    Statement.OTHER_METRICS_ARE_NOT_DECIDED: _("This says nothing about other metrics."),
    Statement.HARM_IS_UNKNOWN: _(
        "It is not known whether a guardrail got worse by more than is tolerated."
    ),
}


def outcome_text(outcome: str) -> str:
    """Returns the outcome of a report in words; one that this release does not know as it is."""
    known = {one.value: text for one, text in OUTCOMES.items()}
    return str(known.get(outcome, outcome))


def statement_texts(statements: Iterable[str]) -> list[str]:
    """Returns the statements of a report as sentences, without those that are not known."""
    known = {one.value: text for one, text in STATEMENTS.items()}
    return [str(known[one]) for one in statements if one in known]


def missing_text(verdict: VerdictReport) -> str:
    """Returns what the verdict of a report still needs, as a sentence; empty if nothing."""
    if failed := verdict["failed"]:
        text = ngettext(
            "A verdict needs the guardrail %(names)s, which cannot be computed. Correct its query.",
            "A verdict needs the guardrails %(names)s, which cannot be computed. Correct their "
            "queries.",
            len(failed),
        )
        return text % {"names": ", ".join(failed)}
    days, units = math.ceil(verdict["missing_days"]), verdict["missing_units"]
    parts = []
    if days:
        parts.append(
            ngettext("%(number)s more day", "%(number)s more days", days)
            % {"number": local_number(days)}
        )
    if units:
        parts.append(
            ngettext(
                "%(number)s more unit in the smaller variant",
                "%(number)s more units in the smaller variant",
                units,
            )
            % {"number": local_number(units)}
        )
    if not parts:
        return ""
    return gettext("A verdict needs %(what)s.") % {"what": gettext(" and ").join(parts)}


def interval_needs(missing: Sequence[MissingUnits]) -> str:
    """Returns why a look has no interval, from its `missing_for_interval`.

    Names the variant that needs most.
    """
    if not missing:
        return gettext("too few units for an interval")
    most = max(missing, key=lambda one: one["units"])
    number = most["units"]
    if most["what"] == "with_value":
        units = ngettext(
            "%(number)s more unit with a value other than 0",
            "%(number)s more units with a value other than 0",
            number,
        )
    elif most["what"] == "without_value":
        units = ngettext(
            "%(number)s more unit with the value 0",
            "%(number)s more units with the value 0",
            number,
        )
    else:
        units = ngettext("%(number)s more unit", "%(number)s more units", number)
    text = gettext("no interval yet: %(variant)s needs about %(units)s")
    return text % {"variant": most["variant"], "units": units % {"number": local_number(number)}}


def wider_intervals_text(report: Report) -> str:
    """Returns why some intervals are wider than others; empty if none is."""
    levels = [one["interval_alpha"] for metric in report["metrics"] for one in metric["treatments"]]
    if min(levels, default=1.0) >= report["settings"]["alpha"]:
        return ""
    return gettext(
        "With several metrics, one can look good by chance. So the intervals are wider (Holm's "
        "correction). Guardrails are not corrected."
    )
