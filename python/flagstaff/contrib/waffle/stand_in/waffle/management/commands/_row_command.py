"""What `waffle_switch` and `waffle_sample` share."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from flagstaff.contrib.waffle.instances import DECIDING
from flagstaff.contrib.waffle.rows import waffle_model
from flagstaff.contrib.waffle.settings import WaffleKind


class RowCommand(BaseCommand):
    """Lists the rows, or changes the column of a row that turns it on or off."""

    kind: WaffleKind
    plural = ""
    #: What the value is called.
    argument = ""

    def parse(self, text: str) -> Any:
        """Returns a value of the column. Raises ArgumentTypeError."""
        raise NotImplementedError

    def shown(self, value: Any) -> str:
        """Returns a value of the column as text."""
        raise NotImplementedError

    def add_arguments(self, parser: CommandParser) -> None:
        add, listing = parser.add_argument, f"list_{self.plural}"
        add("name", nargs="?", help=f"The name of the {self.kind}.")
        add(self.argument, nargs="?", type=self.parse, help=f"The {self.argument} to set.")
        add("-l", "--list", action="store_true", dest=listing, help=f"List the {self.plural}.")
        add("--create", action="store_true", help="Create it if it does not exist.")

    def handle(self, *_args: Any, **options: Any) -> None:
        rows, column = waffle_model(self.kind)._default_manager, DECIDING[self.kind]
        name, value = options["name"], options[self.argument]
        if options[f"list_{self.plural}"]:
            self.stdout.write(f"{self.plural.capitalize()}:")
            for row in rows.iterator():
                self.stdout.write(f"{row.name}: {self.shown(getattr(row, column))}")
            self.stdout.write("")
            return
        if not name or value is None:
            raise CommandError(f"You need to specify a {self.kind} name and {self.argument}.")
        row = rows.filter(name=name).first()
        if row is None and not options["create"]:
            raise CommandError(f"This {self.kind} does not exist.")
        if row is None:
            self.stdout.write(f"Creating {self.kind}: {name}")
            row = rows.model(name=name)
        setattr(row, column, value)
        row.save()
