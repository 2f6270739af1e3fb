from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from flagstaff.contrib.waffle.rows import waffle_model
from flagstaff.contrib.waffle.settings import WaffleKind

_PLURALS: dict[WaffleKind, str] = {"flag": "flags", "switch": "switches", "sample": "samples"}


class Command(BaseCommand):
    help = "Delete flags, samples, and switches, here and in flagstaff"

    def add_arguments(self, parser: CommandParser) -> None:
        for kind, plural in _PLURALS.items():
            text = f"Names of {plural} to delete."
            parser.add_argument(f"--{plural}", dest=f"{kind}_names", nargs="*", help=text)

    def handle(self, *_args: Any, **options: Any) -> None:
        for kind, plural in _PLURALS.items():
            if names := options[f"{kind}_names"]:
                rows = waffle_model(kind)._default_manager.filter(name__in=names)
                self.stdout.write(f"Deleted {rows.count()} {plural.capitalize()}")
                rows.delete()
