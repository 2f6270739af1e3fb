from __future__ import annotations

from django.core.management.base import CommandParser

from flagstaff import changes
from flagstaff.cli.outcomes import tell_change_of_flag
from flagstaff.cli.output import Output
from flagstaff.cli.parsers import Options, add_key
from flagstaff.cli.writing import add_claim
from flagstaff.history.kinds import Kind
from flagstaff.history.versions import entries_of_key, has_history

__all__ = ["EXAMPLES", "HELP", "add_arguments", "run"]

HELP = "create a flag: off, at 0 %, for nobody"
EXAMPLES = (
    "create new_search",
    'create new_search --kind ops --description "The second engine"',
)


def add_arguments(parser: CommandParser) -> None:
    """Give the parser the key and what the flag is for."""
    add_key(parser)
    add_claim(parser)
    parser.add_argument("--description", metavar="TEXT", help="what it is for")
    parser.add_argument("--kind", help='such as "release" or "ops"')


def run(options: Options, out: Output) -> None:
    """Create it, and say where there was another one of this name."""
    key = options["key"]
    names = [name for name in ("description", "kind") if options[name] is not None]
    was_there = has_history() and entries_of_key(Kind.FLAG, key).exists()
    changed = changes.create(key, **{name: options[name] for name in names})
    tell_change_of_flag(changed, out, options)
    if changed.written and was_there:
        out.say(f"there was a flag of this key before: manage.py flags history {key}")
