"""What a system check is: an id, a function that finds problems, and a hint that fixes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from django.core.checks import CheckMessage, Error, Info, Warning  # noqa: A004
from django.db.models import Model

_LEVELS = {"E": Error, "W": Warning, "I": Info}


class Problem:
    """What a check has found: a text, the model that it is about, and the values of the hint."""

    def __init__(self, text: str, obj: type[Model] | None = None, **values: object) -> None:
        self.text, self.obj, self.values = text, obj, values


@dataclass(frozen=True)
class Check:
    """A system check. The letter in its id is its level."""

    id: str
    find: Callable[..., Iterable[Problem]]
    #: What to do, with the values of a problem in braces. Without it, each problem has its own.
    hint: str = "{hint}"

    def messages(self, *arguments: object) -> Iterator[CheckMessage]:
        """Yields a message for each problem that the function finds."""
        level = _LEVELS[self.id.removeprefix("flagstaff.")[0]]
        for problem in self.find(*arguments):
            hint = self.hint.format(**problem.values)
            yield level(problem.text, hint=hint, obj=problem.obj, id=self.id)
