from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from waffle import get_waffle_flag_model, get_waffle_sample_model, get_waffle_switch_model


class Command(BaseCommand):
    help = "Delete flags, samples, and switches, here and in flagstaff"

    def add_arguments(self, parser: CommandParser) -> None:
        for plural, dest in (
            ("flags", "flag_names"),
            ("samples", "sample_names"),
            ("switches", "switch_names"),
        ):
            text = f"Names of {plural} to delete."
            parser.add_argument(f"--{plural}", dest=dest, nargs="*", help=text)

    def handle(self, *_args: Any, **options: Any) -> None:
        """Deletes the rows of the names."""
        for plural, dest, model in (
            ("Flags", "flag_names", get_waffle_flag_model),
            ("Switches", "switch_names", get_waffle_switch_model),
            ("Samples", "sample_names", get_waffle_sample_model),
        ):
            if names := options[dest]:
                rows: Any = model()._default_manager.filter(name__in=names)
                count = rows.count()
                rows.delete()
                self.stdout.write(f"Deleted {count} {plural}")
