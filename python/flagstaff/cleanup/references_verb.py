"""The verb `references`: the places in the code that name a key, and what to do with them."""

from __future__ import annotations

import sys
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from django.apps import apps
from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from django.db import DatabaseError

from flagstaff._extensions import optional_apps
from flagstaff._tables.model_fields import segment_model
from flagstaff._tables.rows import all_rows
from flagstaff._words.cells import Column, Record
from flagstaff._words.counted import counted
from flagstaff._words.lists import join_some
from flagstaff.cli.support.errors import FAILED, UNKNOWN, USAGE
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.topics import Topic
from flagstaff.cli.support.verb import Options, Verb
from flagstaff.conf import conf

if TYPE_CHECKING:
    from flagstaff.cleanup.references import Reference
    from flagstaff.cleanup.references.worker import Share
    from flagstaff.contrib.waffle.settings import WaffleKind


#: Why the search is not possible.
MISSING = 'LibCST is not installed; run: pip install "django-flagstaff[cleanup]"'
_RESULTS = {"on": True, "off": False}
_COLUMNS = (
    Column("place"),
    Column("kind"),
    Column("key", text=lambda record: record["key"] or f"{record['pattern']}"),
    Column("code", truncate=True),
    Column("advice", truncate=True),
)


def _result(text: str) -> tuple[str, bool]:
    key, _, result = text.rpartition("=")
    if not key or result not in _RESULTS:
        raise ArgumentTypeError(f"expected KEY=on or KEY=off, not {text!r}")
    return key, _RESULTS[result]


def add_path_arguments(parser: CommandParser) -> None:
    """Adds the arguments that say which files are searched."""
    parser.add_argument(
        "--path",
        dest="paths",
        action="append",
        metavar="PATH",
        help="a folder or a file to search; can be repeated. The default is BASE_DIR",
    )
    parser.add_argument(
        "--exclude",
        action="append",
        default=[],
        metavar="GLOB",
        help='leave out files and folders, such as "*/legacy/*"; can be repeated',
    )


def _add_arguments(parser: CommandParser) -> None:
    parser.add_argument("keys", metavar="KEY", nargs="*", help="a key; without one, all keys")
    add_path_arguments(parser)
    parser.add_argument(
        "--also",
        action="append",
        choices=["waffle"],
        default=[],
        help="also list the places that name a key by this library",
    )
    parser.add_argument(
        "--result",
        dest="results",
        action="append",
        type=_result,
        default=[],
        metavar="KEY=on|off",
        help="show what to do with each place if all users get this result; can be repeated",
    )
    parser.add_argument(
        "--diff",
        action="store_true",
        help="print a patch that removes the flags of --result from the code, where that is safe",
    )


def _run(options: Options, out: Output) -> None:
    results = dict(options["results"])
    twice = [key for key, result in options["results"] if results[key] != result]
    if twice:
        raise CommandError(
            f"--result gives {twice[0]} two results; pass only one of on and off",
            returncode=USAGE,
        )
    if options["diff"] and not results:
        raise CommandError(
            "--diff needs a result: pass --result KEY=on or --result KEY=off", returncode=USAGE
        )
    keys = dict.fromkeys((*options["keys"], *results))
    files, found = _search(options, out)
    for path, reason in sorted(found.unreadable.items()):
        out.message(f"{path}: {reason}, so it was not searched")
    existing = _existing_keys(out, is_needed=options["paths"] is None)
    references = _selected(found, keys, existing)
    used = {reference.key for reference in references}
    missing = [key for key in keys if key not in used and _is_missing(key, existing)]
    typed = [key for key in missing if key not in results]
    if typed:
        out.message(f"no {_any_of(existing)} has the key {join_some(typed)}")
    failed = {*found.unreadable}
    if options["diff"]:
        failed |= {*_print_patch(files, found, references, results, out)}
    else:
        _print(references, existing, results, out)
    unknown = [key for key in missing if key in results]
    if unknown:
        raise CommandError(
            f"nothing has the key {join_some(unknown)} of --result, neither in the code nor in the "
            f"database; correct it",
            returncode=UNKNOWN,
        )
    if failed:
        raise CommandError(
            f"{counted(len(failed), 'file')} could not be searched or patched, so places may be "
            "missing; correct the files, or leave them out with --exclude",
            returncode=FAILED,
        )


