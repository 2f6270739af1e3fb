"""The texts of experiments in the language of a page: events and refused changes.

Events are stored in English, whoever reads them.
"""

from __future__ import annotations

from typing import Final

from flagstaff._words.known_texts import KnownTexts
from flagstaff._words.known_texts import message as _
from flagstaff._words.rule_problems import rule_problem_text
from flagstaff.changes.known_texts import REFUSALS

_UNTRANSLATED: Final = (
    *("key", "keys", "command", "text", "value", "unit", "variant", "variants", "metric"),
    *("path", "type", "error", "metrics", "database"),
    # The label of a state is translated where the error is raised.
    "state",
)
_NONE: Final = [_("none")]
_SETTINGS: Final = KnownTexts(
    [
        _("primary metric %(metric)s"),
        _("other metrics %(metrics)s"),
        _("guardrails %(metrics)s"),
        _("method %(method)s"),
        _("planned users %(number)s"),
        _("min days %(number)s"),
        _("min users %(number)s"),
        _("smallest effect %(number)s"),
        _("alpha %(number)s"),
    ],
    parts={
        "metric": _NONE,
        "metrics": _NONE,
        "number": _NONE,
        "method": [_("sequential"), _("fixed")],
    },
)

_EVENTS: Final = [
    _("created with %(variants)s; %(percent)s %% of all units take part"),
    _("weights: %(variants)s; %(percent)s %% of all units take part"),
    _("started in phase %(number)s"),
    _("stopped: every call returns its default"),
    _("shipped: all users get %(variant)s"),
    _("shuffled (%(number)s): the exposures so far are no longer reported"),
    _("override: %(unit)s gets what its bucket says"),
    _("override: %(unit)s gets %(variant)s"),
    _("analysis: %(settings)s"),
]

_REFUSED: Final = [
    _("there is an experiment %(key)s already"),
    _("there is no experiment %(key)s; create it: %(command)s"),
    _("%(key)s cannot be started, because its exposures were deleted; create another one"),
    _("%(key)s cannot be changed, because it is %(state)s"),
    _("%(key)s cannot be deleted, because it is %(state)s"),
    _("%(key)s cannot be shipped, because it is %(state)s"),
    _("%(key)s cannot be shuffled, because it is %(state)s"),
    _("%(key)s cannot be started, because it is %(state)s"),
    _("%(key)s cannot be stopped, because it is %(state)s"),
    _('%(text)s is no variant; write a key and a weight, such as "treatment:3"'),
    _("the experiment has %(count)s variants; write 2 to %(limit)s, the control first"),
    _("two variants have the key %(key)s; rename one"),
    _("all weights are 0; give at least one variant a weight"),
    _("variant %(key)s: %(why)s"),
    _("the weight of %(key)s is %(value)s; write a whole number from 0 to %(limit)s"),
    _("%(key)s has no variant %(variant)s; choose one of %(keys)s"),
    _("there is no variant %(variant)s; choose one of %(keys)s"),
    _(
        "rule %(number)s has a rollout of %(percent)s %%; a rule of an experiment includes (100) "
        "or excludes (0). Set traffic_percent for a share of all"
    ),
    _("the metric %(metric)s has two roles; give it one"),
    _(
        "the metric counts by %(unit)s, but the unit of %(key)s is %(value)s; use a metric with "
        "%(text)s"
    ),
    _("the tolerated harm of %(metric)s is %(value)s; write a number of at least 0"),
    _("the smallest effect is %(value)s; write a number above 0"),
    _("the method is %(value)s; choose one of %(keys)s"),
    _("the traffic is %(value)s %%; write a whole number from 0 to 100"),
    _("%(text)s is %(value)s; write a whole number from %(low)s to %(high)s"),
    _(
        "%(key)s has started, so the weight of %(variant)s cannot become 0: all units that met it "
        "would be left out of the report. Stop the experiment, or ship a variant"
    ),
    _(
        "%(key)s would get less than 0.01 %% of all units, so nobody; raise its weight or the "
        "traffic"
    ),
    _("%(key)s is the key of a flag; choose another key for the experiment"),
    _(
        "%(key)s has started, so its %(setting)s cannot change: a change after a look would make "
        "results invalid. Metrics can be added to those that it has"
    ),
    _("%(unit)s is no unit; write 1 to %(limit)s bytes, such as the primary key of a user"),
    _(
        "the report of %(key)s cannot be stored: %(why)s. Correct the metric, or ship without a "
        "report: with_report=False, or --without-report"
    ),
    _("the metric %(metric)s fails: %(error)s"),
]
_NAMES: Final = [
    _("primary metric"),
    _("other metrics"),
    _("guardrails"),
    _("method"),
    _("planned users"),
    _("min days"),
    _("min users"),
    _("smallest effect"),
    _("alpha"),
]


def _settings(text: str) -> str:
    return "; ".join(map(_SETTINGS.translate, text.split("; ")))


#: All texts of experiments.
EXPERIMENT_TEXTS: Final = KnownTexts(
    [*_EVENTS, *_REFUSED],
    parts={
        "settings": _settings,
        "setting": _NAMES,
        "why": rule_problem_text,
    },
    untranslated=_UNTRANSLATED,
    others=(REFUSALS,),
)
