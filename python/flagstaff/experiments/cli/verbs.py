"""The verbs `experiment` and `experiments`."""

from __future__ import annotations

from django.core.management.base import CommandError, CommandParser

from flagstaff.cli.support.change_arguments import add_key
from flagstaff.cli.support.errors import UNKNOWN
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.pruning import add_prune, run_prune
from flagstaff.cli.support.topics import Topic
from flagstaff.cli.support.verb import Options, Verb, add_verbs, missing_key_hint
from flagstaff.conf import conf
from flagstaff.exceptions import UnknownExperimentError
from flagstaff.experiments import assigning, lifecycle
from flagstaff.experiments.cli.actions import (
    changing,
    run_create,
    run_delete,
    run_force,
    run_metrics,
    run_report,
    run_ship,
    run_show,
    run_weights,
)
from flagstaff.experiments.cli.arguments import (
    add_change,
    add_create,
    add_delete,
    add_force,
    add_metrics,
    add_ship,
    add_weights,
)
from flagstaff.experiments.models import Experiment
from flagstaff.experiments.records import LIST_COLUMNS, experiment_record
from flagstaff.experiments.retention import prune

__all__ = ["EXPERIMENT", "EXPERIMENTS"]

_SHOW = "show"


def _add_list(parser: CommandParser) -> None:
    add_prune(parser)
    parser.set_defaults(key=None)


def _list(options: Options, out: Output) -> None:
    if options["prune"]:
        run_prune(options, out, prune, "exposure")
        return
    rows = Experiment.objects.using(conf.database).order_by("-id")
    records = [experiment_record(one, with_events=False) for one in rows]
    if not records:
        out.message("there is no experiment")
    out.records(LIST_COLUMNS, records)


_ACTIONS = (
    Verb(
        name=_SHOW,
        help="show an experiment and its events",
        examples=("experiment checkout_button show",),
        run=run_show,
    ),
    Verb(
        name="create",
        help="create an experiment without starting it",
        examples=(
            "experiment checkout_button create",
            "experiment checkout_button create --variant control --variant green --traffic 20",
        ),
        add_arguments=add_create,
        run=run_create,
    ),
    Verb(
        name="metrics",
        help="set what is measured, and when there is a verdict",
        examples=(
            "experiment checkout_button metrics --primary orders --planned-users 20000",
            "experiment checkout_button metrics --guardrail refunds=0.01",
        ),
        add_arguments=add_metrics,
        run=run_metrics,
    ),
    Verb(
        name="start",
        help="start the experiment, or continue one that was stopped",
        examples=("experiment checkout_button start --wait",),
        add_arguments=add_change,
        run=changing(lifecycle.start),
    ),
    Verb(
        name="weights",
        help="change weights, or the share of units that take part; begins a phase",
        examples=("experiment checkout_button weights --variant treatment:3 --traffic 50",),
        add_arguments=add_weights,
        run=run_weights,
    ),
    Verb(
        name="shuffle",
        help="give all units other buckets; the exposures so far are no longer reported",
        examples=("experiment checkout_button shuffle",),
        add_arguments=add_change,
        run=changing(assigning.shuffle),
    ),
    Verb(
        name="force",
        help="give a unit a certain variant, which is not recorded",
        examples=("experiment checkout_button force 42 treatment",),
        add_arguments=add_force,
        run=run_force,
    ),
    Verb(
        name="stop",
        help="stop the experiment at once: every call returns its default, and no unit is recorded",
        examples=("experiment checkout_button stop --wait",),
        add_arguments=add_change,
        run=changing(lifecycle.stop),
    ),
    Verb(
        name="ship",
        help="give all users a variant, and end the experiment",
        examples=("experiment checkout_button ship treatment --yes",),
        add_arguments=add_ship,
        run=run_ship,
    ),
    Verb(
        name="report",
        help="print the verdict, the results of the metrics, and the counts",
        examples=("experiment checkout_button report --json",),
        run=run_report,
    ),
    Verb(
        name="delete",
        help="delete the experiment with its exposures",
        examples=("experiment checkout_button delete --yes",),
        add_arguments=add_delete,
        run=run_delete,
    ),
)
_BY_NAME = {action.name: action for action in _ACTIONS}


def _add_arguments(parser: CommandParser) -> None:
    add_key(parser, "experiment")
    add_verbs(parser, _ACTIONS, dest="action")


def _run(options: Options, out: Output) -> None:
    try:
        _BY_NAME[options["action"] or _SHOW].run(options, out)
    except UnknownExperimentError as error:
        if advice := missing_key_hint(options, _ACTIONS):
            raise CommandError(f"{error}{advice}", returncode=UNKNOWN) from error
        raise


EXPERIMENT = Verb(
    name="experiment",
    help="show or change an experiment, or print its report",
    examples=(
        "experiment checkout_button",
        *(line for action in _ACTIONS for line in action.examples),
    ),
    add_arguments=_add_arguments,
    run=_run,
    topic=Topic.ROLLOUTS,
)
EXPERIMENTS = Verb(
    name="experiments",
    help="list all experiments, or delete old exposures of those that have ended",
    examples=("experiments", "experiments --json", "experiments --prune --older-than 365"),
    add_arguments=_add_list,
    run=_list,
    topic=Topic.ROLLOUTS,
)
