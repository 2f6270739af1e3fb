from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from waffle import get_waffle_switch_model


class Command(BaseCommand):
    help = "Activate or deactivate a switch."

    def add_arguments(self, parser: CommandParser) -> None:
        add = parser.add_argument
        add("name", nargs="?", help="The name of the switch.")
        add("state", nargs="?", choices=("on", "off"), help="The state to set.")
        add("-l", "--list", action="store_true", dest="list_switches", help="List the switches.")
        add("--create", action="store_true", help="Create it if it does not exist.")

    def handle(self, *_args: Any, **options: Any) -> None:
        rows: Any = get_waffle_switch_model()._default_manager
        name, state = options["name"], options["state"]
        if options["list_switches"]:
            self.stdout.write("Switches:")
            for row in rows.iterator():
                self.stdout.write(f"{row.name}: {'on' if row.active else 'off'}")
            self.stdout.write("")
            return
        if not name or state is None:
            raise CommandError("You need to specify a switch name and state.")
        row = rows.filter(name=name).first()
        if row is None and not options["create"]:
            raise CommandError("This switch does not exist.")
        if row is None:
            self.stdout.write(f"Creating switch: {name}")
            row = rows.model(name=name)
        row.active = state == "on"
        row.save()
