from __future__ import annotations

from argparse import ArgumentTypeError

from waffle.management.commands._row_command import RowCommand


class Command(RowCommand):
    help = "Activate or deactivate a switch."
    kind, plural, argument = "switch", "switches", "state"

    def parse(self, text: str) -> bool:
        """Returns True for "on" and False for "off"."""
        if text not in {"on", "off"}:
            raise ArgumentTypeError(f'invalid choice: {text!r} (choose from "on", "off")')
        return text == "on"

    def shown(self, value: bool) -> str:  # noqa: FBT001 (as the others)
        """Returns "on" or "off"."""
        return "on" if value else "off"
