"""The verb `rewrite`: call sites of another library become those of flagstaff."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from django.apps import apps
from django.core.management.base import CommandError, CommandParser

from flagstaff._words.counted import counted
from flagstaff._words.lists import join_some
from flagstaff.cleanup.references_verb import (
    MISSING,
    add_path_arguments,
    files_of,
    print_patch,
    progress_bar,
)
from flagstaff.cli.support.errors import FAILED, REFUSED, USAGE
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.topics import Topic
from flagstaff.cli.support.verb import Options, Verb

if TYPE_CHECKING:
    from flagstaff.cleanup.rewrite.keys import Keys
    from flagstaff.cleanup.rewrite.rewriting import Rewriting


def _add_arguments(parser: CommandParser) -> None:
    parser.add_argument("library", choices=["waffle"], help="the library that the code uses")
    add_path_arguments(parser)
    parser.add_argument(
        "--to",
        dest="level",
        choices=["compat", "flagstaff"],
        required=True,
        help="change only imports, or use the functions of flagstaff where they do the same",
    )
    parser.add_argument(
        "--flags",
        metavar="FILE",
        help="a file of `flags export` with the flags that exist; by default those of the database",
    )
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--diff", action="store_true", help="print a patch")
    output.add_argument(
        "--write",
        action="store_true",
        help="change the files, if git tracks them and all their changes are committed",
    )


def _run(options: Options, out: Output) -> None:
    if not apps.is_installed("flagstaff.compat"):
        raise CommandError(
            'rewrite needs "flagstaff.compat" in INSTALLED_APPS; see the page From django-waffle',
            returncode=USAGE,
        )
    made = _rewriting(options, out)
    for path, reason in sorted(made.problems.items()):
        out.message(f"{path}: {reason}, so it was not rewritten")
    if options["write"]:
        _write(made)
    patch = _patch(made) if options["diff"] or out.is_json else ""
    if out.is_json:
        left = [{**vars(one)} for one in made.left]
        out.document(
            {
                "rewritten": made.done,
                "files": [*made.files],
                "left": left,
                "patch": patch,
                "migrated": sorted(made.migrated),
            }
        )
    else:
        print_patch(patch, made.files, out)
        for one in made.left:
            out.message(f"{one.path}:{one.line}:{one.column}: {one.why}; {one.advice}")
        if made.migrated and options["level"] == "flagstaff":
            out.message(
                f"migrations create {join_some(sorted(made.migrated))} with waffle's models, so a "
                "new database, such as that of tests, has no such flags; import them there, or set "
                "them with override_flag"
            )
        out.message(_summary(made, is_written=options["write"]))
    if made.problems:
        raise CommandError(
            f"{counted(len(made.problems), 'file')} could not be read or rewritten; correct them, "
            "or leave them out with --exclude",
            returncode=FAILED,
        )


def _summary(made: Rewriting, *, is_written: bool) -> str:
    if not made.done and not made.left:
        return "no place to rewrite was found"
    verb = "rewritten" if is_written else "can be rewritten"
    places, files = counted(made.done, "place"), counted(len(made.files), "file")
    return f"{places} {verb} in {files}; {len(made.left):,} left to you"


def _rewriting(options: Options, out: Output) -> Rewriting:
    try:
        from flagstaff.cleanup.rewrite.rewriting import rewrite  # noqa: PLC0415 (optional)
    except ModuleNotFoundError as error:
        if error.name != "libcst":
            raise
        raise CommandError(MISSING, returncode=USAGE) from error
    files = files_of(options)
    keys = _keys(options)
    with progress_bar(2 * len(files), hidden=out.is_json) as progress:
        return rewrite(files, keys, options["level"], progress)


def _keys(options: Options) -> Keys:
    from flagstaff.cleanup.rewrite.keys import Keys, exported_keys, stored_keys  # noqa: PLC0415
    from flagstaff.exceptions import DocumentError  # noqa: PLC0415
    from flagstaff.serialization import read  # noqa: PLC0415 (only here)

    if options["level"] == "compat":
        return Keys({}, {})
    if options["flags"] is None:
        return stored_keys()
    path = Path(options["flags"])
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{path} cannot be read: {error}", returncode=USAGE) from error
    document = read(text)
    if problems := document.problems.in_order():
        raise DocumentError(problems)
    return exported_keys(document)


def _patch(made: Rewriting) -> str:
    from flagstaff.cleanup.references.patching import difference  # noqa: PLC0415 (optional)

    return "".join(difference(path, old, new) for path, (old, new) in sorted(made.files.items()))


def _write(made: Rewriting) -> None:
    from flagstaff.cleanup.rewrite.writing import NotWrittenError, write_all  # noqa: PLC0415

    try:
        write_all(made.files)
    except NotWrittenError as error:
        raise CommandError(f"{error}. Nothing was written.", returncode=REFUSED) from error


REWRITE = Verb(
    name="rewrite",
    help="rewrite code that uses django-waffle",
    examples=(
        "rewrite waffle --to compat --diff",
        "rewrite waffle --to compat --write",
        "rewrite waffle --to flagstaff --diff --path shop",
        "rewrite waffle --to flagstaff --flags export.json --write",
    ),
    add_arguments=_add_arguments,
    run=_run,
    topic=Topic.UPKEEP,
)
