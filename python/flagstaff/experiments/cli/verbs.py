"""The verbs `experiment` and `experiments`."""

from __future__ import annotations

from argparse import ArgumentTypeError

from django.core.management.base import CommandError, CommandParser

from flagstaff._engine.forced_off import NOTICE
from flagstaff._words.text import some
from flagstaff.actions.arguments import percent
from flagstaff.cli.asking import add_prune, run_prune
from flagstaff.cli.errors import UNKNOWN
from flagstaff.cli.options import add_attribution, add_key, add_wait, add_yes, count
from flagstaff.cli.output import Output
from flagstaff.cli.verb import (
    Options,
    Topic,
    Verb,
    VerbParser,
    add_verbs,
    means_list,
    missing_key_hint,
)
from flagstaff.conf import conf
from flagstaff.exceptions import InvalidExperimentError, UnknownExperimentError
from flagstaff.experiments import lifecycle
from flagstaff.experiments.cli.actions import (
    changing,
    run_create,
    run_delete,
    run_edit,
    run_force,
    run_metrics,
    run_report,
    run_ship,
    run_show,
    run_shuffle,
    run_undo,
    run_weights,
)
from flagstaff.experiments.models import Experiment, Method
from flagstaff.experiments.records import LIST_COLUMNS, experiment_record
from flagstaff.experiments.retention import prune
from flagstaff.experiments.variants import Variant

# The arguments of the verb `experiment`.


def _variant(text: str) -> Variant:
    try:
        return Variant.parse(text)
    except InvalidExperimentError as error:
        raise ArgumentTypeError(str(error)) from error


def _guardrail(text: str) -> tuple[str, float]:
    name, _, tolerated = text.partition("=")
    try:
        return name, float(tolerated or 0)
    except ValueError as error:
        raise ArgumentTypeError(
            f"expected a metric, or METRIC=TOLERATED such as refunds=0.01, not {text!r}"
        ) from error


def _add_variants(parser: CommandParser, help_text: str) -> None:
    parser.add_argument(
        "--variant",
        dest="variants",
        action="append",
        type=_variant,
        metavar="KEY[:WEIGHT]",
        help=help_text,
    )
    parser.add_argument(
        "--traffic", type=percent, metavar="PERCENT", help="the share of all units that take part"
    )


def _add_design(parser: CommandParser, variants: str) -> None:
    _add_variants(parser, f"a variant, the control first; can be repeated. {variants}")
    parser.add_argument(
        "--bucket-by",
        metavar="UNIT",
        help='the bucketing unit, which gets a variant: "user", "visitor" or an attribute',
    )
    parser.add_argument(
        "--rules",
        metavar="FILE",
        help='a file with the rules as a JSON list; "-" is the standard input',
    )
    parser.add_argument("--description", metavar="TEXT", help="what the experiment is about")
    parser.add_argument("--owner", metavar="NAME", help="who is responsible for it")
    add_attribution(parser, "events")


def _add_create(parser: CommandParser) -> None:
    _add_design(parser, "Without variants: control and treatment")


def _add_edit(parser: CommandParser) -> None:
    _add_design(parser, "Replaces all variants")
    _add_analysis(parser)


def _add_weights(parser: CommandParser) -> None:
    _add_variants(parser, "a variant and its new weight; can be repeated")
    _add_change(parser)


def _add_change(parser: CommandParser) -> None:
    add_attribution(parser, "events")
    add_wait(parser)


def _add_stop(parser: CommandParser) -> None:
    _add_change(parser)
    # As for a kill: nothing may delay it.
    parser.set_defaults(needs_reason=False)


def _add_confirmed(parser: CommandParser) -> None:
    _add_change(parser)
    add_yes(parser)


def _add_metrics(parser: CommandParser) -> None:
    _add_analysis(parser)
    add_attribution(parser, "events")


def _add_analysis(parser: CommandParser) -> None:
    parser.add_argument("--primary", metavar="METRIC", help="the metric that decides")
    parser.add_argument(
        "--other",
        dest="others",
        action="append",
        metavar="METRIC",
        help="another metric; can be repeated",
    )
    parser.add_argument(
        "--guardrail",
        dest="guardrails",
        action="append",
        type=_guardrail,
        metavar="METRIC[=TOLERATED]",
        help="a metric that must not get worse, and by how much it may: of a share 0.01 for one "
        "percentage point, else in the unit of its values; can be repeated",
    )
    parser.add_argument(
        "--method",
        type=Method,
        choices=list(Method),
        metavar="METHOD",
        help='"sequential": valid at every look; "fixed": one look at the planned units',
    )
    parser.add_argument(
        "--planned-units",
        type=count(1),
        metavar="N",
        help="the units that you expect, of all variants together; the intervals are optimised "
        "for it",
    )
    parser.add_argument(
        "--min-days", type=count(0), metavar="N", help="there is no verdict before these days"
    )
    parser.add_argument(
        "--min-units",
        type=count(1),
        metavar="N",
        help="there is no verdict before each variant has these units",
    )
    parser.add_argument(
        "--smallest-effect",
        type=float,
        metavar="EFFECT",
        help="effects below do not matter; in the unit of the primary metric, as in --guardrail",
    )


