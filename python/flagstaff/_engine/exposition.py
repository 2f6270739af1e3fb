"""`status()` in the text format of Prometheus, for which nothing has to be installed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from flagstaff._engine.metrics import MEASURES, Measure
from flagstaff._engine.status import Status

__all__ = ["CONTENT_TYPE", "exposition"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def exposition(status: Status) -> str:
    """The measures of one worker. Each has the process as a label: workers may share an address."""
    return "".join(line for measure in MEASURES for line in _lines(measure, status))


def _lines(measure: Measure, status: Status) -> Iterator[str]:
    name = measure.prometheus_name
    yield f"# HELP {name} {measure.help}\n"
    yield f"# TYPE {name} {'counter' if measure.is_counter else 'gauge'}\n"
    for labels, value in measure.read(status):
        yield f"{name}{_braced({'pid': str(status.pid), **labels})} {value!r}\n"


def _braced(labels: Mapping[str, str]) -> str:
    # Digits and our own words: nothing in them has to be escaped.
    return "{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "}"
