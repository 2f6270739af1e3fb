from __future__ import annotations

from argparse import ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from waffle import get_waffle_switch_model


def on_off_bool(text: str) -> bool:
    """Returns True for "on" and False for "off"."""
    if text not in {"on", "off"}:
        raise ArgumentTypeError(f'invalid choice: {text!r} (choose from "on", "off")')
    return text == "on"


class Command(BaseCommand):
    help = "Activate or deactivate a switch."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", nargs="?", help="The name of the switch.")
        parser.add_argument("state", nargs="?", type=on_off_bool, help='"on" or "off".')
        parser.add_argument(
            "-l",
            "--list",
            action="store_true",
            dest="list_switches",
            help="List existing switches.",
        )
        parser.add_argument(
            "--create", action="store_true", help="Create the switch if it does not exist."
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Lists the switches, or changes one."""
        model: Any = get_waffle_switch_model()
        if options["list_switches"]:
            self.stdout.write("Switches:")
            for row in model.objects.iterator():
                self.stdout.write(f"{row.name}: {'on' if row.active else 'off'}")
            self.stdout.write("")
            return
        name, state = options["name"], options["state"]
        if not name or state is None:
            raise CommandError("You need to specify a switch name and state.")
        row = model.objects.filter(name=name).first()
        if row is None and not options["create"]:
            raise CommandError("This switch does not exist.")
        if row is None:
            self.stdout.write(f"Creating switch: {name}")
            row = model(name=name)
        row.active = state
        row.save()