def _add_force(parser: CommandParser) -> None:
    parser.add_argument("unit", metavar="UNIT", help="such as the primary key of a user")
    parser.add_argument(
        "variant",
        metavar="VARIANT",
        nargs="?",
        help="without it, the bucket of the unit decides again",
    )
    _add_change(parser)


def _add_ship(parser: CommandParser) -> None:
    parser.add_argument("winner", metavar="VARIANT", help="the variant that all units get")
    parser.add_argument(
        "--without-report", action="store_true", help="ship even if a metric fails; keeps no report"
    )
    _add_confirmed(parser)


def _add_delete(parser: CommandParser) -> None:
    add_attribution(parser, "events")
    add_yes(parser)


_SHOW = "show"


def _add_list(parser: CommandParser) -> None:
    add_prune(parser)
    parser.set_defaults(key=None)


def _list(options: Options, out: Output) -> None:
    if options["prune"]:
        run_prune(options, out, prune, "exposure")
    else:
        _print_all(out)


def _print_all(out: Output) -> None:
    rows = Experiment.objects.using(conf.database).order_by("-id")
    records = [experiment_record(row, with_events=False) for row in rows]
    if not records:
        out.message("there is no experiment")
    if forced := [record["key"] for record in records if record["forced_off"]]:
        out.message(f"{NOTICE}: {some(forced)}")
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
        add_arguments=_add_create,
        run=run_create,
    ),
    Verb(
        name="edit",
        help="change an experiment that has not started",
        examples=(
            'experiment checkout_button edit --description "Is a green button better?"',
            "experiment checkout_button edit --variant control --variant green:2 --traffic 20",
        ),
        add_arguments=_add_edit,
        run=run_edit,
    ),
    Verb(
        name="metrics",
        help="set what is measured, and when there is a verdict",
        examples=(
            "experiment checkout_button metrics --primary orders --planned-units 20000",
            "experiment checkout_button metrics --guardrail refunds=0.01",
        ),
        add_arguments=_add_metrics,
        run=run_metrics,
    ),
    Verb(
        name="start",
        help="start the experiment, or continue one that was stopped",
        examples=("experiment checkout_button start --wait",),
        add_arguments=_add_change,
        run=changing(lifecycle.start),
    ),
    Verb(
        name="weights",
        help="change weights, or the share of units that take part; begins a phase",
        examples=("experiment checkout_button weights --variant treatment:3 --traffic 50",),
        add_arguments=_add_weights,
        run=run_weights,
    ),
    Verb(
        name="shuffle",
        help="give all units other buckets; the exposures so far are no longer reported",
        examples=("experiment checkout_button shuffle --yes",),
        add_arguments=_add_confirmed,
        run=run_shuffle,
    ),
    Verb(
        name="force",
        help="give a unit a certain variant, which is not recorded",
        examples=("experiment checkout_button force 42 treatment",),
        add_arguments=_add_force,
        run=run_force,
    ),
    Verb(
        name="stop",
        help="stop the experiment at once, also a shipped one: every call returns its default",
        examples=("experiment checkout_button stop --wait",),
        add_arguments=_add_stop,
        run=changing(lifecycle.stop),
    ),
    Verb(
        name="ship",
        help="give all units a variant, and end the experiment; or ship another variant",
        examples=("experiment checkout_button ship treatment --yes",),
        add_arguments=_add_ship,
        run=run_ship,
    ),
    Verb(
        name="undo",
        help="take back the last stop or ship; the exposures are kept",
        examples=("experiment checkout_button undo --yes",),
        add_arguments=_add_confirmed,
        run=run_undo,
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
        add_arguments=_add_delete,
        run=run_delete,
    ),
)
_BY_NAME = {action.name: action for action in _ACTIONS}


def _add_arguments(parser: VerbParser) -> None:
    add_key(parser, "experiment")
    add_verbs(parser, _BY_NAME, dest="action")


def _run(options: Options, out: Output) -> None:
    try:
        _BY_NAME[options["action"] or _SHOW].run(options, out)
    except UnknownExperimentError as error:
        if means_list(options):
            _print_all(out)
            return
        if advice := missing_key_hint(options, _ACTIONS):
            raise CommandError(f"{error}{advice}", returncode=UNKNOWN) from error
        raise


EXPERIMENT = Verb(
    name="experiment",
    help="show or change an experiment, or print its report",
    examples=(
        "experiment list",
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
