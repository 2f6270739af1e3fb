"""What an impact means for the users, as a class and in words: how a change is confirmed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from enum import IntEnum
from itertools import takewhile
from typing import Any

from django.utils.text import capfirst

from flagstaff._tables.rows import USER, Kind, hidden_keys, short_unit
from flagstaff._tables.states import FlagState, ValueState, state_summary
from flagstaff._text import Sentence, is_same_json, local_list, local_number, localized, say
from flagstaff._text.rules import ALL
from flagstaff.changes.row_states import Effect, Impact, Key, RowState, RuleUse
from flagstaff.conf import conf
from flagstaff.extensions import deciding_code

_HALF = 50
# What uses a row, of which a text has a line each.
_MAX_USES = 50
_WITH_OTHERS = say("With what depends on it: {text}")
# A smaller number of users is hidden from a person who may not view users.
_MIN_SHOWN = 5


class Consequence(IntEnum):
    """What a change means for the users, from the least to the most."""

    #: No result changes.
    NONE = 0
    #: Some users lose the flag, and none gains it.
    FEWER = 1
    #: Some users gain the flag, or get another result.
    MORE = 2
    #: Afterwards more than half of the users have the flag, or that many get another result.
    MOST = 3


def consequence(
    before: RowState, after: RowState, effect: Effect, *, by_use: bool = False
) -> Consequence:
    """Returns the consequence of a change of a flag or a value, or of what it uses.

    The fields decide, too, where the numbers do not say everything: what cannot be counted is never
    "none".
    """
    if effect.code and is_off(before) is not is_off(after):
        return Consequence.MOST if is_off(before) else Consequence.FEWER
    old, new = before.state, after.state
    if after.kind is not Kind.FLAG:
        by_counts = _by_counts(effect, effect.changed, effect.changed)
    elif old == new and before.allowed_users != after.allowed_users:
        by_counts = _by_counts(effect, effect.gain, effect.gain)
    else:
        by_counts = _by_counts(effect, effect.gain, effect.on[1])
    is_rough = effect.is_estimate and by_counts < Consequence.MORE
    begins = effect.anonymous_changed and not effect.anonymous[0]
    if isinstance(new, FlagState) and _is_raised(old, new):
        # Users who come later gain it, too.
        by_counts = max(by_counts, Consequence.MORE)
        begins = begins or new.rollout_percent >= ALL
    units = {side.bucket_by for side in (old, new) if side is not None}
    if effect.users and not (effect.ignored or begins or is_rough or units != {USER}):
        return by_counts
    return max(by_counts, _by_fields(before, after, effect, by_use=by_use))


def is_off(side: RowState | None) -> bool:
    """Whether a flag exists and is disabled. Code of the project decides about others."""
    return side is not None and side.row is not None and not side.row.enabled


def code_text(code: str, *, is_again: bool = False) -> Sentence:
    """Returns that code of the project decides about a flag, as a part of a sentence."""
    if is_again:
        return say("{code} decides again who has it", code=code)
    return say("{code} decides who has it", code=code)


def flag_text(flag: Any, allowed: int) -> str:
    """Returns the sentence that says which users have a flag. Queries if the flag is on."""
    state = FlagState.of(flag)
    code = deciding_code([flag.key]).get(flag.key) if state.enabled else None
    if code is None:
        return state_summary(state, allowed)
    return say("On: {why}, so its users cannot be counted.", why=code_text(code)).local


def _is_raised(old: FlagState | ValueState | None, new: FlagState) -> bool:
    before = old.rollout_percent if isinstance(old, FlagState) and old.enabled else 0
    return new.enabled and new.rollout_percent > before


def consequence_of(impact: Impact) -> Consequence:
    """Returns the largest consequence for one of the flags, values and experiments."""
    return max((consequence_for(impact, key) for key in impact), default=Consequence.NONE)


def needs_question(impact: Impact, least: Consequence) -> bool:
    """Whether a person confirms a change of this consequence or a larger one.

    Not if all users are counted and none of them notices it, unless it is the largest one: users
    who come later may gain a flag by a rollout that was confirmed.
    """
    largest = consequence_of(impact)
    is_noticed = largest is Consequence.MOST or any(_is_noticed(impact, key) for key in impact)
    return largest >= least and is_noticed


def _is_noticed(impact: Impact, key: Key) -> bool:
    effect, states = impact[key], [side[key].state for side in impact.sides if key in side]
    is_counted = effect.users and {state.bucket_by for state in states if state} <= {USER}
    is_exact = is_counted and not (effect.ignored or effect.is_estimate)
    return not is_exact or bool(effect.changed or effect.anonymous_changed)


def consequence_for(impact: Impact, key: Key) -> Consequence:
    """Returns the consequence for one of them."""
    effect = impact[key]
    if key[0] is None:
        by_counts = _by_counts(effect, effect.changed, effect.changed)
        is_rough = effect.is_estimate and not by_counts
        is_whole = effect.users and not effect.ignored and not is_rough
        return by_counts if is_whole else Consequence.MOST
    nothing = RowState(key[0], None)
    before, after = (side.get(key, nothing) for side in impact.sides)
    by_use = any((use.kind, use.key) == key for use in impact.uses)
    return consequence(before, after, effect, by_use=by_use)


def _by_counts(effect: Effect, more: int, most: int) -> Consequence:
    """Returns it by how many users get something, and how many of all have it then."""
    if more:
        return Consequence.MOST if most * 2 > (effect.users or 0) else Consequence.MORE
    is_lost = effect.lose or (effect.anonymous_changed and effect.anonymous[0])
    return Consequence.FEWER if is_lost else Consequence.NONE


def _by_fields(before: RowState, after: RowState, effect: Effect, *, by_use: bool) -> Consequence:
    """Returns the consequence as if all users matched the conditions that were not counted."""
    old, new = before.state, after.state
    if isinstance(new, FlagState) and not new.enabled:
        new = None
    if isinstance(old, FlagState) and not old.enabled:
        old = None
    if new is None:
        return Consequence.FEWER if old else Consequence.NONE
    if old is not None and old.bucket_by != new.bucket_by:
        return Consequence.MOST
    if isinstance(new, ValueState):
        is_same = isinstance(old, ValueState) and is_same_json(old.value, new.value)
        percent, is_raised = ALL, not is_same
    else:
        percent, is_raised = new.rollout_percent, _is_raised(old, new)
    # A flag that begins is never for fewer users: the allowed users have it.
    percents = [percent] if is_raised or old is None else []
    percents += _added_percents([] if old is None else old.rules, new.rules, percent)
    if by_use and isinstance(new.rules, list):
        # All rules may have changed, and whom one lets go gets what comes after it.
        percents += [*map(_percent, new.rules), *([percent] if after.kind is Kind.FLAG else [])]
    added = set(after.allowed_users or ()).difference(before.allowed_users or ())
    percents += [ALL] if added and not effect.users else []
    if not percents:
        return Consequence.FEWER
    return Consequence.MOST if max(percents) > _HALF else Consequence.MORE


def _added_percents(before: object, after: object, default_percent: int) -> list[int]:
    """Returns what changed rules give, in percent; also to the users whom a removed one lets go."""
    if not (isinstance(before, list) and isinstance(after, list)):
        return [] if before == after else [ALL]
    # As JSON: for Python, 1 equals true.
    old, new = ([json.dumps(rule, sort_keys=True) for rule in rules] for rules in (before, after))
    if old == new:
        return []
    rest_of_new = iter(new)
    if len(new) > len(old) and all(rule in rest_of_new for rule in old):
        return [_percent(json.loads(rule)) for rule in Counter(new) - Counter(old)]
    unchanged = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(old, new)))  # noqa: B905
    return [*map(_percent, after[unchanged:]), default_percent]


def _percent(rule: Any) -> int:
    percent = rule.get("rollout_percent", ALL) if isinstance(rule, dict) else ALL
    return percent if isinstance(percent, int) else ALL


def text_to_type(impact: Impact) -> str:
    """Returns what a person types to confirm a change: a key, or the name of the environment."""
    most = {key for key in impact if consequence_for(impact, key) is Consequence.MOST}
    by_use = bool(most.difference(impact.rows))
    typed = [key for key in impact.rows if key in most or (by_use and key[0] is not Kind.VALUE)]
    return text_for_many([key for _kind, key in typed]) if typed else ""


def text_for_many(keys: Sequence[str]) -> str:
    """Returns what a person types before a change of several rows; empty outside production.

    It is the key of a single row, or the name of the environment for several rows.
    """
    environment = conf.environment
    if environment is None or not environment.production:
        return ""
    return keys[0] if len(keys) == 1 else environment.name


def number_text(effect: Effect, count: int) -> str:
    """Returns a number of users; only roughly for a sample, or if small numbers are hidden."""
    if not count:
        return local_number(count)
    if effect.hides_small:
        # Rounded, so that two numbers do not say whether one user is among them.
        rough = count - count % _MIN_SHOWN
    elif effect.is_estimate:
        rough = _estimated(count)
    else:
        return local_number(count)
    text = say("about {count}") if rough else say("fewer than {count}")
    return say(text, count=rough or _MIN_SHOWN).local


def _estimated(count: int) -> int:
    return round(count, 3 - len(str(count)))


def _all_users_text(effect: Effect) -> str:
    users = effect.users or 0
    return local_number(_estimated(users) if effect.is_estimate else users)


def _plural(effect: Effect, count: int) -> int:
    """Returns the number that chooses the form: the singular would say what is hidden."""
    return _MIN_SHOWN if effect.hides_small else count


def users_texts(effect: Effect) -> tuple[str, str]:
    """Returns how many users have a flag before and after, as `users_text`."""
    before, after = (
        users_text(replace(effect, ignored=() if is_certain else effect.ignored), count)
        for count, is_certain in zip(effect.on, effect.is_certain, strict=True)
    )
    return before, after


def users_text(effect: Effect, count: int) -> str:
    """Returns a number of all users, and what is not in it; or why the users are not counted."""
    if effect.users is None:
        return say("not counted: {why}", why=effect.problem).local
    on, users = number_text(effect, count), _all_users_text(effect)
    text = say("{on} of {users}", on=on, users=users).local
    if effect.ignored:
        names = local_list(effect.ignored)
        text = say("{users}, without those selected only by {names}", users=text, names=names).local
    if flags := _visible(effect.forced):
        text = say("{users}; {flags} as stored, not as forced", users=text, flags=flags).local
    return text


def holders_texts(effect: Effect) -> tuple[str, str]:
    """Returns how many of all users have a counted flag, and what is not in this number."""
    counted = say(
        "{on} of {users} user",
        "{on} of {users} users",
        count=effect.users or 0,
        on=number_text(effect, effect.on[1]),
        users=_all_users_text(effect),
    ).local
    return counted, " ".join([*_not_counted(effect), *_counted_as_stored(effect.forced)])


def _not_counted(effect: Effect) -> Iterator[str]:
    """Yields which users may have a flag in addition to those who are counted."""
    if effect.ignored and not effect.is_certain[1]:
        text = say(
            "Users who are selected only by {names} are not counted, because only the application "
            "knows this."
        )
        yield say(text, names=local_list(effect.ignored)).local


def _counted_as_stored(forced: Collection[str]) -> Iterator[str]:
    """Yields which flags the environment forces, if there are some that the reader may see."""
    if flags := _visible(forced):
        text = say("The environment of this process forces {flags}, counted here as stored.")
        yield say(text, flags=flags).local


def _on_condition(text: str, effects: Iterable[Effect]) -> str:
    """Returns a text about numbers, with the condition under which they are true.

    Who is selected by what only a call knows may gain less or lose less, but also more: the first
    rule that a user matches decides.
    """
    uncertain = (effect for effect in effects if not all(effect.is_certain))
    ignored = sorted({name for effect in uncertain for name in effect.ignored})
    if not ignored:
        return text
    condition = say("If no user is selected by {names}, which only the application knows: {text}")
    return say(condition, names=local_list(ignored), text=text).local


def _visible(forced: Collection[str]) -> str:
    """Returns those of the flags that the environment sets which the reader may see."""
    hidden = hidden_keys(Kind.FLAG.model) if forced else ()
    return local_list(key for key in forced if key not in hidden)


def use_texts(impact: Impact, use: RuleUse) -> tuple[str, str]:
    """Returns how many users have a flag that uses what changes, before and after.

    Of a value or an experiment, how many get another result.
    """
    effect = impact.get((use.kind, use.key))
    if effect is None:
        text = say("not running").local if use.kind is None else say("off").local
        return text, text
    if use.kind is Kind.FLAG:
        return users_texts(effect)
    users = users_text(effect, effect.changed)
    return "", say("another result: {users}", users=users).local


def impact_text(impact: Impact, *, percents: bool = True) -> str:
    """Returns the sentences that say who gains or loses what; empty if no result can change.

    `percents` is whether they begin with the change of the rollout.
    """
    counted_keys = [key for key in impact.rows if key in impact]
    if len(counted_keys) != 1:
        return summary_text(impact)
    text = row_text(impact, counted_keys[0], percents=percents)
    if len(impact.rows) > 1:
        text = f"{counted_keys[0][1]}: {text}"
    if len(impact) == 1:
        return text
    return f"{text} {say(_WITH_OTHERS, text=summary_text(impact)).local}"


def impact_lines(impact: Impact) -> Iterator[str]:
    """Yields a line for each of the first rows that use what changes, then the sentences."""
    for use in impact.uses[:_MAX_USES]:
        before, after = use_texts(impact, use)
        users = after if before in {"", after} else f"{before} → {after}"
        yield f"{use.label()}: {users}"
    if (more := len(impact.uses) - _MAX_USES) > 0:
        yield f"and {more:,} more"
    for key in impact.rows:
        if key in impact:
            yield f"{key[1]}: {row_text(impact, key)}"
    if impact.uses:
        used = (key for kind, key in impact.rows if kind is not Kind.VALUE)
        yield f"{', '.join(used)}: {summary_text(impact)}"


def written_lines(impact: Impact) -> Iterator[str]:
    """Yields a line for each of the first rows: how many users had a flag before, and have it."""
    for key in [*impact][:_MAX_USES]:
        yield f"{key[1]}: {' '.join(_sentences(impact, key, percents=False, is_written=True))}"
    if (more := len(impact) - _MAX_USES) > 0:
        yield f"and {more:,} more"


def row_text(impact: Impact, key: Key, *, percents: bool = True) -> str:
    """Returns the sentences about one of the flags, values and experiments."""
    return " ".join(_sentences(impact, key, percents=percents))


def summary_text(impact: Impact) -> str:
    """Returns the sentence about all of them together; empty if no result can change."""
    if not impact:
        return ""
    counted = [effect for effect in impact.values() if effect.users is not None]
    if impact.changed is None or not counted:
        return say("The users cannot be counted.").local
    text = say("No user gains or loses anything.").local
    if impact.changed:
        # An exact total beside a rounded number would say what this hides.
        rounded = next((effect for effect in counted if effect.hides_small), counted[0])
        number, users = _plural(rounded, impact.changed), number_text(rounded, impact.changed)
        text = capfirst(say(_gain_or_loss(impact), count=number, users=users).local)
    text = _on_condition(text, impact.values())
    forced = sorted({key for effect in impact.values() for key in effect.forced})
    return " ".join([text, *_uncounted_rows(impact), *_counted_as_stored(forced)])


def _uncounted_rows(impact: Impact) -> Iterator[str]:
    """Yields of how many rows the users are not counted, if there are some."""
    uncounted = sum(effect.users is None for effect in impact.values())
    if uncounted:
        yield say(
            "The users of {count} flag, value or experiment could not be counted.",
            "The users of {count} flags, values or experiments could not be counted.",
            count=uncounted,
        ).local


def _gain_or_loss(impact: Impact) -> Sentence:
    """Returns what a number of users gain or lose, which is known of flags."""
    are_flags = all(kind is Kind.FLAG for kind, _key in impact)
    if are_flags and impact.keys().isdisjoint(impact.after):
        return say(
            "{users} user has one of these flags.",
            "{users} different users have one of these flags.",
        )
    if are_flags and not any(effect.gain for effect in impact.values()):
        return say("{users} user loses a flag.", "{users} different users lose a flag.")
    if are_flags and not any(effect.lose for effect in impact.values()):
        return say("{users} user gains a flag.", "{users} different users gain a flag.")
    return say(
        "{users} user gains or loses something.", "{users} different users gain or lose something."
    )


def _sentences(
    impact: Impact, key: Key, *, percents: bool, is_written: bool = False
) -> Iterator[str]:
    effect = impact[key]
    old, new = (side[key].state if key in side else None for side in impact.sides)
    if effect.code:
        was_off, stays_off = (is_off(side.get(key)) for side in impact.sides)
        why = localized(code_text(effect.code, is_again=was_off and not stays_off))
        yield say("{why}, so its users cannot be counted.", why=why).local
        return
    if old and new and old.bucket_by != new.bucket_by:
        yield say("The new unit reassigns every user at once.").local
    if effect.users is None:
        yield say("The users cannot be counted.").local
    else:
        text = _numbers_text(impact, key, is_written=is_written)
        text = _on_condition(text, [effect])
        if (
            percents
            and isinstance(old, FlagState)
            and isinstance(new, FlagState)
            # The rollout of a flag that is off gives it to nobody.
            and old.enabled is new.enabled
            and old.rollout_percent != new.rollout_percent
        ):
            text = say(
                "{old} → {new} %: {text}",
                old=old.rollout_percent,
                new=new.rollout_percent,
                text=text,
            ).local
        yield capfirst(text)
        yield from _counted_as_stored(effect.forced)
    if effect.anonymous_changed:
        yield _anonymous_text(impact, key)


def _numbers_text(impact: Impact, key: Key, *, is_written: bool) -> str:
    """Returns the sentences about the numbers of a row whose users are counted."""
    effect = impact[key]
    users = _all_users_text(effect)
    if key[0] is not Kind.FLAG:
        return say(
            "The value changes for {changed} of {users} user.",
            "The value changes for {changed} of {users} users.",
            count=effect.users or 0,
            changed=number_text(effect, effect.changed),
            users=users,
        ).local
    if is_written:
        numbers = " → ".join(number_text(effect, count) for count in effect.on)
        return f"{numbers} of {users} {'user' if effect.users == 1 else 'users'}."
    if key not in impact.after:
        return _holders_text(effect)
    return " ".join(_flag_sentences(effect))


def _holders_text(effect: Effect) -> str:
    """Returns how many users have a flag that is deleted: what they get then, the code decides."""
    text = say("{on} of {users} user has the flag.", "{on} of {users} users have the flag.")
    on, users = number_text(effect, effect.on[0]), _all_users_text(effect)
    return say(text, count=effect.users or 0, on=on, users=users).local


def _flag_sentences(effect: Effect) -> Iterator[str]:
    gain, lose = effect.gain, effect.lose
    if lose:
        text = say("{lose} user loses the flag.", "{lose} users lose the flag.")
        yield say(text, count=_plural(effect, lose), lose=number_text(effect, lose)).local
    if gain:
        text = say("{gain} user gains the flag.", "{gain} users gain the flag.")
        yield say(text, count=_plural(effect, gain), gain=number_text(effect, gain)).local
    if not (gain or lose or effect.ignored or effect.is_estimate):
        yield say("No user gains or loses the flag.").local
    text = say(
        "Afterwards {after} of {users} user has it.", "Afterwards {after} of {users} users have it."
    )
    after, users = number_text(effect, effect.on[1]), _all_users_text(effect)
    yield say(text, count=effect.users or 0, after=after, users=users).local


def _anonymous_text(impact: Impact, key: Key) -> str:
    """Returns the sentence about those who gain or lose it without being logged in."""
    if key[0] is not Kind.FLAG:
        return say("It changes for everybody who is not logged in.").local
    if key not in impact.after:
        return say("Everybody who is not logged in has it, too.").local
    units = {FlagState.of(side[key].row).bucket_by for side in impact.sides if key in side}
    unit, has_flag = next(iter(units - {USER}), USER), impact[key].anonymous[1]
    if unit == USER:
        return (
            say("Everybody who is not logged in gains the flag.").local
            if has_flag
            else say("Everybody who is not logged in loses the flag.").local
        )
    text = (
        say("Afterwards everybody without “{unit}” has the flag.")
        if has_flag
        else say("Afterwards not everybody without “{unit}” has the flag.")
    )
    return say(text, unit=short_unit(unit)).local
