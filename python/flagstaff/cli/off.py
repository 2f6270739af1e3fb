from __future__ import annotations

from flagstaff.changes import disable
from flagstaff.cli.outcomes import tell_change_of_flag
from flagstaff.cli.output import Output
from flagstaff.cli.parsers import Options
from flagstaff.cli.writing import add_change

__all__ = ["EXAMPLES", "HELP", "add_arguments", "run"]

HELP = "turn a flag off, for everybody"
EXAMPLES = (
    "off new_checkout",
    "off new_checkout --wait",
    "off new_checkout --wait 30 --expect 12",
)

add_arguments = add_change


def run(options: Options, out: Output) -> None:
    """Turn the flag off, and tell of it."""
    changed = disable(options["key"], expect_version=options["expect_version"])
    tell_change_of_flag(changed, out, options)
