"""The verb `sample-size`: how many units an experiment needs."""

from __future__ import annotations

import math
from argparse import ArgumentTypeError

from django.core.management.base import CommandError, CommandParser

from flagstaff._words.cells import Column
from flagstaff.cli.errors import USAGE
from flagstaff.cli.output import Output
from flagstaff.cli.verb import Options, Topic, Verb
from flagstaff.experiments.statistics import (
    LOOKING_COSTS,
    least_units_of_mean,
    least_units_of_proportion,
    units_for_means,
    units_for_proportions,
)

_COLUMNS = (Column("variant"), Column("total"), Column("days"))


def _share(text: str) -> float:
    number = text.removesuffix("%")
    try:
        share = float(number) / (100 if number != text else 1)
    except ValueError:
        share = -1.0
    if not 0 < share < 1:
        raise ArgumentTypeError(f"expected a share such as 0.1 or 10%, not {text!r}")
    return share


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 < number < math.inf:
        raise ArgumentTypeError(f"expected a number above 0, not {text!r}")
    return number


def _add_arguments(parser: CommandParser) -> None:
    add = parser.add_argument
    add("--from", dest="control", type=_share, metavar="SHARE", help="the share of the control")
    add("--to", type=_share, metavar="SHARE", help="the share that you want to find")
    add("--deviation", type=_positive, metavar="NUMBER", help="of a mean: its standard deviation")
    add(
        "--effect",
        type=_positive,
        metavar="NUMBER",
        help="of a mean: the difference that you want to find",
    )
    add(
        "--mean",
        type=_positive,
        metavar="NUMBER",
        help="of a mean: the mean of the control, units without a value included; rare or skewed "
        "values need more units",
    )
    add("--power", type=_share, default=0.8, metavar="SHARE")
    add("--per-day", type=_positive, metavar="N", help="new units per day in all variants")


def _run(options: Options, out: Output) -> None:
    try:
        units, least = _units(options)
    except ValueError as error:
        raise CommandError(str(error), returncode=USAGE) from error
    if least is None:
        out.message(
            "pass --mean, too: few units with a value other than 0, or skewed values, need more "
            "units for an interval than the deviation says"
        )
    elif least > units:
        out.message(
            f"{units:,} units of each variant would show the effect, but an interval needs about "
            f"{least:,}: few units have a value other than 0, or values are skewed"
        )
        units = least
    total, per_day = 2 * units, options["per_day"]
    days = math.ceil(total / per_day) if per_day else None
    out.record(_COLUMNS, {"variant": units, "total": total, "days": days})
    out.message(
        f"set --planned-units to {total}; results that are valid at every look need up to "
        f"{LOOKING_COSTS:g} times as many units on average"
    )


def _units(options: Options) -> tuple[int, int | None]:
    """Returns the units of each variant, and those that an interval needs; None if not known."""
    control, treatment, power = options["control"], options["to"], options["power"]
    deviation, effect, mean = options["deviation"], options["effect"], options["mean"]
    is_share = None not in (control, treatment)
    is_mean = None not in (deviation, effect)
    if is_share and (deviation, effect, mean) == (None, None, None):
        needed = max(map(least_units_of_proportion, (control, treatment)))
        return units_for_proportions(control, treatment, power=power), needed
    if is_mean and (control, treatment) == (None, None):
        least = None if mean is None else least_units_of_mean(mean, deviation)
        return units_for_means(deviation, effect, power=power), least
    raise CommandError(
        "write --from and --to for a share, or --deviation and --effect for a mean",
        returncode=USAGE,
    )


SAMPLE_SIZE = Verb(
    name="sample-size",
    help="print how many units an experiment needs to find an effect",
    examples=(
        "sample-size --from 10% --to 12% --per-day 500",
        "sample-size --deviation 30 --effect 1.5 --mean 4 --power 0.9",
    ),
    add_arguments=_add_arguments,
    run=_run,
    topic=Topic.ROLLOUTS,
)