def _search(options: Options, out: Output) -> tuple[list[str], Share]:
    try:
        from flagstaff.cleanup.references.searching import search_files  # noqa: PLC0415 (optional)
    except ModuleNotFoundError as error:
        if error.name != "libcst":
            raise
        raise CommandError(MISSING, returncode=USAGE) from error
    files = files_of(options)
    with progress_bar(2 * len(files), hidden=out.is_json) as progress:
        patched = dict(options["results"]) if options["diff"] else ()
        others = tuple(dict.fromkeys(options["also"]))
        return files, search_files(files, progress, patched=patched, others=others)


def files_of(options: Options) -> list[str]:
    """Returns the files at and below the paths of the options."""
    from flagstaff.cleanup.references.files import searched_files  # noqa: PLC0415 (only here)

    try:
        return searched_files(options["paths"] or [project_folder()], options["exclude"])
    except FileNotFoundError as error:
        raise CommandError(
            f"there is no file or folder {error}; correct --path", returncode=USAGE
        ) from error


def project_folder() -> Path:
    """Returns the folder of the project, as seen from the working directory if it is below."""
    base = Path(getattr(settings, "BASE_DIR", ".")).absolute()
    here = Path.cwd()
    return base.relative_to(here) if base.is_relative_to(here) else base


def _existing_keys(out: Output, *, is_needed: bool) -> Mapping[str, frozenset[str]] | None:
    """Returns all keys by what they are of; None if the database cannot be read."""
    try:
        optional = {kind: keys for app in optional_apps() for kind, keys in app.keys().items()}
        return {
            "flag": frozenset(all_rows(conf.flag_model).values_list("key", flat=True)),
            "value": frozenset(all_rows(conf.value_model).values_list("key", flat=True)),
            "segment": frozenset(all_rows(segment_model()).values_list("key", flat=True)),
            **{kind: frozenset(keys) for kind, keys in optional.items()},
        }
    except DatabaseError:
        if is_needed:
            raise
        out.message("the database cannot be read, so keys that do not exist are not reported")
        return None


def _any_of(existing: Mapping[str, frozenset[str]] | None) -> str:
    *first, last = existing or ("key",)
    return f"{', '.join(first)} or {last}" if first else last


def _is_missing(key: str, existing: Mapping[str, frozenset[str]] | None) -> bool:
    return existing is not None and not any(key in stored for stored in existing.values())


def _of_stored(one: Reference, existing: Mapping[str, frozenset[str]] | None) -> Reference:
    """Returns the reference about what has its key, if it may be about two things."""
    if one.or_about is None or one.key not in (existing or {}).get(one.or_about, ()):
        return one
    return one if _exists(one, existing) else replace(one, about=one.or_about)


def _with_our_key(one: Reference) -> Reference:
    """Returns the reference with the key of what another library knows by a name."""
    if not one.source or one.key is None:
        return one
    # Of a view that is shown while the flag is off.
    name = one.key.removeprefix("!") if one.kind in ("decorator", "mixin") else one.key
    if not apps.is_installed("flagstaff.contrib.waffle"):
        return replace(one, key=name)
    from flagstaff.contrib.waffle.names import key_of  # noqa: PLC0415 (optional)

    return replace(one, key=key_of(cast("WaffleKind", one.source), name))


def _selected(
    found: Share, keys: Mapping[str, None], existing: Mapping[str, frozenset[str]] | None
) -> list[Reference]:
    from flagstaff.cleanup.references.searching import with_candidates  # noqa: PLC0415 (optional)

    references = [_of_stored(_with_our_key(one), existing) for one in found.references]
    if keys:
        wanted = [
            reference for reference in references if reference.key is None or reference.key in keys
        ]
        may_be = with_candidates(wanted, list(keys))
        # A pattern such as "exp_*" cannot be one of the keys if none of them is a candidate.
        return [one for one in may_be if one.key or one.candidates or not one.pattern.strip("*")]
    known = {reference.key for reference in references if reference.key is not None}
    for stored in (existing or {}).values():
        known |= stored
    return with_candidates(references, known)


