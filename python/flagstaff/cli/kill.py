from __future__ import annotations

from flagstaff.cli import off

__all__ = ["EXAMPLES", "HELP", "add_arguments", "run"]

HELP = "turn a flag off at once, and never ask"
EXAMPLES = ('kill new_checkout --reason "orders fail"',)

# The same as `off`, under the name that is looked for when it burns.
add_arguments = off.add_arguments
run = off.run
