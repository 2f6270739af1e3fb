"""The arguments of the verb `experiment`."""

from __future__ import annotations

from argparse import ArgumentTypeError

from django.core.management.base import CommandParser

from flagstaff.cli.support.argument_types import count, percent
from flagstaff.cli.support.change_arguments import add_attribution, add_yes
from flagstaff.cli.support.json_argument import add_json_file
from flagstaff.cli.support.wait import add_wait
from flagstaff.exceptions import InvalidExperimentError
from flagstaff.experiments.models import Method
from flagstaff.experiments.variants import Variant

__all__ = [
    "add_change",
    "add_create",
    "add_delete",
    "add_force",
    "add_metrics",
    "add_ship",
    "add_weights",
]


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


def add_create(parser: CommandParser) -> None:
    _add_variants(
        parser,
        "a variant, the control first; can be repeated. Without variants: control and treatment",
    )
    parser.add_argument(
        "--bucket-by",
        default="user",
        metavar="UNIT",
        help='what gets a variant: "user", "visitor" or an attribute',
    )
    add_json_file(parser, "--rules", "the rules")
    parser.add_argument(
        "--description", default="", metavar="TEXT", help="what the experiment is about"
    )
    parser.add_argument("--owner", default="", metavar="NAME", help="who is responsible for it")
    add_attribution(parser, "events")


def add_weights(parser: CommandParser) -> None:
    _add_variants(parser, "a variant and its new weight; can be repeated")
    add_change(parser)


def add_change(parser: CommandParser) -> None:
    add_attribution(parser, "events")
    add_wait(parser)


def add_metrics(parser: CommandParser) -> None:
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
        help="a metric that must not get worse; can be repeated",
    )
    parser.add_argument("--method", type=Method, choices=list(Method), metavar="METHOD")
    parser.add_argument("--planned-users", type=count(1), metavar="N")
    parser.add_argument("--min-days", type=count(0), metavar="N")
    parser.add_argument("--min-users", type=count(1), metavar="N")
    parser.add_argument("--smallest-effect", type=float, metavar="EFFECT")
    add_attribution(parser, "events")


def add_force(parser: CommandParser) -> None:
    parser.add_argument("unit", metavar="UNIT", help="such as the primary key of a user")
    parser.add_argument(
        "variant",
        metavar="VARIANT",
        nargs="?",
        help="without it, the bucket of the unit decides again",
    )
    add_change(parser)


def add_ship(parser: CommandParser) -> None:
    parser.add_argument("winner", metavar="VARIANT", help="the variant that all users get")
    parser.add_argument(
        "--without-report", action="store_true", help="ship even if a metric fails; keeps no report"
    )
    add_change(parser)
    add_yes(parser)


def add_delete(parser: CommandParser) -> None:
    add_attribution(parser, "events")
    add_yes(parser)
