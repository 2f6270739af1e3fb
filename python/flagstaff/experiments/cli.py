"""The verbs `experiment`, with list, show, report and the actions, and `sample-size`."""

from __future__ import annotations

import math
from argparse import ArgumentTypeError
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial

from django.core.management.base import CommandError, CommandParser
from django.utils.translation import override

from flagstaff._engine.forced_off import NOTICE
from flagstaff._tables.database import db
from flagstaff._text import some
from flagstaff._text.times import Column
from flagstaff.cli.action_verbs import action_verbs
from flagstaff.cli.errors import USAGE
from flagstaff.cli.options import add_key
from flagstaff.cli.output import Output
from flagstaff.cli.verb import Options, Topic, Verb, verb, verb_group
from flagstaff.experiments.actions import EXPERIMENT
from flagstaff.experiments.models import Experiment
from flagstaff.experiments.records import (
    EVENT_COLUMNS,
    EXPERIMENT_COLUMNS,
    LIST_COLUMNS,
    experiment_record,
)
from flagstaff.experiments.report_data import MetricReport, Report, VerdictReport
from flagstaff.experiments.report_rows import (
    NONE,
    MetricRow,
    before_texts,
    correction_text,
    facts,
    notes,
    p_sentence,
    role_texts,
    shares_text,
    unit_rows,
    verdict_notes,
    verdict_text,
)
from flagstaff.experiments.reporting import metric_error, report_of
from flagstaff.experiments.rows import find
from flagstaff.experiments.statistics.sequential import (
    FOUND,
    SampleSize,
    size_for_means,
    size_for_proportions,
)

_add_experiment = partial(add_key, noun=EXPERIMENT)


@verb("experiment list", "experiment list --json")
def list_(_options: Options, out: Output) -> None:
    """List all experiments."""
    rows = db.rows(Experiment).order_by("-id")
    records = [experiment_record(row, with_events=False) for row in rows]
    if forced := [record["key"] for record in records if record["forced_off"]]:
        out.message(f"{NOTICE}: {some(forced)}")
    out.records(LIST_COLUMNS, records, empty="there is no experiment")


@verb(
    "experiment show checkout_button",
    "experiment show checkout_button --json",
    arguments=(_add_experiment,),
)
def show(options: Options, out: Output) -> None:
    """Show an experiment and its events."""
    record = experiment_record(find(options["key"]))
    out.record(EXPERIMENT_COLUMNS, record)
    if not out.is_json:
        out.line("")
        out.records(EVENT_COLUMNS, record["events"])


@verb(
    "experiment report checkout_button",
    "experiment report checkout_button --json",
    arguments=(_add_experiment,),
)
def report(options: Options, out: Output) -> None:
    """Print the verdict, the results of the metrics, and the counts."""
    document = report_of(find(options["key"]))
    if out.is_json:
        out.document(document, indent=None)
        return
    # With the numbers of English, too.
    with override("en"):
        for line in _report_lines(document):
            # A blank that keeps a sign beside its number is for pages.
            out.line(line.replace("\N{NO-BREAK SPACE}", " "))


# The report as lines.


def _report_lines(report: Report) -> Iterator[str]:
    """Yields the verdict, the metrics and the counts."""
    for note in notes(report):
        yield note
        yield ""
    for verdict in report["verdicts"]:
        yield from _verdict(report, verdict)
        yield ""
    if not report["verdicts"]:
        yield f"There is no verdict: {metric_error(report)}"
        yield ""
    if not report["metrics"]:
        yield f"There is no metric. Set one: manage.py flags experiment edit {report['key']}"
    for metric in () if report["has_mismatch"] else report["metrics"]:
        yield from _metric(metric)
    if note := correction_text(report):
        yield note
    for row in unit_rows(report):
        key, *cells = row.items()
        yield f"{key[1]}: {', '.join(f'{name.lower()} {cell}' for name, cell in cells)}"
    yield shares_text(report)


def _verdict(report: Report, verdict: VerdictReport) -> Iterator[str]:
    yield f"{verdict['treatment']}: {verdict_text(report, verdict)}"
    yield from (f"  + {text}" for text in verdict["may_conclude"])
    yield from (f"  - {text}" for text in verdict["may_not_conclude"])
    yield from (f"  {text}" for text in verdict_notes(report, verdict))


