from __future__ import annotations

from flagstaff.changes import switch
from flagstaff.cli.outcomes import tell_change_of_flag
from flagstaff.cli.output import Output
from flagstaff.cli.parsers import Options, add_key

__all__ = ["EXAMPLES", "HELP", "add_arguments", "run"]

HELP = "turn a flag on, for its rollout and its allow-list"
EXAMPLES = ("on new_checkout",)

add_arguments = add_key


def run(options: Options, out: Output) -> None:
    """Turn the flag on, and tell of it."""
    key = options["key"]
    tell_change_of_flag(switch(key, enabled=True), ["off", key], out)
