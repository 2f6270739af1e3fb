from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from waffle import get_waffle_flag_model, get_waffle_sample_model, get_waffle_switch_model


class Command(BaseCommand):
    help = "Delete flags, samples, and switches, here and in flagstaff"

    def add_arguments(self, parser: CommandParser) -> None:
        for plural in ("flags", "samples", "switches"):
            parser.add_argument(f"--{plural}", nargs="*", help=f"Names of {plural} to delete.")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Deletes the rows of the names."""
        for plural, model in (
            ("flags", get_waffle_flag_model),
            ("switches", get_waffle_switch_model),
            ("samples", get_waffle_sample_model),
        ):
            if names := options[plural]:
                rows: Any = model()._default_manager.filter(name__in=names)
                count = rows.count()
                rows.delete()
                self.stdout.write(f"Deleted {count} {plural.capitalize()}")
