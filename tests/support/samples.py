"""A call of each action of flags, values, segments, plans and experiments, in the open shop.

The tests of actions run all of them in a terminal and from Python, at once and later. A new action
is a line in `SAMPLES`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from flagstaff import Value, acting_as, changes, experiments
from flagstaff.actions import Action, Kind, all_actions
from flagstaff.changes import flags, segments, values
from flagstaff.experiments.editing import add_metric, edit, force, grow
from flagstaff.experiments.lifecycle import undo
from flagstaff.experiments.models import Experiment, ExperimentEvent
from flagstaff.models import Change, FeatureFlag, KeyValueStore, Segment
from flagstaff.rollouts import plans
from flagstaff.rollouts.models import Plan, PlanEvent
from tests.support.history import newest_entry
from tests.support.plans import drive_recently
from tests.support.shop import STAFF
from tests.support.sql import rolled_back

RULES = [{"conditions": [STAFF]}]
VALUE_RULES = [{"conditions": [STAFF], "value": 50}]
STEPS, STEP_OPTIONS = ["50:1h", "100"], "--step 50:1h --step 100"
ODD, TOO_MUCH = "--kind odd", "--percent 101"
PLAN, EXPERIMENT = "plan", "experiment"
KINDS: tuple[Kind | str, ...] = (*Kind, PLAN, EXPERIMENT)

ACTIONS: dict[tuple[Kind | str, str], Action] = {
    (action.kind, action.name): action for kind in KINDS for action in all_actions(kind)
}

Step = Callable[[str], object]


class Sample(NamedTuple):
    """A call of an action. {file} in the words is a file with `content`."""

    kind: Kind | str
    name: str
    key: str
    #: The same by `flagstaff.changes`, or by what plans and experiments have in its place.
    change: Step
    words: str = ""
    arguments: Mapping[str, Any] = {}
    #: Words that are refused.
    bad: str = "--no-such-option"
    content: Any = None
    #: What has happened to the row.
    before: tuple[Step, ...] = ()

    @property
    def action(self) -> Action:
        return ACTIONS[self.kind, self.name]

    def prepare(self) -> Sample:
        """Brings the row to its state, and returns the sample with the version to restore."""
        drive_recently()
        # By another person: what somebody writes to a row in a transaction is undone together.
        with acting_as("bob"):
            for change in self.before:
                change(self.key)
        if self.name != "restore":
            return self
        version = _first_version(self.kind, self.key)
        return self._replace(words=str(version), arguments={"version": version})

    def line(self, words: str, directory: Path) -> str:
        """Returns the line after `manage.py flags`, with these words after the key."""
        file = directory / "content.json"
        file.write_text(json.dumps(self.content))
        group = "" if self.kind is Kind.FLAG else f"{self.action.noun} "
        return f"{group}{self.name} {self.key} {words.replace('{file}', str(file))}"


def flag(name: str, key: str, change: Step, *call: Any, **fields: Any) -> Sample:
    return Sample(Kind.FLAG, name, key, change, *call, **fields)


def value(name: str, key: str, change: Step, *call: Any, **fields: Any) -> Sample:
    return Sample(Kind.VALUE, name, key, change, *call, **fields)


def segment(name: str, key: str, change: Step, *call: Any, **fields: Any) -> Sample:
    return Sample(Kind.SEGMENT, name, key, change, *call, **fields)


def plan(name: str, change: Step, *call: Any, **fields: Any) -> Sample:
    return Sample(PLAN, name, "new_checkout", change, *call, **fields)


def experiment(name: str, change: Step, *call: Any, **fields: Any) -> Sample:
    return Sample(EXPERIMENT, name, "button", change, *call, **fields)


def _as_declared(key: str) -> None:
    """Declares a value that has a row."""
    values.update(key, type="integer")
    Value(key, 20)


def undoing(kind: Kind, key: str, written: Step) -> list[Sample]:
    """The samples of undo and restore of a kind of row, after a change."""
    public = getattr(changes, f"{kind.value}s")
    fields: dict[str, Any] = {"bad": "987654321", "before": (written,)}
    return [
        Sample(kind, "undo", key, public.undo, **fields),
        Sample(
            kind,
            "restore",
            key,
            lambda key: public.restore(key, to=_first_version(kind, key)),
            **fields,
        ),
    ]


def _first_version(kind: Any, key: str) -> int:
    """The version of a row before its change."""
    versions = Change.objects.of_row(kind, kind.row(key).pk).order_by("id")
    return versions.values_list("id", flat=True)[0]


def doing(function: Callable[..., object], *arguments: Any, **options: Any) -> Step:
    """Returns a function that calls this one with a key and these arguments."""
    return lambda key: function(key, *arguments, **options)


start_plan, ship = doing(plans.start, STEPS), doing(experiments.ship, "treatment")
CHECKOUT, SIZE = "new_checkout", "page_size"
VISITOR = {"bucket_by": "visitor"}
OWNED = {"owner": "payments", "tags": ["a"]}
SHOWN = {"kind": "ops", "client_side": True}
ON = {"enabled": True, "rollout_percent": 5}
INTEGER = {"type": "integer", "value": 5}
PLANNED = {"description": "web", "planned_units": 9}
CREATED, RUNNING = (experiments.create,), (experiments.create, experiments.start)

SAMPLES = [
    flag("kill", CHECKOUT, flags.disable),
    flag("on", "summer_banner", doing(flags.update, ON), "--percent 5", {"percent": 5}, TOO_MUCH),
    flag("off", CHECKOUT, flags.disable),
    flag("rollout", CHECKOUT, doing(flags.set_rollout, 50), "50", {"percent": 50}, "half"),
    flag("release", CHECKOUT, flags.release),
    flag(
        "rules",
        "search_v2",
        doing(flags.update, {"rules": RULES, "rollout_percent": 5}),
        "{file} --rollout 5",
        {"rules": RULES, "rollout": 5},
        "[{}]",
        RULES,
    ),
    flag("unit", CHECKOUT, doing(flags.update, VISITOR), "visitor", VISITOR, "is_staff"),
    flag("allow", CHECKOUT, doing(flags.allow, 2), "bob", {"users": [2]}, "carol"),
    flag("disallow", CHECKOUT, doing(flags.disallow, 1), "alice", {"users": [1]}, "carol"),
    flag("details", CHECKOUT, doing(flags.update, OWNED), "--owner payments --tag a", OWNED, ODD),
    flag("create", "new", doing(flags.create, **SHOWN), "--kind ops --client-side", SHOWN, ODD),
    flag("delete", CHECKOUT, flags.delete, "--yes"),
    value("set", SIZE, doing(values.set, 50), "50", {"value": 50}, "fifty"),
    value(
        "set-for-everyone",
        SIZE,
        doing(values.set, 50, everyone=True),
        "50",
        {"value": 50},
        "fifty",
    ),
    value(
        "rules",
        SIZE,
        doing(values.update, {"rules": VALUE_RULES, **VISITOR}),
        "{file} --bucket-by visitor",
        {"rules": VALUE_RULES, **VISITOR},
        "[{}]",
        VALUE_RULES,
    ),
    value(
        "details",
        SIZE,
        doing(values.update, INTEGER),
        "--type integer --value 5",
        INTEGER,
        "--type string",
    ),
    value(
        "create",
        "limit",
        doing(values.create, 7, choices=[7, 8]),
        "7 --choices [7,8]",
        {"value": 7, "choices": [7, 8]},
        "7 --choices [8]",
    ),
    value("delete", SIZE, values.delete, "--yes"),
    value("default", SIZE, values.delete, "--yes", before=(_as_declared,)),
    segment(
        "conditions",
        "enterprise",
        doing(segments.update, {"conditions": [STAFF]}),
        "{file}",
        {"conditions": [STAFF]},
        "[]",
        [STAFF],
    ),
    segment(
        "details",
        "enterprise",
        doing(segments.update, {"description": "All"}),
        "All",
        {"description": "All"},
    ),
    segment(
        "create",
        "staff",
        doing(segments.create, [STAFF]),
        "{file}",
        {"conditions": [STAFF]},
        "[]",
        [STAFF],
    ),
    segment("delete", "enterprise", segments.delete, "--yes"),
    *undoing(Kind.FLAG, CHECKOUT, doing(flags.set_rollout, 50)),
    *undoing(Kind.VALUE, SIZE, doing(values.set, 50)),
    *undoing(Kind.SEGMENT, "enterprise", doing(segments.update, {"description": "One"})),
    plan("create", doing(plans.create, STEPS), STEP_OPTIONS, {"steps": STEPS}, "--step five"),
    plan("start", start_plan, STEP_OPTIONS, {"steps": STEPS}, "--required-users 0"),
    plan("pause", plans.pause, before=(start_plan,)),
    plan("resume", plans.resume, before=(start_plan, plans.pause)),
    plan("roll-back", plans.rollback, before=(start_plan,)),
    plan("delete", plans.delete, "--yes", before=(plans.create,)),
    experiment(
        "create",
        doing(experiments.create, ["a", "b:3"]),
        "--variant a --variant b:3",
        {"variants": ["a", "b:3"]},
        "--traffic-percent 101",
    ),
    experiment(
        "edit",
        doing(edit, **PLANNED),
        "--description web --planned-units 9",
        PLANNED,
        "--guardrail refunds=few",
        before=CREATED,
    ),
    experiment("start", experiments.start, before=CREATED),
    experiment(
        "grow",
        doing(grow, 50),
        "50 --yes",
        {"percent": 50},
        "half --yes",
        before=(doing(experiments.create, traffic_percent=20), experiments.start),
    ),
    experiment(
        "add-metric",
        doing(add_metric, "orders"),
        "orders --yes",
        {"metric": "orders"},
        "other --yes",
        before=RUNNING,
    ),
    experiment("restart", experiments.restart, "--yes", before=RUNNING),
    experiment(
        "force",
        doing(force, "42", "treatment"),
        "42 --variant treatment",
        {"unit": "42", "variant": "treatment"},
        "42 --variant other",
        before=CREATED,
    ),
    experiment("stop", experiments.stop, before=RUNNING),
    experiment(
        "ship", ship, "treatment --yes", {"winner": "treatment"}, "other --yes", before=RUNNING
    ),
    experiment("undo", undo, "--yes", before=(*RUNNING, ship)),
    experiment("delete", experiments.delete, "--yes", before=CREATED),
]


def each(samples: list[Sample]) -> pytest.MarkDecorator:
    """Runs a test with each of these samples, which its fixture `sample` prepares."""
    names = [f"{sample.action.noun}-{sample.name}" for sample in samples]
    return pytest.mark.parametrize("sample", samples, indirect=True, ids=names)


each_sample = each(SAMPLES)
#: Those that no action takes back: the text says what to do instead.
WITHOUT_UNDO: dict[tuple[Kind | str, str], str] = {
    (PLAN, "start"): "sets the rollout to 0 %",
    (PLAN, "delete"): "plan again: ",
    (EXPERIMENT, "edit"): "to take it back, set the old values",
    (EXPERIMENT, "grow"): "more traffic cannot be taken back without a restart",
    (EXPERIMENT, "add-metric"): "a metric that was added stays",
    (EXPERIMENT, "restart"): "the buckets before do not return",
    (EXPERIMENT, "delete"): "this cannot be undone",
}


def result_of(write: Callable[[], object], actor: str = "ana", reason: str = "test") -> list[Any]:
    """Returns what a write leaves in the tables and in the history; it is rolled back."""
    with rolled_back():
        before = newest_entry()
        with acting_as(actor, reason=reason):
            write()
        return [*rows_now(), *entries_after(before)]


def entries_after(last: int) -> list[Any]:
    entries = Change.objects.filter(id__gt=last).order_by("id")
    return [*entries.values_list("relation", "action", "key", "actor", "reason")]


def rows_now() -> list[Any]:
    """Returns the rows of all kinds, but for their times and numbers."""
    models = (
        *(FeatureFlag, FeatureFlag.allowed_users.through, KeyValueStore, Segment),
        *(Plan, PlanEvent, Experiment, ExperimentEvent),
    )
    unlike = {"id", "plan_id", "experiment_id", "run_id", "salt", "flag_version"}
    unlike |= {"guarded_until", "seconds_left", "frozen_report", "runs_since", "added_metrics"}
    rows: list[Any] = [
        row for model in models for row in model._base_manager.order_by("pk").values()
    ]
    for row in rows:
        if figures := row.get("figures"):
            figures.pop("flag_version", None)
    return [
        {
            name: value
            for name, value in row.items()
            if name not in unlike and not (name == "at" or name.endswith("_at"))
        }
        for row in rows
    ]
