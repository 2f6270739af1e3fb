"""Random histories of an experiment, against a model of what each action does."""

import random
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256
from typing import Any

import pytest

from flagstaff import experiments, refresh
from flagstaff._engine import lifecycle
from flagstaff.exceptions import ExperimentError
from flagstaff.experiments.models import Experiment, ExperimentEvent, Exposure, State
from flagstaff.testing import live_engine
from tests.support.experiments import KEY, stored
from tests.support.fixtures import COMMITTED

UNITS = 60
#: The metrics that can be added.
ADDED = ["revenue", "complaints"]
ACTIONS = [
    *("start", "stop", "ship control", "ship treatment", "undo") * 2,
    *("restart", "grow", "force", "metric"),
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
    run: int = 0
    percent: int = 50
    added: int = 0

    def begin(self) -> None:
        self.now = replace(self.now, state=State.RUNNING, ended_at=None)

    def has_begun(self) -> bool:
        return self.now.state in {State.RUNNING, State.STOPPED} and not self.now.report

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
        if self.now.state not in {State.RUNNING, State.STOPPED}:
            return False
        self.before.append(self.now)
        self.now = replace(self.now, state=State.SHIPPED, winner=winner)
        return True

    def undo(self) -> bool:
        if not self.before:
            return False
        self.now = self.before.pop()
        return True

    def restart(self) -> bool:
        if not self.has_begun():
            return False
        self.begin()
        self.run += 1
        self.before = []
        return True

    def grow(self) -> bool:
        self.percent += self.has_begun()
        return self.has_begun()

    def force(self) -> bool:
        return self.now.state != State.SHIPPED

    def metric(self) -> bool:
        allowed = self.has_begun() and self.added < len(ADDED)
        self.added += allowed
        return allowed

    def carry_out(self, action: str) -> None:
        """Does what the model has done, or refuses."""
        name, _, winner = action.partition(" ")
        arguments: dict[str, list[Any]] = {
            "ship": [winner],
            "grow": [self.percent],
            "force": ["1", "treatment"],
            # One that is not allowed would be the first one, or the last one again.
            "metric": [ADDED[max(self.added - 1, 0)]],
        }
        change = experiments.add_metric if name == "metric" else getattr(experiments, name)
        change(KEY, *arguments.get(name, []))

    def require_like(self, experiment: Experiment) -> None:
        assert (experiment.state, experiment.winner) == (self.now.state, self.now.winner)
        assert (experiment.run, experiment.traffic_percent) == (self.run, self.percent)
        assert experiment.other_metrics == ADDED[: self.added]
        assert (experiment.started_at is None) == (experiment.state == State.DRAFT)
        assert (experiment.ended_at is None) == (experiment.state in {State.DRAFT, State.RUNNING})

    def variant_of(self, unit: int, experiment: Experiment) -> str:
        """The variant of a unit, by the definition in the documentation."""
        if self.now.state != State.RUNNING:
            return self.now.winner or "default"
        if str(unit) in experiment.overrides:
            return str(experiment.overrides[str(unit)])
        digest = sha256(f"experiment:{KEY}:{self.run}:{unit}".encode()).hexdigest()
        if int(digest[:16], 16) % 100 >= self.percent:
            return "default"
        return "control" if int(digest, 16) % 10_000 < 5_000 else "treatment"


@pytest.mark.thorough
@COMMITTED
@pytest.mark.parametrize("seed", range(4))
def test_random_history_of_an_experiment_is_like_the_model(seed: int) -> None:
    source, model = random.Random(seed), Model()
    experiments.create(KEY, traffic_percent=50, primary="orders", planned_units=4000)
    recorded: set[tuple[int, str, str]] = set()
    with live_engine():
        for _ in range(25):
            action = source.choice(ACTIONS)
            decided, events = replace(model.now), ExperimentEvent.objects.count()
            is_undo = action == "undo"
            if model.act(action):
                model.carry_out(action)
            else:
                with pytest.raises(ExperimentError):
                    model.carry_out(action)
                assert ExperimentEvent.objects.count() == events
            experiment = stored()
            model.require_like(experiment)
            if is_undo or model.now == decided:
                assert (experiment.ended_at, experiment.frozen_report) == (
                    model.now.ended_at,
                    model.now.report,
                )
            elif decided.report is not None:
                assert experiment.frozen_report == decided.report
            else:
                assert (experiment.frozen_report is None) == (experiment.state != State.SHIPPED)
            model.now = replace(
                model.now, ended_at=experiment.ended_at, report=experiment.frozen_report
            )
            refresh()
            for unit in source.sample(range(UNITS), 10):
                variant = experiments.get_variant(KEY, unit, default="default")
                assert variant == model.variant_of(unit, experiment)
                is_in = variant != "default" and str(unit) not in experiment.overrides
                if experiment.state == State.RUNNING and is_in:
                    recorded.add((experiment.run, str(unit), variant))
        # What it has recorded is written then; a busy machine needs more than a second.
        assert lifecycle.close(30)
    assert {*Exposure.objects.values_list("run", "unit", "variant")} == recorded
