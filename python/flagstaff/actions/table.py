"""An action, and the decorator that declares a function as one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, get_args, get_type_hints

from django.utils.functional import Promise
from django.utils.text import capfirst

from flagstaff._tables.rows import Row
from flagstaff.actions.arguments import Argument
from flagstaff.actions.rights import Right
from flagstaff.changes import Changed
from flagstaff.changes.consequence import Consequence
from flagstaff.history.kinds import Kind

#: Writes one row: gets its key and the arguments of the action by name.
Write: TypeAlias = "Callable[..., Changed]"

_EXPECT_VERSION = "expect_version"


@dataclass(frozen=True)
class Action:
    """One thing that an operator does to a row."""

    kind: Kind
    #: As in the terminal, such as "set-for-everyone".
    name: str
    help: str
    #: What else to know, in sentences.
    notes: str
    write: Write
    #: Command lines, without "manage.py flags".
    examples: tuple[str, ...]
    #: The link to its page, and the heading of the page.
    label: str | Promise
    #: What a user needs on a page for it. The terminal and code are trusted.
    right: Right = "change"
    #: Whether it takes several keys.
    many: bool = False
    #: Whether it needs no row with the key.
    creates: bool = False
    #: Whether it asks always, and also takes the key of a row that was deleted already.
    deletes: bool = False
    #: Whether the terminal waits for the workers unless told otherwise.
    waits: bool = False
    #: Whether it needs no reason, and is never asked about, for any arguments or for these.
    always_runs: bool | Callable[..., bool] = False
    #: The least consequence that is asked about; None asks about none.
    asks_from: Consequence | None = Consequence.FEWER
    #: What a person should know of each row before it happens, by key. Queries.
    facts: Callable[[Sequence[Row]], Mapping[str, str]] | None = None
    #: The fields that it sets, which depend on the project's model.
    fields: Callable[[], Mapping[str, Argument]] | None = None

    def arguments(self) -> Mapping[str, tuple[Argument, bool]]:
        """Returns the arguments by name, and whether each is required."""
        hints = get_type_hints(self.write, include_extras=True)
        given = {
            name: (argument, parameter.default is parameter.empty)
            for name, parameter in inspect.signature(self.write).parameters.items()
            for argument in _arguments_in(hints.get(name))
        }
        fields = {} if self.fields is None else self.fields()
        return given | {name: (argument, False) for name, argument in fields.items()}

    @property
    def takes_version(self) -> bool:
        """Whether it can be refused because of the version of the row."""
        return _EXPECT_VERSION in inspect.signature(self.write).parameters

    def is_asked_about(self, arguments: Mapping[str, object]) -> bool:
        """Whether a person may have to confirm it with these arguments."""
        runs = self.always_runs
        always = runs(**arguments) if callable(runs) else runs
        return not (always or self.deletes or self.asks_from is None)


def _arguments_in(hint: object) -> Iterator[Argument]:
    """Yields the argument of an annotated type, also if None may stand in its place."""
    yield from (one for one in getattr(hint, "__metadata__", ()) if isinstance(one, Argument))
    for part in () if hasattr(hint, "__metadata__") else get_args(hint):
        yield from _arguments_in(part)


def action(kind: Kind, *examples: str, **options: Any) -> Callable[[Write], Action]:
    """Declares a function as the action of its name. `options` are those of `Action`.

    The function gets the key, then its arguments, whose types are those of `actions.arguments`; one
    without a default is required. Its docstring is the help, and what
    else to know.

        @action(Kind.FLAG, "archive search_v2", many=True)
        def archive(key: str, owner: Text, *, expect_version: int | None = None) -> Changed:
            \"\"\"Give flags to an owner of archived flags.\"\"\"
            return changes.flags.update(key, {"owner": owner}, expect_version=expect_version)
    """

    def declare(write: Write) -> Action:
        name = write.__name__.strip("_").replace("_", "-")
        first, _, notes = inspect.cleandoc(write.__doc__ or name).partition("\n\n")
        text = f"{first[0].lower()}{first[1:].rstrip('.')}"
        label = options.pop("label", capfirst(name.replace("-", " ")))
        return Action(kind, name, text, " ".join(notes.split()), write, examples, label, **options)

    return declare
