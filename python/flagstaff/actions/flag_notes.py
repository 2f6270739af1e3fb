"""What a person should know before an action of flags: what uses them, and what their rules do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._engine.usage import NOT_USED, RecentUsage, recent_usage
from flagstaff._tables.flag_states import FlagState
from flagstaff._words.rule_parts import ALL
from flagstaff._words.text import local_list, local_number, localized, quoted
from flagstaff._words.times import local_days, local_time_text
from flagstaff.actions.look import Line, Look
from flagstaff.actions.table import Run
from flagstaff.changes.allowed_users import count_allowed_users
from flagstaff.changes.changed import command_line
from flagstaff.changes.consequence import flag_text

# The flags of which it says when they were evaluated.
_MAX_KEYS = 20
# The actions after which one expects all users of a percentage to have the flag.
_GIVING = ("on", "rollout", "rules")


def about(run: Run, look: Look) -> Look:
    """Returns a look with what is known of its flags and their rules. Queries the usage."""
    name, keys = run.action.name, run.keys
    if name == "create":
        return replace(look, notes=[*look.notes, *_notes_of_new(keys[0])])
    if name == "kill":
        return replace(look, notes=[_("Rollout, rules and allowed users stay as they are.")])
    if name == "delete":
        return _deletion(run, look)
    notes = [*look.notes]
    off = [row.key for row in run.rows if not FlagState.of(row).enabled]
    if name == "rollout" and off:
        text = ngettext(
            "%(keys)s is off, and stays off.", "%(keys)s are off, and stay off.", len(off)
        )
        notes.append(text % {"keys": local_list(map(quoted, off))})
    if name in _GIVING:
        after = [state.row for key, state in look.impact.after.items() if key in look.impact.rows]
        for row in after:
            texts = partial_rule_notices(FlagState.of(row))
            notes += texts if len(after) == 1 else [f"{row.key}: {text}" for text in texts]
    return replace(look, notes=notes)


def _deletion(run: Run, look: Look) -> Look:
    """Who has the flags, how often they were evaluated, and how to find them in the code."""
    keys, usage = run.keys, recent_usage(run.keys)
    is_used = usage is not None and any(of_key.in_use_at for of_key in usage.today.values())
    notes = [*look.notes]
    if is_used:
        notes.append(
            _(
                "The code or browsers still use this. After the deletion, a call returns its "
                "default."
            )
        )
    # Without usage, the text is the same for all keys.
    for key in keys[: _MAX_KEYS if usage else 1]:
        text = _("Evaluated: %(text)s.") % {"text": evaluated_text(usage, key)}
        notes.append(f"{key}: {text}" if usage and len(keys) > 1 else text)
    text = ngettext(
        "To find the key in your code, run: %(command)s",
        "To find the keys in your code, run: %(command)s",
        len(keys),
    )
    notes.append(text % {"command": command_line("references", *keys[:_MAX_KEYS])})
    summaries: Mapping[str, str] = {
        row.key: flag_text(row, count_allowed_users(row)) for row in run.rows
    }
    typed = look.typed
    if is_used and not typed:
        typed = keys[0] if len(keys) == 1 else str(len(keys))
    lines = [Line(line.field, summaries[line.field], line.after) for line in look.lines]
    return replace(look, lines=lines, notes=notes, typed=typed)


def _notes_of_new(key: str) -> Iterator[str]:
    """Yields how often the key of a new flag was evaluated without one."""
    usage = recent_usage([key])
    if usage is not None and (key_usage := usage.keys.get(key)) and key_usage.count:
        text = ngettext(
            "In the last %(days)s, the key was evaluated %(count)s time. Without a flag, a "
            "call returns its default; while the new flag is off, it returns False.",
            "In the last %(days)s, the key was evaluated %(count)s times. Without a flag, a "
            "call returns its default; while the new flag is off, it returns False.",
            key_usage.count,
        )
        yield text % {"days": local_days(usage.days), "count": local_number(key_usage.count)}


def partial_rule_notices(state: FlagState) -> list[str]:
    """Returns the sentences about rules that keep users out although the rollout is 100 %."""
    text = _("%(rule)s keeps %(percent)s %% of its users out, also at a rollout of 100 %%.")
    return [
        text % {"rule": capfirst(localized(place)), "percent": ALL - percent}
        for place, percent in state.partial_rules
    ]


def evaluated_text(usage: RecentUsage | None, key: str) -> str:
    """Returns when and how often a flag was evaluated, and when it was served in bulk."""
    if usage is None:
        return _("not known")
    days = local_days(usage.days)
    used, texts = usage.keys.get(key, NOT_USED), []
    if used.last_evaluated_at:
        text = _(
            "last evaluation: %(time)s; in the last %(days)s: %(count)s, in the last day: "
            "%(recent)s"
        )
        times = {
            "time": local_time_text(used.last_evaluated_at),
            "count": local_number(used.count),
            "recent": local_number(usage.today.get(key, NOT_USED).count),
            "days": days,
        }
        texts.append(text % times)
    if used.served_to_browsers_at:
        text = _("last served to browsers: %(time)s")
        texts.append(text % {"time": local_time_text(used.served_to_browsers_at)})
    if used.served_in_bulk_at and not texts:
        text = _("last served in bulk, which does not say whether the code uses it: %(time)s")
        texts.append(text % {"time": local_time_text(used.served_in_bulk_at)})
    return "; ".join(texts) or _("not in the last %(days)s") % {"days": days}
