"""The functions that create, update and delete the rows of a kind, for code that has any kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from flagstaff.changes import flags, segments, values
from flagstaff.changes.changed import Changed
from flagstaff.history.kinds import Kind


class Writes(NamedTuple):
    """The functions of a kind. They have the arguments of those for flags."""

    create: Callable[..., Changed]
    update: Callable[..., Changed]
    delete: Callable[..., Changed]


WRITES = {
    Kind.FLAG: Writes(flags.create, flags.update, flags.delete),
    Kind.VALUE: Writes(values.create_value, values.update_value, values.delete_value),
    Kind.SEGMENT: Writes(segments.create_segment, segments.update_segment, segments.delete_segment),
}
