"""The settings of an experiment: a draft's, those of a restart, and what grows after the start."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from django.db import IntegrityError
from django.utils.translation import override

from flagstaff._core import MAX_UNIT_BYTES
from flagstaff._tables.attributes import impossible_problem
from flagstaff._tables.database import db
from flagstaff._text import joined, plain_numbers, say
from flagstaff._text.rules import naming
from flagstaff._text.times import aware
from flagstaff.changes.rule_use import missing_name
from flagstaff.exceptions import (
    ExperimentError,
    InvalidArgumentError,
    InvalidExperimentError,
)
from flagstaff.experiments.metrics import metric_names
from flagstaff.experiments.models import Experiment
from flagstaff.experiments.records import SETTINGS, setting_texts
from flagstaff.experiments.requirements import (
    require_columns_of,
    require_free,
    require_now,
    require_valid,
    require_variant,
    require_whole,
)
from flagstaff.experiments.rows import Kind, begin_run, database_time, find, locked, record
from flagstaff.experiments.variants import Variant, valid_variants, variants_as_json, variants_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

#: Arguments that are not called like their column.
COLUMNS = {"primary": "primary_metric", "others": "other_metrics"}


class Settings(TypedDict, total=False):
    """What can be set before the start, besides the variants."""

    description: str
    traffic_percent: int
    bucket_by: str
    rules: Sequence[Mapping[str, Any]]
    #: The metric that decides.
    primary: str
    #: All other metrics.
    others: Sequence[str]
    #: All guardrails: the tolerated harm by the name of the metric.
    guardrails: Mapping[str, float]
    planned_units: int
    min_days: int
    min_units: int
    smallest_effect: float


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


def settings_of(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Returns fields with their guardrails parsed. Raises InvalidExperimentError."""
    if "guardrails" not in fields:
        return {**fields}
    pairs = [*map(guardrail_of, fields["guardrails"])]
    names = [name for name, _tolerated in pairs]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InvalidExperimentError("guardrails: {name} is there twice; remove one", name=twice)
    return {**fields, "guardrails": dict(pairs)}


def create(
    key: str,
    variants: Iterable[Variant | str] = ("control", "treatment"),
    **settings: Unpack[Settings],
) -> Experiment:
    """Creates an experiment that has not started. Every call returns its default until then.

    Variants are texts such as "control" or "treatment:3", the control first. Raises
    InvalidExperimentError, also for the key of a flag or of another experiment, and for a segment
    that does not exist.
    """
    experiment = Experiment(key=key)
    set_columns(experiment, columns_of(variants=variants, **settings))
    with db.atomic():
        require_free(key)
        # Locked, so that no segment is deleted meanwhile.
        if problem := missing_name(experiment.rules):
            raise InvalidExperimentError(problem)
        try:
            with db.atomic():
                experiment.save(using=db.alias, force_insert=True)
        except IntegrityError as error:
            raise InvalidExperimentError("there is an experiment {key} already", key=key) from error
        weights = joined(
            f"{variant.key} {variant.weight}" for variant in variants_of(experiment.variants)
        )
        text = say(
            "created with {variants}; {percent} % of all units take part",
            variants=weights,
            percent=experiment.traffic_percent,
        )
        record(experiment, Kind.CREATED, text)
    return experiment


def edit(
    key: str, *, variants: Iterable[Variant | str] | None = None, **settings: Unpack[Settings]
) -> Experiment:
    """Changes the given settings of a draft. The event has the old and the new values.

    Variants, other metrics and guardrails replace all that there are. Raises
    UnknownExperimentError, InvalidExperimentError, also for a segment that does not exist, or
    ExperimentError if the experiment has started.
    """
    columns = columns_of(variants=variants, **settings)
    with db.atomic():
        # Locked, so that no segment is deleted meanwhile.
        if problem := missing_name(columns.get("rules", []), find(key).rules):
            raise InvalidExperimentError(problem)
        with locked(key) as experiment:
            require_now(experiment, "edit")
            if text := _changed(experiment, columns):
                experiment.save(using=db.alias)
                record(experiment, Kind.EDITED, f"edited: {text}")
            return experiment


def restart(
    key: str,
    *,
    variants: Iterable[Variant | str] | None = None,
    traffic_percent: int | None = None,
) -> Experiment:
    """Begins a new run: all units get other buckets, so what one has met before does not matter.

    The exposures so far are no longer part of the report. Also the way to other weights, another
    variant or less traffic. Raises UnknownExperimentError, InvalidExperimentError, or
    ExperimentError if the experiment is a draft, was shipped, or has only its stored report.
    """
    columns = columns_of(variants=variants, traffic_percent=traffic_percent)
    with db.atomic(), locked(key) as experiment:
        require_now(experiment, "restart")
        changes = _changed(experiment, columns)
        experiment.run += 1
        begin_run(experiment)
        text = "restarted: the exposures so far are no longer reported"
        record(experiment, Kind.RESTARTED, "; ".join(filter(None, (text, changes))))
        return experiment


# What may change after the start without making results invalid; forced units are not analysed.


def grow(key: str, traffic_percent: int) -> Experiment:
    """Lets more units take part. No unit gets another variant, and the ratio stays.

    So the results stay valid, also if the results so far are the reason. Raises
    UnknownExperimentError, InvalidExperimentError, or ExperimentError for less traffic, for a
    draft, and if the experiment was shipped or has only its stored report.
    """
    require_whole("traffic_percent", traffic_percent)
    with locked(key) as experiment:
        require_now(experiment, "grow")
        require_growth(experiment, traffic_percent)
        before = experiment.traffic_percent
        if traffic_percent > before:
            experiment.traffic_percent = traffic_percent
            experiment.save(using=db.alias)
            text = say("traffic: {old} % → {new} %", old=before, new=traffic_percent)
            record(experiment, Kind.GROWN, text)
        return experiment