def _metric(metric: MetricReport) -> Iterator[str]:
    if metric["error"]:
        yield f"{metric['metric']} · {' · '.join(role_texts(metric))} fails: {metric['error']}"
        return
    yield " · ".join([metric["metric"], *role_texts(metric), *facts(metric)])
    for result in metric["treatments"]:
        row = MetricRow(metric, result)
        _colour, *words = row.verdict
        text = ", ".join(filter(None, words))
        if row.newest is not None:
            p_value = result["corrected_p_value"]
            p_text = NONE if p_value is None else p_sentence(p_value)
            text = f"{row.control} → {row.treatment}, {row.effect}, {p_text}: {text}"
        yield f"  {result['treatment']}: {text}"
    if before := before_texts(metric):
        time, texts = before
        figures = ", ".join(f"{variant} {text}" for variant, text in texts.items())
        yield f"  before {time}, without a test: {figures}"


# The units that an experiment needs.

_SIZE_COLUMNS = (
    Column("one_look"),
    Column("planned"),
    Column("average"),
    Column("without_effect"),
    Column("days"),
)


def _number(text: str, below: float = math.inf, expected: str = "a number above 0") -> float:
    is_percent = text.endswith("%")
    try:
        number = float(text.removesuffix("%")) / (100 if is_percent else 1)
    except ValueError:
        number = -1.0
    if not 0 < number < below or (is_percent and below == math.inf):
        raise ArgumentTypeError(f"expected {expected}, not {text!r}")
    return number


def _share(text: str) -> float:
    return _number(text, 1, "a share such as 0.1 or 10%")


def _add_size_arguments(parser: CommandParser) -> None:
    add = parser.add_argument
    add("--from", dest="control", type=_share, metavar="SHARE", help="the share of the control")
    add("--to", type=_share, metavar="SHARE", help="the share that you want to find")
    add("--deviation", type=_number, metavar="NUMBER", help="of a mean: its standard deviation")
    add(
        "--effect",
        type=_number,
        metavar="NUMBER",
        help="of a mean: the difference that you want to find",
    )
    add("--per-day", type=_number, metavar="N", help="new units per day in all variants")


def _print_size(options: Options, out: Output) -> None:
    try:
        effect, size = _size(options)
    except ValueError as error:
        raise CommandError(str(error), returncode=USAGE) from error
    per_day = options["per_day"]
    days = math.ceil(size.planned / per_day) if per_day else None
    out.record(_SIZE_COLUMNS, {**asdict(size), "days": days})
    times = "\N{MULTIPLICATION SIGN}"
    out.message(
        f"about {size.planned:,} units ({FOUND:g} {times} {size.one_look:,}) find the planned "
        f"effect in four of five cases, {size.average:,} on average; without an effect, "
        f"{size.without_effect:,} units say so in four of five. Set --planned-units "
        f"{size.planned} --smallest-effect {effect:.6g}; other metrics, uneven weights and rare "
        f"values need more"
    )


def _size(options: Options) -> tuple[float, SampleSize]:
    """Returns the planned effect, and the units for it."""
    shares = (options["control"], options["to"])
    mean = (options["deviation"], options["effect"])
    if None not in shares and mean == (None, None):
        control, treatment = shares
        return abs(treatment - control), size_for_proportions(control, treatment)
    if None not in mean and shares == (None, None):
        return options["effect"], size_for_means(*mean)
    raise CommandError(
        "write --from and --to for a share, or --deviation and --effect for a mean",
        returncode=USAGE,
    )


_SAMPLE_SIZE = Verb(
    name="sample-size",
    help="print how many units an experiment needs to find an effect",
    examples=(
        "sample-size --from 10% --to 12% --per-day 500",
        "sample-size --deviation 30 --effect 1.5",
    ),
    add_arguments=_add_size_arguments,
    run=_print_size,
    topic=Topic.ROLLOUTS,
)

VERBS = (
    verb_group(
        EXPERIMENT,
        "show and change experiments",
        list_,
        show,
        report,
        *action_verbs(EXPERIMENT),
        topic=Topic.ROLLOUTS,
    ),
    _SAMPLE_SIZE,
)
