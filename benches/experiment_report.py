"""The report of an experiment of a million units, from five million rows of orders.

    python -m benches.experiment_report          (beside a DATABASE_URL; `make bench` runs all)
    python -m benches.experiment_report explain  (prints the plan of each query instead)

Half of the rows are by units of the experiment. Each metric is one query.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import Any

from benches._project import set_up
from flagstaff.experiments.metrics import Conversion, Mean, Sql

UNITS, ORDERS, CUSTOMERS = 1_000_000, 5_000_000, 2_000_000
KEY = "checkout_button"
FILL = """
    DROP TABLE IF EXISTS bench_order;
    CREATE TABLE bench_order (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer_id bigint NOT NULL,
        total numeric(10, 2) NOT NULL, created_at timestamptz NOT NULL
    );
    INSERT INTO bench_order (customer_id, total, created_at)
    SELECT (random() * {customers})::bigint, (5 + 95 * random())::numeric(10, 2),
        now() - 45 * random() * interval '1 day'
    FROM generate_series(1, {orders});
    CREATE INDEX ON bench_order (customer_id);
    INSERT INTO flagstaff_experiments_exposure (experiment_id, run, unit, variant, at)
    SELECT {experiment}, 0, n::text, (ARRAY['control', 'treatment'])[1 + n % 2],
        now() - (10 + 20 * random()) * interval '1 day'
    FROM generate_series(1, {units}) AS n;
    ANALYZE bench_order, flagstaff_experiments_exposure;
"""


def orders() -> Sql:
    """The rows of both metrics."""
    return Sql("SELECT customer_id AS unit, total AS value, created_at AS time FROM bench_order")


converted = Conversion(orders, window=timedelta(days=7))
revenue = Mean(orders, window=timedelta(days=7), covariate=timedelta(days=14))


def main() -> None:
    """Fills the tables, and prints how long each part of a report takes."""
    set_up()
    from django.conf import settings

    from flagstaff import experiments
    from flagstaff.experiments.measuring import count, measure
    from flagstaff.experiments.models import Experiment
    from flagstaff.experiments.reporting import make_report

    metrics = {name: f"{__spec__.name}.{name}" for name in ("converted", "revenue")}
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "METRICS": metrics}
    Experiment.objects.all().delete()
    experiments.create(KEY)
    experiments.edit(KEY, primary="converted", others=["revenue"], planned_units=UNITS)
    experiment = experiments.start(KEY)
    took = _seconds(lambda: _fill(experiment.pk))
    print(f"{UNITS:,} exposures and {ORDERS:,} orders, written in {took:.0f} s")
    parts: dict[str, Callable[[], object]] = {
        "counts": lambda: count(experiment),
        "conversion": lambda: measure(experiment, converted),
        "mean with covariate": lambda: measure(experiment, revenue),
        "report of both": lambda: make_report(experiment, datetime.now(timezone.utc)),
    }
    if "explain" in sys.argv:
        with _plans():
            parts["report of both"]()
        return
    for name, part in parts.items():
        first, again = _seconds(part), _seconds(part)
        print(f"  {name:20} first {first:6.2f} s   again {again:6.2f} s", flush=True)


def _fill(experiment: int) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            FILL.format(customers=CUSTOMERS, orders=ORDERS, experiment=experiment, units=UNITS)
        )


def _seconds(work: Callable[[], object]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started


@contextmanager
def _plans() -> Iterator[None]:
    """Prints the plan of each query of a report."""
    from django.db import connection

    def explain(execute: Callable[..., Any], sql: str, params: Any, *rest: Any) -> Any:
        # The package's own queries begin with a comment.
        if sql.startswith("--"):
            with connection.connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN (ANALYZE, COSTS OFF, BUFFERS OFF)\n{sql}", params)
                print("\n".join(line for (line,) in cursor.fetchall()), end="\n\n")
        return execute(sql, params, *rest)

    with connection.execute_wrapper(explain):
        yield


if __name__ == "__main__":
    main()
