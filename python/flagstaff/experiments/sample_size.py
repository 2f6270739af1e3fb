"""The verb `sample-size`: how many units an experiment needs."""

from __future__ import annotations

from argparse import ArgumentTypeError

from django.core.management.base import CommandError, CommandParser

from flagstaff._words.cells import Column
from flagstaff.cli.errors import USAGE
from flagstaff.cli.output import Output
from flagstaff.cli.verb import Options, Topic, Verb
from flagstaff.experiments.statistics import (
    Design,
    SampleSize,
    days_needed,
    least_units_of_mean,
    least_units_of_proportion,
    sample_size_of_means,
    sample_size_of_proportions,
)
from flagstaff.experiments.statistics.planner import LOOKING_COSTS

_COLUMNS = (Column("control"), Column("treatment"), Column("total"), Column("days"))


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
    if not 0 < number < float("inf"):
        raise ArgumentTypeError(f"expected a number above 0, not {text!r}")
    return number


def _add_arguments(parser: CommandParser) -> None:
    parser.add_argument(
        "--from", dest="control", type=_share, metavar="SHARE", help="the conversion of the control"
    )
    parser.add_argument(
        "--to",
        dest="treatment",
        type=_share,
        metavar="SHARE",
        help="the conversion that you want to find",
    )
    parser.add_argument(
        "--deviation", type=_positive, metavar="NUMBER", help="of a mean: its standard deviation"
    )
    parser.add_argument(
        "--effect",
        type=_positive,
        metavar="NUMBER",
        help="of a mean: the difference that you want to find",
    )
    parser.add_argument(
        "--mean",
        type=_positive,
        metavar="NUMBER",
        help="of a mean: the mean of the control, units without a value included; rare or skewed "
        "values need more units",
    )
    parser.add_argument("--power", type=_share, default=0.8, metavar="SHARE")
    parser.add_argument(
        "--per-day", type=_positive, metavar="N", help="new units per day in all variants"
    )


def _run(options: Options, out: Output) -> None:
    try:
        size = _size(options, Design(power=options["power"]))
        least = _least(options)
    except ValueError as error:
        raise CommandError(str(error), returncode=USAGE) from error
    if least is not None and least > size.control:
        out.message(
            f"{size.control:,} units of each variant would show the effect, but an interval needs "
            f"about {least:,}: few units have a value other than 0, or values are skewed"
        )
        size = SampleSize(least, least)
    elif least is None:
        out.message(
            "pass --mean, too: few units with a value other than 0, or skewed values, need more "
            "units for an interval than the deviation says"
        )
    per_day = options["per_day"]
    record = {
        "control": size.control,
        "treatment": size.treatment,
        "total": size.total,
        "days": days_needed(size.total, per_day) if per_day else None,
    }
    out.record(_COLUMNS, record)
    out.message(
        f"set --planned-units to {size.total}; results that are valid at every look need up to "
        f"{LOOKING_COSTS:g} times as many units on average"
    )


def _size(options: Options, design: Design) -> SampleSize:
    shares = options["control"], options["treatment"]
    means = options["deviation"], options["effect"]
    if None not in shares and means == (None, None) and options["mean"] is None:
        return sample_size_of_proportions(*shares, design)
    if None not in means and shares == (None, None):
        return sample_size_of_means(*means, design)
    raise CommandError(
        "write --from and --to for a conversion, or --deviation and --effect for a mean",
        returncode=USAGE,
    )


def _least(options: Options) -> int | None:
    """Returns the units of a variant that an interval needs; None if that is not known."""
    if options["control"] is not None:
        return max(map(least_units_of_proportion, (options["control"], options["treatment"])))
    if options["mean"] is None:
        return None
    return least_units_of_mean(options["mean"], options["deviation"])


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
