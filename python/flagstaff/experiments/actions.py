"""The actions of experiments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final

from django.db import transaction
from django.utils.translation import gettext_lazy as _

from flagstaff._engine.forced_off import NOTICE
from flagstaff.actions import Action, Argument, Done, Percent, Question, action
from flagstaff.actions.arguments import JsonFile, Parsed, Several, YesNo, percent
from flagstaff.changes import Undo
from flagstaff.changes.changed import command_line
from flagstaff.conf import conf
from flagstaff.exceptions import InvalidArgumentError
from flagstaff.experiments import assigning, editing, lifecycle, metric_settings, undoing
from flagstaff.experiments.models import Experiment, State
from flagstaff.experiments.records import experiment_record
from flagstaff.experiments.rows import find, newest_event
from flagstaff.experiments.variants import Variant

#: The kind of row, and the verb that has the actions.
EXPERIMENT: Final = "experiment"


def guardrail_of(text: str) -> tuple[str, float]:
    """Parses a metric and the harm that is tolerated, such as "refunds=0.01".

    Raises InvalidArgumentError.
    """
    name, _equals, tolerated = text.partition("=")
    try:
        return name.strip(), float(tolerated or 0)
    except ValueError as error:
        raise InvalidArgumentError(
            "{text} is no guardrail; write METRIC=TOLERATED, such as refunds=0.01", text=repr(text)
        ) from error


# By the arguments of `lifecycle.create` and `editing.edit`.
_DESIGN: dict[str, Argument] = {
    "variants": Several(
        "a variant and its weight, the control first; can be repeated, replaces all. Without "
        "variants: control and treatment",
        "KEY[:WEIGHT]",
        parse=Variant.parse,
    ),
    "traffic_percent": Parsed("the share of all units that take part", "PERCENT", percent),
    "bucket_by": Argument('what gets a variant: "user", "visitor" or an attribute', "UNIT"),
    "rules": JsonFile('a file with the rules as a JSON list; "-" is the standard input'),
    "description": Argument("what the experiment is about"),
    "owner": Argument("who is responsible for it", "NAME"),
}
# By the arguments of `metric_settings.set_metrics`.
_ANALYSIS: dict[str, Argument] = {
    "primary": Argument("the metric that decides", "METRIC"),
    "others": Several("another metric; can be repeated, replaces all", "METRIC"),
    "guardrails": Several(
        "a metric that must not get worse, and by how much it may: of a share 0.01 for one "
        "percentage point, else in the unit of its values; can be repeated, replaces all",
        "METRIC[=TOLERATED]",
        parse=guardrail_of,
    ),
    "planned_units": Parsed(
        "the units that you expect, of all variants together; the intervals are optimised for it",
        "N",
        int,
    ),
    "min_days": Parsed("there is no verdict before these days", "N", int),
    "min_units": Parsed("there is no verdict before each variant has these units", "N", int),
    "smallest_effect": Parsed(
        "effects below do not matter; in the unit of the primary metric, as in --guardrail",
        "EFFECT",
        float,
    ),
}
_Variant = Annotated[str, Argument("a variant", "VARIANT")]


def _done(write: Callable[[], Experiment], key: str, *undo: str, instead: str = "") -> Done:
    """Writes, and returns what was done.

    `undo` are the words of the action that takes it back; without one, `instead` says what to do.
    """
    before = Experiment.objects.using(conf.database).filter(key=key).first()
    last = 0 if before is None else newest_event(before)
    written = newest_event(write()) != last
    record = experiment_record(find(key))
    text = record["events"][-1]["text"] if written else "nothing had to be changed"
    messages = [
        f"{key}: {text}",
        instead if written else "",
        NOTICE if record["forced_off"] else "",
    ]
    command = Undo((EXPERIMENT, *undo)) if undo and written else None
    return Done(key, [one for one in messages if one], record, command, written)


@action(
    EXPERIMENT,
    "experiment create checkout_button",
    "experiment create checkout_button --variant control --variant green:2 --traffic-percent 20",
    right="add",
    creates=True,
    fields=lambda: _DESIGN,
    label=_("Add experiment"),
    button=_("Add experiment"),
)
def create(key: str, **fields: Any) -> Done:
    """Create an experiment without starting it.

    Every call returns its default until the start.
    """
    return _done(lambda: lifecycle.create(key, **fields), key, "delete", key, "--yes")


@action(
    EXPERIMENT,
    'experiment details checkout_button --description "Is a green button better?"',
    "experiment details checkout_button --variant control --variant green:2 --traffic-percent 20",
    fields=lambda: _DESIGN,
    label=_("Details"),
)
def details(key: str, **fields: Any) -> Done:
    """Change an experiment that has not started.

    Only the given options are written.
    """
    instead = "to take it back, set the old values"
    return _done(lambda: editing.edit(key, **fields), key, instead=instead)


@action(
    EXPERIMENT,
    "experiment metrics checkout_button --primary orders --planned-units 20000",
    "experiment metrics checkout_button --guardrail refunds=0.01",
    fields=lambda: _ANALYSIS,
    label=_("Metrics"),
)
def metrics(key: str, **fields: Any) -> Done:
    """Set what is measured, and when there is a verdict.

    After the start, metrics can be added, and none can be removed.
    """
    if (lines := fields.get("guardrails")) is not None:
        guardrails = [*map(guardrail_of, lines)]
        names = [name for name, _tolerated in guardrails]
        if twice := next((name for name in names if names.count(name) > 1), None):
            text = "guardrails: {name} is there twice; remove one"
            raise InvalidArgumentError(text, name=twice)
        fields["guardrails"] = dict(guardrails)
    instead = "to take it back before the start, set the old values; metrics stay after it"
    return _done(lambda: metric_settings.set_metrics(key, **fields), key, instead=instead)


@action(
    EXPERIMENT,
    "experiment start checkout_button --wait",
    "experiment start checkout_button --reason launch",
    label=_("Start"),
    button=_("Start %(key)s"),
)
def start(key: str) -> Done:
    """Start the experiment, or continue one that was stopped."""
    return _done(lambda: lifecycle.start(key), key, "stop", key)


@action(
    EXPERIMENT,
    "experiment traffic checkout_button 50",
    "experiment traffic checkout_button 100 --wait",
    label=_("Traffic"),
)
def traffic(key: str, percent: Percent) -> Done:
    """Set the share of units that take part.

    Begins a phase of an experiment that runs.
    """
    before = str(find(key).traffic_percent)
    return _done(
        lambda: assigning.set_weights(key, traffic_percent=percent), key, "traffic", key, before
    )


def _restart_question(key: str) -> Question:
    find(key)
    return Question(
        f"Give all units of the experiment {key} other buckets? The exposures so far are no longer "
        "reported."
    )


@action(
    EXPERIMENT,
    "experiment restart checkout_button --yes",
    "experiment restart checkout_button --dry-run",
    question=_restart_question,
    asks_always=True,
    label=_("Restart"),
    button=_("Restart %(key)s"),
)
def restart(key: str) -> Done:
    """Start the experiment anew: all units get other buckets.

    The exposures so far are no longer reported.
    """

    def write() -> Experiment:
        with transaction.atomic(using=conf.database):
            experiment = assigning.shuffle(key)
            return experiment if experiment.state == State.RUNNING else lifecycle.start(key)

    return _done(write, key, instead="the buckets before do not return")


@action(
    EXPERIMENT,
    "experiment force checkout_button 42 --variant treatment",
    "experiment force checkout_button 42",
    label=_("Force a unit"),
    button=_("Force the unit"),
)
def force(
    key: str,
    unit: Annotated[str, Argument("such as the primary key of a user", "UNIT")],
    variant: _Variant | None = None,
) -> Done:
    """Give a unit a certain variant, which is not recorded.

    Without `--variant`, its bucket decides again. A unit that begins with "-" comes last, after
    `--`: `experiment force checkout_button --variant treatment -- -a7`.
    """
    before = find(key).overrides.get(unit)
    option = () if before is None else ("--variant", before)
    words = (*option, "--", unit) if unit.startswith("-") else (unit, *option)
    return _done(lambda: assigning.force(key, unit, variant), key, "force", key, *words)


@action(
    EXPERIMENT,
    'experiment stop checkout_button --reason "orders fail"',
    "experiment stop checkout_button --no-wait",
    waits=True,
    always_runs=True,
    label=_("Stop"),
    button=_("Stop %(key)s"),
)
def stop(key: str) -> Done:
    """Stop the experiment, also a shipped one, and wait for the workers.

    Every call returns its default. Nothing delays it: no question, no reason.
    """
    return _done(lambda: lifecycle.stop(key), key, "undo", key, "--yes")


def _ship_question(key: str, winner: str, **_arguments: object) -> Question:
    if shipped := find(key).winner:
        return Question(
            f"Ship {winner} to all units instead of {shipped}? The stored report stays."
        )
    return Question(f"Ship {winner} to all units, and end the experiment {key}?")


@action(
    EXPERIMENT,
    "experiment ship checkout_button treatment --yes",
    "experiment ship checkout_button treatment --no-report --yes",
    question=_ship_question,
    asks_always=True,
    label=_("Ship"),
    button=_("Ship %(winner)s"),
)
def ship(
    key: str,
    winner: _Variant,
    *,
    report: Annotated[bool, YesNo("whether a report is stored; no ships if a metric fails")] = True,
) -> Done:
    """Give all units a variant, and end the experiment; or ship another variant."""
    return _done(
        lambda: lifecycle.ship(key, winner, with_report=report),
        *(key, "undo", key, "--yes"),
        instead=f"remove {key} from the code: {command_line('references', key)}",
    )


def _undo_question(key: str) -> Question:
    decision = undoing.last_decision(find(key))
    return Question(f"Undo “{decision.message}” of {key}? It is {decision.before['state']} again.")


@action(
    EXPERIMENT,
    "experiment undo checkout_button --yes",
    "experiment undo checkout_button --dry-run",
    question=_undo_question,
    asks_always=True,
    label=_("Undo"),
    button=_("Undo"),
)
def undo(key: str) -> Done:
    """Take back the last stop or ship.

    The exposures are kept. Another `undo` takes back the decision before.
    """
    winner = find(key).winner
    again = ("ship", key, winner, "--yes") if winner else ("stop", key)
    return _done(lambda: undoing.undo(key), key, *again)


def _deletion(key: str) -> Question:
    find(key)
    return Question(f"Delete the experiment {key} with its exposures and events?")


@action(
    EXPERIMENT,
    "experiment delete checkout_button --yes",
    "experiment delete checkout_button --dry-run",
    right="delete",
    question=_deletion,
    asks_always=True,
    label=_("Delete"),
    button=_("Delete %(key)s"),
    deletes=True,
)
def delete(key: str) -> Done:
    """Delete the experiment with its exposures and events.

    Stop one that runs first.
    """
    lifecycle.delete(key)
    text = f"{key}: deleted; every call returns its default; this cannot be undone"
    return Done(key, [text], {"key": key, "deleted": True})


#: In the order of the help.
ACTIONS: tuple[Action, ...] = (
    *(create, details, metrics, start, traffic, restart, force, stop, ship, undo, delete),
)