def _print(
    references: Sequence[Reference],
    existing: Mapping[str, frozenset[str]] | None,
    results: Mapping[str, bool],
    out: Output,
) -> None:
    if not references:
        out.message("no references were found")
    out.records(_COLUMNS, [_record(reference, existing, results) for reference in references])
    for about, stored in (existing or {}).items():
        used = {
            reference.key: None
            for reference in references
            if reference.about == about and reference.key
        }
        unknown = [key for key in used if key not in stored]
        if unknown:
            out.message(f"no {about} has the key {join_some(sorted(unknown))}")
    dynamic = sum(reference.key is None for reference in references)
    if dynamic:
        out.message(
            "in 1 place, the key is known only at run time; check it by hand"
            if dynamic == 1
            else f"in {dynamic:,} places, the key is known only at run time; check them by hand"
        )


def _record(
    one: Reference,
    existing: Mapping[str, frozenset[str]] | None,
    results: Mapping[str, bool],
) -> Record:
    record: dict[str, object] = {
        "place": f"{one.path}:{one.line}:{one.column}",
        "path": one.path,
        "line": one.line,
        "column": one.column,
        "kind": str(one.kind),
        "about": str(one.about),
        "key": one.key,
        "name": one.name,
        "pattern": one.pattern,
        "candidates": list(one.candidates),
        "code": one.code,
        "exists": _exists(one, existing),
    }
    if results:
        from flagstaff.cleanup.references.advice import advice  # noqa: PLC0415 (optional)

        record["advice"] = advice(one, results)
    return record


def _exists(one: Reference, existing: Mapping[str, frozenset[str]] | None) -> bool | None:
    if existing is None or one.key is None or one.about not in existing:
        return None
    return one.key in existing[one.about]


def _print_patch(
    files: Sequence[str],
    found: Share,
    references: Sequence[Reference],
    results: Mapping[str, bool],
    out: Output,
) -> Mapping[str, str]:
    """Returns the files that could not be patched, and why."""
    from flagstaff.cleanup.references.advice import advice  # noqa: PLC0415 (optional)
    from flagstaff.cleanup.references.patching import patch  # noqa: PLC0415

    made = patch(found, references, results)
    for path, reason in sorted(made.problems.items()):
        out.message(f"{path}: {reason}, so it was not patched")
    if out.is_json:
        remaining = [_record(one, None, results) for one in made.remaining]
        out.document({"patch": made.text, "remaining": remaining})
        return made.problems
    print_patch(made.text, files, out)
    for one in made.remaining:
        out.message(f"{one.path}:{one.line}:{one.column}: {advice(one, results)}")
    return made.problems


def print_patch(text: str, paths: Iterable[str], out: Output) -> None:
    """Prints a patch of files, and the folder where it applies if it is another one."""
    from flagstaff.cleanup.references.patching import patch_folder  # noqa: PLC0415 (optional)

    folders = {str(patch_folder(path)) for path in paths} - {str(Path.cwd())}
    if text and folders:
        out.message(f"apply the patch in {join_some(sorted(folders))}")
    # Not splitlines: carriage returns and form feeds are parts of the lines.
    for line in text.split("\n")[:-1]:
        out.line(line)


REFERENCES = Verb(
    name="references",
    help="list the places in the code that name the key of a flag, value, segment or experiment",
    examples=(
        "references",
        "references new_checkout",
        'references --path shop --exclude "*/legacy/*" --json',
        "references new_checkout --also waffle",
        "references --result new_checkout=on",
        "references --result new_checkout=on --diff > new_checkout.patch",
    ),
    add_arguments=_add_arguments,
    run=_run,
    topic=Topic.UPKEEP,
)


_WIDTH = 30


@contextmanager
def progress_bar(total: int, *, hidden: bool = False) -> Iterator[Callable[[int], None]]:
    """Yields a function to call with the number of things done since its last call.

    The bar is removed at the end.
    """
    stream = sys.stderr
    if hidden or total == 0 or stream is None or not stream.isatty():
        yield lambda _count: None
        return
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done = min(done + count, total)
        filled = _WIDTH * done // total
        stream.write(f"\r[{'#' * filled}{'.' * (_WIDTH - filled)}] {100 * done // total:3} %")
        stream.flush()

    try:
        yield advance
    finally:
        stream.write(f"\r{' ' * (_WIDTH + 8)}\r")
        stream.flush()
