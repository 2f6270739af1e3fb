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

from flagstaff import changes, experiments
from flagstaff.actions import Action, Kind, all_actions
from flagstaff.experiments.editing import add_metric, edit, force, grow
from flagstaff.experiments.lifecycle import undo
from flagstaff.models import Change
from flagstaff.rollouts import plans
from tests.support.rollouts import drive_recently
from tests.support.shop import STAFF

RULES = [{"conditions": [STAFF]}]
VALUE_RULES = [{"conditions": [STAFF], "value": 50}]
STEPS = ["50:1h", "100"]
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


def start_plan(key: str) -> None:
    plans.start(key, STEPS)


def create_small(key: str) -> None:
    experiments.create(key, traffic_percent=20)


def ship(key: str) -> None:
    experiments.ship(key, "treatment")


RUNNING = (experiments.create, experiments.start)

SAMPLES = [
    flag("kill", "new_checkout", changes.flags.disable),
    flag(
        "on",
        "summer_banner",
        lambda key: changes.flags.update(key, {"enabled": True, "rollout_percent": 5}),
        "--percent 5",
        {"percent": 5},
        "--percent 101",
    ),
    flag("off", "new_checkout", changes.flags.disable),
    flag(
        "rollout",
        "new_checkout",
        lambda key: changes.flags.set_rollout(key, 50),
        "50",
        {"percent": 50},
        "half",
    ),
    flag("release", "new_checkout", changes.flags.release),
    flag(
        "rules",
        "search_v2",
        lambda key: changes.flags.update(key, {"rules": RULES, "rollout_percent": 5}),
        "{file} --rollout 5",
        {"rules": RULES, "rollout": 5},
        "[{}]",
        RULES,
    ),
    flag(
        "unit",
        "new_checkout",
        lambda key: changes.flags.update(key, {"bucket_by": "visitor"}),
        "visitor",
        {"bucket_by": "visitor"},
        "is_staff",
    ),
    flag(
        "allow",
        "new_checkout",
        lambda key: changes.flags.allow(key, 2),
        "bob",
        {"users": [2]},
        "carol",
    ),
    flag(
        "disallow",
        "new_checkout",
        lambda key: changes.flags.disallow(key, 1),
        "alice",
        {"users": [1]},
        "carol",
    ),
    flag(
        "details",
        "new_checkout",
        lambda key: changes.flags.update(key, {"owner": "payments", "tags": ["a"]}),
        "--owner payments --tag a",
        {"owner": "payments", "tags": ["a"]},
        "--kind odd",
    ),
    flag(
        "create",
        "new_search",
        lambda key: changes.flags.create(key, kind="ops", client_side=True),
        "--kind ops --client-side",
        {"kind": "ops", "client_side": True},
        "--kind odd",
    ),
    flag("delete", "new_checkout", changes.flags.delete, "--yes"),
    value(
        "set",
        "page_size",
        lambda key: changes.values.set(key, 50),
        "50",
        {"value": 50},
        "fifty",
    ),
    value(
        "set-for-everyone",
        "page_size",
        lambda key: changes.values.set(key, 50, everyone=True),
        "50",
        {"value": 50},
        "fifty",
    ),
    value(
        "rules",
        "page_size",
        lambda key: changes.values.update(key, {"rules": VALUE_RULES, "bucket_by": "visitor"}),
        "{file} --bucket-by visitor",
        {"rules": VALUE_RULES, "bucket_by": "visitor"},
        "[{}]",
        VALUE_RULES,
    ),
    value(
        "details",
        "page_size",
        lambda key: changes.values.update(key, {"value": 5, "type": "integer"}),
        "--type integer --value 5",
        {"type": "integer", "value": 5},
        "--type string",
    ),
    value(
        "create",
        "limit",
        lambda key: changes.values.create(key, 7, choices=[7, 8]),
        "7 --choices [7,8]",
        {"value": 7, "choices": [7, 8]},
        "7 --choices [8]",
    ),
    value("delete", "page_size", changes.values.delete, "--yes"),
    segment(
        "conditions",
        "enterprise",
        lambda key: changes.segments.update(key, {"conditions": [STAFF]}),
        "{file}",
        {"conditions": [STAFF]},
        "[]",
        [STAFF],
    ),
    segment(
        "details",
        "enterprise",
        lambda key: changes.segments.update(key, {"description": "All"}),
        "All",
        {"description": "All"},
    ),
    segment(
        "create",
        "staff",
        lambda key: changes.segments.create(key, [STAFF]),
        "{file}",
        {"conditions": [STAFF]},
        "[]",
        [STAFF],
    ),
    segment("delete", "enterprise", changes.segments.delete, "--yes"),
    *undoing(Kind.FLAG, "new_checkout", lambda key: changes.flags.set_rollout(key, 50)),
    *undoing(Kind.VALUE, "page_size", lambda key: changes.values.set(key, 50)),
    *undoing(
        Kind.SEGMENT, "enterprise", lambda key: changes.segments.update(key, {"description": "A"})
    ),
    plan(
        "create",
        lambda key: plans.create(key, STEPS),
        "--step 50:1h --step 100",
        {"steps": STEPS},
        "--step five",
    ),
    plan("start", start_plan, "--step 50:1h --step 100", {"steps": STEPS}, "--required-users 0"),
    plan("pause", plans.pause, before=(start_plan,)),
    plan("resume", plans.resume, before=(start_plan, plans.pause)),
    plan("roll-back", plans.rollback, before=(start_plan,)),
    plan("delete", plans.delete, "--yes", before=(plans.create,)),
    experiment(
        "create",
        lambda key: experiments.create(key, ["a", "b:3"]),
        "--variant a --variant b:3",
        {"variants": ["a", "b:3"]},
        "--traffic-percent 101",
    ),
    experiment(
        "edit",
        lambda key: edit(key, description="web", planned_units=9),
        "--description web --planned-units 9",
        {"description": "web", "planned_units": 9},
        "--guardrail refunds=few",
        before=(experiments.create,),
    ),
    experiment("start", experiments.start, before=(experiments.create,)),
    experiment(
        "grow",
        lambda key: grow(key, 50),
        "50 --yes",
        {"percent": 50},
        "half --yes",
        before=(create_small, experiments.start),
    ),
    experiment(
        "add-metric",
        lambda key: add_metric(key, "orders"),
        "orders --yes",
        {"metric": "orders"},
        "other --yes",
        before=RUNNING,
    ),
    experiment("restart", experiments.restart, "--yes", before=RUNNING),
    experiment(
        "force",
        lambda key: force(key, "42", "treatment"),
        "42 --variant treatment",
        {"unit": "42", "variant": "treatment"},
        "42 --variant other",
        before=(experiments.create,),
    ),
    experiment("stop", experiments.stop, before=RUNNING),
    experiment(
        "ship", ship, "treatment --yes", {"winner": "treatment"}, "other --yes", before=RUNNING
    ),
    experiment("undo", undo, "--yes", before=(*RUNNING, ship)),
    experiment("delete", experiments.delete, "--yes", before=(experiments.create,)),
]

each_sample = pytest.mark.parametrize(
    "sample",
    SAMPLES,
    indirect=True,
    ids=[f"{sample.action.noun}-{sample.name}" for sample in SAMPLES],
)
