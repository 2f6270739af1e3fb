"""The verb `references`: the lines of code that name keys, and the keys that no line names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from django.db import DatabaseError
from django.utils import timezone

from flagstaff._tables.rows import all_rows
from flagstaff._words.cells import printable
from flagstaff._words.text import localized, some
from flagstaff._words.times import aware
from flagstaff.cli.support.errors import UNKNOWN, USAGE
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.places import UntrackedError, files_below, find_places, tracked_files
from flagstaff.cli.support.topics import Topic
from flagstaff.cli.support.verb import Options, Verb
from flagstaff.conf import conf
from flagstaff.extensions import KEYS
from flagstaff.stale.facts import facts_of_flags
from flagstaff.stale.flag_rows import ALL_FLAGS
from flagstaff.stale.signals import Facts, Finding, Unknown, not_evaluated

# What is known about a key: the members `state` in JSON.
_IN_CODE, _READY, _ELSEWHERE, _UNKNOWN = "in code", "ready to delete", "elsewhere", "unknown"


def _add_arguments(parser: CommandParser) -> None:
    parser.add_argument("keys", metavar="KEY", nargs="*", help="a key; without one, all keys")
    parser.add_argument(
        "--in",
        dest="folders",
        action="append",
        metavar="FOLDER",
        help="search all files below this folder instead of those that git tracks; can be repeated",
    )


def _run(options: Options, out: Output) -> None:
    typed, paths = list(dict.fromkeys(options["keys"])), _files(options["folders"])
    kinds = _existing_keys(out, is_needed=not typed)
    # Of all keys: at "shop.checkout", which may be the key of another flag, no place is "checkout".
    found = find_places(paths, {*typed, *(kinds or ())})
    now = aware(timezone.now())
    flags = facts_of_flags(now, conf.stale_days, ALL_FLAGS) if kinds else ()
    facts = {flag.key: flag for flag in flags}
    records, missing = [], []
    for key in typed or sorted(kinds or ()):
        kind, places = (kinds or {}).get(key), found.places.get(key, [])
        if kinds is not None and kind is None and not places:
            missing.append(key)
        flag = facts.get(key)
        state, why = (_IN_CODE, "") if places else _without_a_place(flag, now)
        why = "the database cannot be read" if why and kinds is None else why
        last = None if flag is None else flag.last_use.in_use_at
        use = {"state": state, "why": why, "last_evaluated_at": last}
        records.append({"key": key, "kind": kind, **use, "places": [vars(one) for one in places]})
    if out.is_json:
        out.document({"keys": records, "not_searched": found.not_searched})
    else:
        for place in (place for record in records for place in found.places.get(record["key"], ())):
            out.line(printable(f"{place.path}:{place.line}: {place.code}"))
        _print_messages([one for one in records if one["key"] not in missing], out)
        if not records:
            out.message("nothing has a key")
        if found.not_searched:
            files = (f"{path} ({why})" for path, why in found.not_searched.items())
            out.message(f"not searched: {some(files)}")
    if missing:
        raise CommandError(
            f"neither the code nor the database has the key {some(missing)}; correct it",
            returncode=UNKNOWN,
        )


def _files(folders: Sequence[str] | None) -> list[str]:
    """Returns the files to search. Raises CommandError if it is not known which these are."""
    missing = [folder for folder in folders or () if not Path(folder).is_dir()]
    if missing:
        raise CommandError(f"there is no folder {missing[0]}; correct --in", returncode=USAGE)
    if folders:
        return files_below(folders)
    project = Path(getattr(settings, "BASE_DIR", "."))
    try:
        return tracked_files(project)
    except UntrackedError as error:
        raise CommandError(
            f"git does not list the files of {project}: {error}; name the folders with --in FOLDER",
            returncode=USAGE,
        ) from error


def _existing_keys(out: Output, *, is_needed: bool) -> dict[str, str] | None:
    """Returns what has each key; None if the database cannot be read, unless it is needed."""
    try:
        owners = {kind: keys for read in KEYS for kind, keys in read().items()}
        for kind, model in (("value", conf.value_model), ("flag", conf.flag_model)):
            owners[kind] = all_rows(model).values_list("key", flat=True)
        return {key: kind for kind, keys in owners.items() for key in keys}
    except DatabaseError:
        if is_needed:
            raise
        out.message("the database cannot be read, so it is not known what has the keys")
        return None


def _without_a_place(flag: Facts | None, now: datetime) -> tuple[str, str]:
    """Returns the state of a key that no file names, and why it is not known, if so."""
    if flag is None:
        return _UNKNOWN, "only evaluations of flags are counted"
    signal = not_evaluated(flag, now, conf.stale_days)
    if isinstance(signal, Finding):
        return _READY, ""
    if isinstance(signal, Unknown):
        return _UNKNOWN, localized(signal.why)
    last = flag.last_use.in_use_at
    if last is not None and (now - last).days < conf.stale_days:
        return _ELSEWHERE, ""
    return _UNKNOWN, f"it got its key in the last {conf.stale_days} days"


def _print_messages(records: Sequence[Mapping[str, object]], out: Output) -> None:
    """Says which keys no file names, by what is known about them."""
    days = f"{conf.stale_days} days"
    texts = {
        _READY: f"ready to delete (in no file, and not evaluated for {days})",
        _ELSEWHERE: f"in no file, but evaluated in the last {days} "
        "(built at run time, or elsewhere)",
        _UNKNOWN: "in no file, and its use is not known (%s)",
    }
    keys: dict[str, list[str]] = defaultdict(list)
    for state, text in texts.items():
        for one in (one for one in records if one["state"] == state):
            name = one["key"] if one["kind"] in ("flag", None) else f"{one['kind']} {one['key']}"
            keys[text.replace("%s", str(one["why"]))].append(str(name))
    for text, names in keys.items():
        out.message(f"{text}: {', '.join(names)}")


REFERENCES = Verb(
    name="references",
    help="list the lines of code that name a key, and the keys that no line names",
    examples=(
        "references",
        "references new_checkout",
        "references new_checkout --in frontend --in backend",
        "references --json",
    ),
    add_arguments=_add_arguments,
    run=_run,
    topic=Topic.UPKEEP,
)
