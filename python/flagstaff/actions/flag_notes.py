"""What a person should know before an action of flags: what uses them, and what their rules do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from django.utils.text import capfirst

from flagstaff._tables.states import ALL_USERS, FlagState
from flagstaff._text import local_list, local_number, localized, quoted, say
from flagstaff._text.rules import ALL
from flagstaff._text.times import local_days, local_time_text
from flagstaff._workers.usage import NOT_USED, RecentUsage, recent_usage
from flagstaff.actions.table import Line, Look, Run, own_default_notes
from flagstaff.changes.consequence import flag_text
from flagstaff.changes.fields import command_line, count_allowed_users

# The flags of which it says when they were evaluated.
_MAX_KEYS = 20
# The actions after which one expects all users of a percentage to have the flag.
_GIVING = ("on", "rollout", "rules")
# Those that say who is to have a flag, and do not turn it on.
_CHOOSING = ("rollout", "rules", "allow")


def about(run: Run, look: Look) -> Look:
    """Returns a look with what is known of its flags and their rules. Queries the usage."""
    name, keys = run.action.name, run.keys
    if name == "create":
        return replace(look, notes=[*look.notes, *_notes_of_new(keys[0])])
    if name == "kill":
        return replace(
            look, notes=[say("Rollout, rules and allowed users stay as they are.").local]
        )
    if name == "delete":
        return _deletion(run, look)
    notes = [*look.notes]
    after = [state.row for key, state in look.impact.after.items() if key in look.impact.rows]
    off = [
        row.key
        for row in after
        if not row.enabled and (name == "allow" or row.rollout_percent or row.rules)
    ]
    if name in _CHOOSING and off:
        text = say(
            "{keys} is off: no user has it until it is turned on.",
            "{keys} are off: no user has them until they are turned on.",
        )
        notes.append(say(text, count=len(off), keys=local_list(map(quoted, off))).local)
    held_back = list[str]()
    if name in _GIVING:
        for row in after:
            texts = partial_rule_notices(FlagState.of(row))
            # Before 100 %, a release would give more than was asked for.
            held_back += [row.key] if texts and row.rollout_percent >= ALL_USERS else []
            notes += texts if len(after) == 1 else [f"{row.key}: {text}" for text in texts]
    return replace(look, notes=notes, held_back=held_back)


def _deletion(run: Run, look: Look) -> Look:
    """Who has the flags, how often they were evaluated, and how to find them in the code."""
    keys, usage = run.keys, recent_usage(run.keys)
    today = {} if usage is None else usage.today
    is_used = any(of_key.in_use_at for of_key in today.values())
    notes = [*look.notes]
    used = {quoted(key): today.get(key, NOT_USED) for key in keys}
    evaluated = [key for key, of_key in used.items() if of_key.last_evaluated_at]
    served = [key for key, of_key in used.items() if of_key.served_to_browsers_at]
    if evaluated:
        notes.append(say("The code still evaluates {keys}.", keys=local_list(evaluated)).local)
    if served:
        notes.append(
            say("Browsers still get the results of {keys}.", keys=local_list(served)).local
        )
    if is_used or look.impact:
        notes += own_default_notes(run.rows)
    # Without usage, the text is the same for all keys.
    for key in keys[: _MAX_KEYS if usage else 1]:
        text = say("Evaluated: {text}.", text=evaluated_text(usage, key)).local
        notes.append(f"{key}: {text}" if usage and len(keys) > 1 else text)
    text = say(
        "To find the key in your code, run: {command}",
        "To find the keys in your code, run: {command}",
    )
    command = command_line("references", *keys[:_MAX_KEYS])
    notes.append(say(text, count=len(keys), command=command).local)
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
        yield say(
            "In the last {days}, the key was evaluated {count} time. Without a flag, the code "
            "uses its own default; while the new flag is off, no user has it.",
            "In the last {days}, the key was evaluated {count} times. Without a flag, the code "
            "uses its own default; while the new flag is off, no user has it.",
            count=key_usage.count,
            days=local_days(usage.days),
        ).local


def partial_rule_notices(state: FlagState) -> list[str]:
    """Returns the sentences about rules that keep users out whatever the rollout is."""
    return [
        _partial_rule_notice(capfirst(localized(place)), percent, state.rollout_percent)
        for place, percent in state.partial_rules
    ]


def _partial_rule_notice(rule: str, percent: int, rollout: int) -> str:
    if rollout < ALL:
        text = say("{rule} gives the flag to {percent} % of its users, not {rollout} %.")
        return say(text, rule=rule, percent=percent, rollout=rollout).local
    text = say("{rule} keeps {percent} % of its users out, also at a rollout of {rollout} %.")
    return say(text, rule=rule, percent=ALL - percent, rollout=rollout).local


def evaluated_text(usage: RecentUsage | None, key: str) -> str:
    """Returns when and how often a flag was evaluated, and when it was served in bulk."""
    if usage is None:
        return say("not known").local
    days = local_days(usage.days)
    used, texts = usage.keys.get(key, NOT_USED), []
    if used.last_evaluated_at:
        text = say(
            "{count} time in the last {days}, last reported at {time}; in the last day: {recent}",
            "{count} times in the last {days}, last reported at {time}; in the last day: {recent}",
        )
        times = {
            "time": local_time_text(used.last_evaluated_at),
            "count": used.count,
            "recent": local_number(usage.today.get(key, NOT_USED).count),
            "days": days,
        }
        texts.append(say(text, **times).local)
    if used.served_to_browsers_at:
        text = say("served to browsers, last recorded at {time}")
        texts.append(say(text, time=local_time_text(used.served_to_browsers_at)).local)
    if used.served_in_bulk_at and not texts:
        text = say(
            "served in bulk, which does not say whether the code uses it, last recorded at {time}"
        )
        texts.append(say(text, time=local_time_text(used.served_in_bulk_at)).local)
    if texts:
        return "; ".join(texts)
    if not usage.is_whole:
        return say("not since counting began").local
    return say("not in the last {days}", days=days).local