def require_growth(experiment: Experiment, traffic_percent: int) -> None:
    """Raises ExperimentError for less traffic than the experiment has."""
    if traffic_percent < experiment.traffic_percent:
        raise ExperimentError(
            "the traffic of {key} is {percent} % and can only grow, because units would leave "
            "the experiment; restart it with less traffic",
            key=experiment.key,
            percent=experiment.traffic_percent,
        )


def add_metric(key: str, metric: str, *, tolerated: float | None = None) -> Experiment:
    """Measures one more metric, of units that are exposed from now on; `tolerated` for a guardrail.

    So it does not matter what the metric would have shown before. It is never the primary one, and
    cannot be removed. It counts in Holm's correction, so the corrected p values of the other
    metrics rise; a guardrail lowers the level at which each of them stops. Raises
    UnknownExperimentError, InvalidExperimentError, or ExperimentError for a draft, and if the
    experiment was shipped or has only its stored report.
    """
    if metric in metric_names():
        require_columns_of(metric)
    with locked(key) as experiment:
        require_now(experiment, "add-metric")
        if metric in experiment.metrics:
            raise InvalidExperimentError("{key} measures {metric} already", key=key, metric=metric)
        if tolerated is None:
            experiment.other_metrics = [*experiment.other_metrics, metric]
        else:
            experiment.guardrails = {**experiment.guardrails, metric: tolerated}
        require_valid(experiment)
        at = aware(database_time(experiment)).isoformat()
        experiment.added_metrics = {**experiment.added_metrics, metric: at}
        experiment.save(using=db.alias)
        text = say("added the metric {metric}: units exposed from now on count", metric=metric)
        record(experiment, Kind.EDITED, text)
        return experiment


def force(key: str, unit: str, variant: str | None) -> Experiment:
    """Gives a unit this variant while the experiment runs, or with None what its bucket says.

    A forced unit is not recorded. Raises UnknownExperimentError, InvalidExperimentError, or
    ExperimentError if the experiment was shipped.
    """
    if variant is not None:
        _require_unit(unit)
    with locked(key) as experiment:
        require_now(experiment, "force")
        if variant is not None:
            require_variant(experiment, variant)
        experiment.overrides.pop(unit, None)
        message = say("override: {unit} gets what its bucket says", unit=unit)
        if variant is not None:
            experiment.overrides[unit] = variant
            message = say("override: {unit} gets {variant}", unit=unit, variant=variant)
        experiment.save(using=db.alias)
        record(experiment, Kind.EDITED, message)
        return experiment


def _require_unit(unit: str) -> None:
    """Raises InvalidExperimentError for a text that no unit has."""
    size = len(unit.encode(errors="replace"))
    if not 0 < size <= MAX_UNIT_BYTES or "\0" in unit:
        raise InvalidExperimentError(
            "{unit} is no unit; write 1 to {limit} bytes, such as the primary key of a user",
            unit=repr(unit[:40]),
            limit=MAX_UNIT_BYTES,
        )


# Settings, and what changes.


def columns_of(**settings: Any) -> dict[str, Any]:
    """Returns the columns of the arguments of `edit` that are not None."""
    if unknown := settings.keys() - Settings.__annotations__ - {"variants"}:
        raise TypeError(f"an experiment has no settings {', '.join(sorted(unknown))}")
    columns = {
        COLUMNS.get(name, name): list(value) if isinstance(value, (list, tuple)) else value
        for name, value in settings.items()
        if value is not None
    }
    if "variants" in columns:
        columns["variants"] = variants_as_json(valid_variants(columns["variants"]))
    return columns


def set_columns(experiment: Experiment, columns: Mapping[str, Any]) -> bool:
    """Sets the columns, and returns whether one differs. Writes nothing.

    Raises InvalidExperimentError.
    """
    old = {name: getattr(experiment, name) for name in columns}
    if problem := impossible_problem(columns.get("rules", []), old.get("rules")):
        raise InvalidExperimentError(problem)
    for name, value in columns.items():
        setattr(experiment, name, value)
    require_valid(experiment)
    return old != columns


def changed_texts(
    experiment: Experiment, columns: Mapping[str, Any]
) -> tuple[bool, list[tuple[str, str, str]]]:
    """Sets the columns, and returns whether one differs, and what people see of that.

    That is the name of each setting whose text differs, with the text before and after, in the
    active language. Writes nothing. Raises InvalidExperimentError.
    """
    before = setting_texts(experiment)
    is_changed = set_columns(experiment, columns)
    after = setting_texts(experiment)
    names = (name for name in before if before[name] != after[name])
    return is_changed, [(str(SETTINGS[name]), before[name], after[name]) for name in names]


def _changed(experiment: Experiment, columns: Mapping[str, Any]) -> str:
    """Sets the columns, and returns what changes, in English; empty if nothing does."""
    with override("en"), naming(), plain_numbers():
        is_changed, texts = changed_texts(experiment, columns)
    if not is_changed:
        return ""
    shown = "; ".join(f"{name}: {old} → {new}" for name, old, new in texts)
    # A blank that keeps a sign beside its number is for pages.
    return shown.replace("\N{NO-BREAK SPACE}", " ") or "no share changes"
