from __future__ import annotations

from flagstaff.changes import enable
from flagstaff.cli.outcomes import tell_change_of_flag
from flagstaff.cli.output import Output
from flagstaff.cli.parsers import Options
from flagstaff.cli.writing import add_change

__all__ = ["EXAMPLES", "HELP", "add_arguments", "run"]

HELP = "turn a flag on, for its rollout and its allow-list"
EXAMPLES = ("on new_checkout",)

add_arguments = add_change


def run(options: Options, out: Output) -> None:
    """Turn the flag on, and tell of it."""
    changed = enable(options["key"], expect_version=options["expect_version"])
    tell_change_of_flag(changed, out, options)
