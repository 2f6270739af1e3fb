from __future__ import annotations

from argparse import ArgumentTypeError
from decimal import Decimal

from waffle.management.commands._row_command import RowCommand


class Command(RowCommand):
    help = "Change percentage of a sample."
    kind, plural, argument = "sample", "samples", "percent"

    def parse(self, text: str) -> int:
        """Returns a percentage."""
        if not text.isdecimal() or int(text) > 100:  # noqa: PLR2004
            raise ArgumentTypeError("You need to enter a valid percentage value.")
        return int(text)

    def shown(self, value: Decimal) -> str:
        """Returns a percentage."""
        return f"{value:.1f}%"
