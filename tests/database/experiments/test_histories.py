"""Random histories of an experiment, against a model of what each action does."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256
from typing import Any

import pytest

from flagstaff import experiments, refresh
from flagstaff._engine import lifecycle
from flagstaff.exceptions import ExperimentError
from flagstaff.experiments.models import Experiment, ExperimentEvent, Exposure, Phase, State
from flagstaff.testing import live_engine
from tests.support.experiment_pages import METRICS
from tests.support.fixtures import COMMITTED

KEY = "checkout_button"
UNITS = 60
ACTIONS = [
    *("start", "stop", "ship control", "ship treatment", "undo") * 2,
    *("weights", "shuffle", "force", "metrics"),
]


@dataclass(frozen=True)
class Decided:
    """What a stop or a ship changes, and an undo restores."""

    state: str = State.DRAFT
    winner: str = ""
    ended_at: datetime | None = None
    report: Any = None


@dataclass
class Model:
    """What the row must be, and the decisions that can be undone."""

    now: Decided = field(default_factory=Decided)
    before: list[Decided] = field(default_factory=list)
    phase: int = 0
    weight: int = 1

    def begin(self) -> None:
        self.now = replace(self.now, state=State.RUNNING, ended_at=None)
        self.phase += 1

    def act(self, action: str) -> bool:
        """Whether the action is allowed. Its times and report are read from the row later."""
        name, _, winner = action.partition(" ")
        allowed: bool = getattr(self, name)(*[winner] if winner else [])
        return allowed

    def start(self) -> bool:
        if self.now.state not in {State.DRAFT, State.STOPPED} or self.now.report:
            return False
        self.begin()
        self.before = []
        return True

    def stop(self) -> bool:
        if self.now.state in {State.RUNNING, State.SHIPPED}:
            self.before.append(self.now)
            self.now = replace(self.now, state=State.STOPPED, winner="")
        return True

    def ship(self, winner: str) -> bool:
        if self.now.state == State.DRAFT:
            return False
        if winner != self.now.winner:
            self.before.append(self.now)
            self.now = replace(self.now, state=State.SHIPPED, winner=winner)
        return True

    def undo(self) -> bool:
        if not self.before:
            return False
        self.now = self.before.pop()
        self.phase += self.now.state == State.RUNNING
        return True

    def shuffle(self) -> bool:
        if self.now.state == State.SHIPPED or self.now.report:
            return False
        self.phase += self.now.state == State.RUNNING
        self.before = []
        return True

    def weights(self) -> bool:
        allowed = self.shuffle()
        self.weight += allowed
        return allowed

    def force(self) -> bool:
        return True

    def metrics(self) -> bool:
        return self.now.state != State.SHIPPED


def act(action: str, model: Model) -> None:
    name, _, winner = action.partition(" ")
    if name == "ship":
        experiments.ship(KEY, winner)
    elif name == "weights":
        experiments.set_weights(KEY, {"treatment": model.weight + 1})
    elif name == "force":
        experiments.force(KEY, "1", "treatment")
    elif name == "metrics":
        experiments.set_metrics(KEY, others=["revenue"])
    else:
        getattr(experiments, name)(KEY)


def expected(found: Experiment, unit: int) -> str:
    if found.state != State.RUNNING:
        return found.winner or "default"
    if str(unit) in found.overrides:
        return str(found.overrides[str(unit)])
    digest = sha256(f"experiment:{KEY}:{found.shuffle}:{unit}".encode()).hexdigest()
    bucket, end = int(digest, 16) % 10_000, 0
    for owner, number in found.allocation:
        end += number
        if bucket < end:
            return str(owner)
    raise AssertionError


def require_like(model: Model, found: Experiment) -> None:
    assert (found.state, found.winner, found.phase) == (
        model.now.state,
        model.now.winner,
        model.phase,
    )
    running = [model.phase] if model.now.state == State.RUNNING else []
    phases = Phase.objects.filter(experiment=found)
    assert [*phases.filter(ended_at=None).values_list("number", flat=True)] == running
    assert phases.count() == model.phase
    for phase in phases.filter(ended_at=None):
        assert (phase.shuffle, phase.allocation) == (found.shuffle, found.allocation)
    assert (found.ended_at is None) == (found.state in {State.DRAFT, State.RUNNING})


@pytest.mark.thorough
@COMMITTED
@pytest.mark.parametrize("seed", range(4))
def test_random_history_of_an_experiment_is_like_the_model(seed: int, settings: Any) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "METRICS": METRICS}
    source, model = random.Random(seed), Model()
    experiments.create(KEY)
    experiments.set_metrics(KEY, primary="orders", planned_units=4000)
    recorded: set[tuple[int, str, str]] = set()
    with live_engine():
        for _ in range(25):
            action = source.choice(ACTIONS)
            decided, events = replace(model.now), ExperimentEvent.objects.count()
            is_undo = action == "undo"
            if model.act(action):
                act(action, model)
            else:
                with pytest.raises(ExperimentError):
                    act(action, model)
                assert ExperimentEvent.objects.count() == events
            found = Experiment.objects.get(key=KEY)
            require_like(model, found)
            if is_undo or model.now == decided:
                assert (found.ended_at, found.frozen_report) == (
                    model.now.ended_at,
                    model.now.report,
                )
            elif decided.report is not None:
                assert found.frozen_report == decided.report
            else:
                assert (found.frozen_report is None) == (found.state != State.SHIPPED)
            model.now = replace(model.now, ended_at=found.ended_at, report=found.frozen_report)
            refresh()
            for unit in source.sample(range(UNITS), 10):
                variant = experiments.get_variant(KEY, unit, default="default")
                assert variant == expected(found, unit)
                if found.state == State.RUNNING and str(unit) not in found.overrides:
                    recorded.add((found.shuffle, str(unit), variant))
        # What it has recorded is written then; a busy machine needs more than a second.
        assert lifecycle.close(30)
    assert {*Exposure.objects.values_list("shuffle", "unit", "variant")} == recorded
