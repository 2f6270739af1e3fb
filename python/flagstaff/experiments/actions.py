"""The actions of experiments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated, Any, Final

from flagstaff._engine.forced_off import NOTICE
from flagstaff._tables.database import db
from flagstaff._text import say
from flagstaff.actions import Action, Argument, Done, Percent, action
from flagstaff.actions.arguments import Parsed, RulesFile, Several, percent
from flagstaff.changes import Undo
from flagstaff.changes.fields import command_line
from flagstaff.exceptions import ConflictError
from flagstaff.experiments import editing, lifecycle, looks
from flagstaff.experiments.editing import guardrail_of, settings_of
from flagstaff.experiments.models import Experiment
from flagstaff.experiments.records import experiment_record
from flagstaff.experiments.requirements import require_now
from flagstaff.experiments.rows import events_after, find, newest_event
from flagstaff.experiments.variants import Variant
from flagstaff.experiments.verdict import Outcome

#: The kind of row, and the verb that has the actions.
EXPERIMENT: Final = lifecycle.ROW_KIND


_HARM = say("how much worse it may get: of a share, 0.01 is one percentage point")
_VARIANTS: dict[str, Argument] = {
    "variants": Several(
        say("a variant with its weight, the control first"),
        "KEY[:WEIGHT]",
        parse=Variant.parse,
    ),
    "traffic_percent": Parsed(say("the share of all units that take part"), "PERCENT", percent),
}
# By the arguments of `editing.create` and `editing.edit`.
_SETTINGS: dict[str, Argument] = {
    **_VARIANTS,
    "bucket_by": Argument(say("what gets a variant: user, visitor or an attribute"), "UNIT"),
    "rules": RulesFile('a file with the rules as a JSON list; "-" is the standard input'),
    "description": Argument(say("what the experiment is about")),
    "primary": Argument(say("the metric that decides"), "METRIC"),
    "others": Several(say("another metric. Each widens all intervals"), "METRIC"),
    "guardrails": Several(
        say("a metric that must not get worse, and {harm}, such as refunds=0.01", harm=_HARM),
        "METRIC[=TOLERATED]",
        parse=guardrail_of,
    ),
    "planned_units": Parsed(
        say("the units that you expect in all variants; the intervals are narrowest there"),
        "N",
        int,
    ),
    "min_days": Parsed(say("there is no verdict before these days"), "N", int),
    "min_units": Parsed(say("there is no verdict before each variant has these"), "N", int),
    "smallest_effect": Parsed(
        say("smaller effects do not matter: of a share, 0.01 is one percentage point"),
        "EFFECT",
        float,
    ),
}
_Variant = Annotated[str, Argument("a variant", "VARIANT")]


def _done(
    write: Callable[[], Experiment],
    key: str,
    *undo: str,
    instead: str = "",
    expect_event: int | None = None,
) -> Done:
    """Writes, and returns what was done.

    `undo` are the words of the action that takes it back; without one, `instead` says what to do.
    Raises ConflictError if it is not the next event after the expected one.
    """
    before = db.rows(Experiment).filter(key=key).first()
    last = 0 if before is None else newest_event(before)
    with db.atomic():
        experiment = write()
        written = newest_event(experiment) != last
        # After the write, which has locked the experiment: nobody adds an event now.
        if expect_event is not None and written and events_after(experiment, expect_event) > 1:
            text = say("{key} has been changed meanwhile; run the command again", key=key)
            raise ConflictError(text, key=key)
    record = experiment_record(find(key))
    messages = [
        f"{key}: {record['events'][-1]['text']}"
        if written
        else say("{key}: nothing had to be changed", key=key),
        instead if written else "",
        NOTICE if record["forced_off"] else "",
    ]
    command = Undo((EXPERIMENT, *undo)) if undo and written else None
    return Done(key, [message for message in messages if message], record, command, written)


@action(
    EXPERIMENT,
    "experiment create checkout_button",
    "experiment create checkout_button --variant control --variant green:2 --traffic-percent 20",
    right="add",
    creates=True,
    fields=lambda: _SETTINGS,
    label=say("Add experiment").lazy,
    button=say("Add experiment"),
    look=looks.look_at_creation,
    can_wait=False,
)
def create(key: str, **fields: Any) -> Done:
    """Create an experiment without starting it.

    Every call returns its default until the start.
    """
    return _done(lambda: editing.create(key, **settings_of(fields)), key, "delete", key, "--yes")


@action(
    EXPERIMENT,
    "experiment edit checkout_button --primary orders --planned-units 20000",
    "experiment edit checkout_button --variant control --variant green:2 --traffic-percent 20",
    fields=lambda: _SETTINGS,
    label=say("Edit").lazy,
    look=looks.look_at_edit,
    can_wait=False,
)
def edit(key: str, **fields: Any) -> Done:
    """Change an experiment that has not started.

    Only the given options are written. Variants, other metrics and guardrails replace all.
    """
    instead = "to take it back, set the old values"
    return _done(lambda: editing.edit(key, **settings_of(fields)), key, instead=instead)


@action(
    EXPERIMENT,
    "experiment start checkout_button --wait",
    "experiment start checkout_button --reason launch",
    label=say("Start").lazy,
    button=say("Start {key}"),
    look=looks.look_at_start,
    present=looks.present,
    stands_on=(looks.EXPECT_EVENT,),
)
def start(key: str, *, expect_event: int | None = None) -> Done:
    """Start the experiment, or continue one that was stopped."""
    return _done(lambda: lifecycle.start(key), key, "stop", key, expect_event=expect_event)


@action(
    EXPERIMENT,
    "experiment grow checkout_button 50 --yes",
    "experiment grow checkout_button 100 --yes --wait",
    label=say("Grow the traffic").lazy,
    button=say("Grow the traffic"),
    look=looks.look_at_growth,
    present=looks.present,
    stands_on=(looks.EXPECT_EVENT,),
)
def grow(key: str, percent: Percent, *, expect_event: int | None = None) -> Done:
    """Let more units take part in an experiment that has started.

    The results stay valid.
    """
    instead = "more traffic cannot be taken back without a restart"
    return _done(
        lambda: editing.grow(key, percent), key, instead=instead, expect_event=expect_event
    )


@action(
    EXPERIMENT,
    "experiment add-metric checkout_button revenue --yes",
    "experiment add-metric checkout_button refunds --tolerated 0.01 --yes",
    label=say("Add a metric").lazy,
    button=say("Add the metric"),
    look=looks.look_at_addition,
    can_wait=False,
)
def add_metric(
    key: str,
    metric: Annotated[str, Argument("the name of a metric", "METRIC")],
    tolerated: Annotated[
        float | None,
        Parsed(say("for a guardrail: {harm}", harm=_HARM), "HARM", float),
    ] = None,
) -> Done:
    """Measure one more metric, of units that are exposed from now on.

    It is in the correction for several metrics, and stays.
    """
    instead = "a metric that was added stays"
    return _done(lambda: editing.add_metric(key, metric, tolerated=tolerated), key, instead=instead)


@action(
    EXPERIMENT,
    "experiment restart checkout_button --yes",
    "experiment restart checkout_button --variant control --variant green:3 --yes",
    label=say("Restart").lazy,
    button=say("Restart {key}"),
    look=looks.look_at_restart,
    present=looks.present,
    stands_on=(looks.EXPECT_EVENT,),
)
def restart(
    key: str,
    variants: Annotated[Sequence[str] | None, _VARIANTS["variants"]] = None,
    traffic_percent: Annotated[int | None, _VARIANTS["traffic_percent"]] = None,
    *,
    expect_event: int | None = None,
) -> Done:
    """Start the experiment anew: all units get other buckets.

    The exposures so far are no longer reported. Also the way to other weights or less traffic.
    """
    instead = "the buckets before do not return"
    return _done(
        lambda: editing.restart(key, variants=variants, traffic_percent=traffic_percent),
        key,
        instead=instead,
        expect_event=expect_event,
    )


@action(
    EXPERIMENT,
    "experiment force checkout_button 42 --variant treatment",
    "experiment force checkout_button 42",
    label=say("Force a unit").lazy,
    button=say("Force the unit"),
    look=looks.look_at_force,
    can_wait=False,
)
def force(
    key: str,
    unit: Annotated[str, Argument(say("such as the primary key of a user"), "UNIT")],
    variant: _Variant | None = None,
) -> Done:
    """Give a unit a certain variant, which is not recorded.

    Without `--variant`, its bucket decides again. A unit that begins with "-" comes last, after
    `--`: `experiment force checkout_button --variant treatment -- -a7`.
    """
    experiment = find(key)
    require_now(experiment, "force")
    before = experiment.overrides.get(unit)
    option = () if before is None else ("--variant", before)
    words = (*option, "--", unit) if unit.startswith("-") else (unit, *option)
    return _done(lambda: editing.force(key, unit, variant), key, "force", key, *words)


@action(
    EXPERIMENT,
    'experiment stop checkout_button --reason "orders fail"',
    "experiment stop checkout_button --no-wait",
    waits_for_workers=True,
    always_runs=True,
    label=say("Stop").lazy,
    button=say("Stop {key}"),
    look=looks.look_at_stop,
    present=looks.present,
    stands_on=(looks.RUN,),
)
def stop(key: str) -> Done:
    """Stop the experiment, also a shipped one, and wait for the workers.

    Every call returns its default. Nothing delays it: no question, no reason.
    """
    cancelled = list[int]()

    def write() -> Experiment:
        experiment, numbers = lifecycle.stopped(key)
        cancelled.extend(numbers)
        return experiment

    return replace(_done(write, key, "undo", key, "--yes"), cancelled=cancelled)


@action(
    EXPERIMENT,
    "experiment ship checkout_button treatment --yes",
    "experiment ship checkout_button treatment --dry-run",
    label=say("Ship").lazy,
    button=say("Ship {winner}"),
    look=looks.look_at_ship,
    present=looks.present,
    stands_on=(looks.EXPECT_EVENT,),
)
def ship(key: str, winner: _Variant, *, expect_event: int | None = None) -> Done:
    """Give all units a variant, and end the experiment.

    To ship another one later, undo the ship first.
    """
    undo = (key, "undo", key, "--yes")
    done = _done(lambda: lifecycle.ship(key, winner), *undo, expect_event=expect_event)
    experiment = find(key)
    verdicts = (experiment.frozen_report or {"verdicts": ()})["verdicts"]
    outcomes = {verdict["outcome"] for verdict in verdicts}
    # Before a verdict, it may well be undone.
    if experiment.primary_metric and outcomes == {Outcome.TOO_EARLY.value}:
        return done
    advice = f"remove {key} from the code; find its places with: {command_line('references', key)}"
    return replace(done, messages=[*done.messages, advice])


@action(
    EXPERIMENT,
    "experiment undo checkout_button --yes",
    "experiment undo checkout_button --dry-run",
    label=say("Undo").lazy,
    button=say("Undo"),
    look=looks.look_at_undo,
    can_wait=False,
)
def undo(key: str) -> Done:
    """Take back the last stop or ship.

    The exposures are kept. Another `undo` takes back the decision before.
    """
    winner = find(key).winner
    again = ("ship", key, winner, "--yes") if winner else ("stop", key)
    return _done(lambda: lifecycle.undo(key), key, *again)


@action(
    EXPERIMENT,
    "experiment delete checkout_button --yes",
    "experiment delete checkout_button --dry-run",
    right="delete",
    label=say("Delete").lazy,
    button=say("Delete {key}"),
    deletes=True,
    look=looks.look_at_deletion,
    keeps_reason=False,
    can_wait=False,
)
def delete(key: str) -> Done:
    """Delete the experiment with its exposures.

    Stop one that runs first. Its events stay in the history.
    """
    lifecycle.delete(key)
    text = f"{key}: deleted; every call returns its default; this cannot be undone"
    return Done(key, [text], {"key": key, "deleted": True})


#: In the order of the help.
ACTIONS: tuple[Action, ...] = (
    create,
    edit,
    start,
    grow,
    add_metric,
    restart,
    force,
    stop,
    ship,
    undo,
    delete,
)
