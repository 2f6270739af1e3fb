"""The actions of flags."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from flagstaff import changes
from flagstaff._tables.rows import BUCKET_BY, TAGS, Kind
from flagstaff._text import say
from flagstaff.actions.arguments import Percent, Rules, Tags, Unit, Users, fields_of
from flagstaff.actions.table import Action, Run, action, undo_actions
from flagstaff.base_models import AbstractFeatureFlag
from flagstaff.changes import Changed
from flagstaff.changes.consequence import Consequence
from flagstaff.changes.fields import AllowedUsersChange
from flagstaff.changes.locking import locked_row
from flagstaff.changes.row_changes import change_row
from flagstaff.conf import conf
from flagstaff.validators import usable_tags

if TYPE_CHECKING:
    from flagstaff.actions.table import Look

_STATE = ("enabled", "rollout_percent", "rules")
_Users = Annotated[list[Any], Users("a user's primary key or username")]
_AddTags = Annotated[list[str], Tags("a tag to add to those of each flag")]
_RemoveTags = Annotated[list[str], Tags("a tag to remove from those of each flag")]


def _about(run: Run, look: Look) -> Look:
    # A kill does not need it.
    from flagstaff.actions.flag_notes import about  # noqa: PLC0415

    return about(run, look)


@action(
    Kind.FLAG,
    'kill new_checkout --reason "orders fail"',
    "kill new_checkout dark_mode",
    "kill new_checkout --no-wait",
    label=say("Kill").lazy,
    button=say("Kill {key}"),
    right="toggle",
    many=True,
    waits_for_workers=True,
    always_runs=True,
    can_wait=False,
    about=_about,
)
def kill(key: str, *, expect_version: int | None = None) -> Changed:
    """Disable flags for all users, and wait until the workers have applied it.

    Their rollout and their allowed users stay, so that `on` restores the state. Nothing delays
    it: no question, no reason. Inside a transaction of your own code it does not wait.
    """
    return changes.flags.disable(key, expect_version=expect_version)


@action(
    Kind.FLAG,
    "on new_checkout",
    "on new_checkout dark_mode --percent 5 --dry-run",
    label=say("Turn on").lazy,
    button=say("Turn on {key}"),
    right="toggle",
    many=True,
    ended_by="off",
    about=_about,
)
def on(key: str, percent: Percent | None = None, *, expect_version: int | None = None) -> Changed:
    """Enable flags (their rollout and allowed users apply)."""
    if percent is None:
        return changes.flags.enable(key, expect_version=expect_version)
    fields = {"enabled": True, "rollout_percent": percent}
    return changes.flags.update(key, fields, expect_version=expect_version)


@action(
    Kind.FLAG,
    "off new_checkout",
    "off new_checkout dark_mode",
    "off new_checkout --wait 30 --expect 12",
    label=say("Turn off").lazy,
    button=say("Turn off {key}"),
    right="toggle",
    many=True,
    always_runs=True,
)
def off(key: str, *, expect_version: int | None = None) -> Changed:
    """Disable flags for all users.

    Their rollout and their allowed users stay, so that `on` restores the state.
    """
    return changes.flags.disable(key, expect_version=expect_version)


@action(
    Kind.FLAG,
    "rollout new_checkout 5",
    "rollout new_checkout dark_mode 25% --dry-run",
    label=say("Roll out").lazy,
    button=say("Roll out to {percent} %"),
    right="toggle",
    many=True,
    # A brake needs no question: nothing delays it.
    always_runs=lambda percent: percent == 0,
    about=_about,
)
def rollout(key: str, percent: Percent, *, expect_version: int | None = None) -> Changed:
    """Set the percentage of users who have a flag.

    Users who have a flag at 25 % also have it at 50 %. A disabled flag stays disabled.
    """
    return changes.flags.set_rollout(key, percent, expect_version=expect_version)


@action(
    Kind.FLAG,
    "release new_checkout",
    "release new_checkout dark_mode --dry-run",
    label=say("Release to everybody").lazy,
    button=say("Release {key} to everybody"),
    many=True,
)
def release(key: str, *, expect_version: int | None = None) -> Changed:
    """Give flags to everybody: enabled, at 100 %, also in each rule.

    A rule below 100 % keeps users out whatever the rollout is. The rules stay, so that the undo
    brings back their percentages.
    """
    return changes.flags.release(key, expect_version=expect_version)


@action(
    Kind.FLAG,
    "rules new_checkout rules.json",
    "rules new_checkout - --rollout 25 < rules.json",
    label=say("Rules").lazy,
    button=say("Save the rules"),
    about=_about,
)
def rules(
    key: str,
    rules: Rules,
    rollout: Percent | None = None,
    *,
    expect_version: int | None = None,
) -> Changed:
    """Replace the targeting rules of a flag, and optionally its rollout.

    `[]` removes all rules. Rules that workers could not read, or that name a segment that does
    not exist, are refused.
    """
    fields = {"rules": rules} if rollout is None else {"rules": rules, "rollout_percent": rollout}
    return changes.flags.update(key, fields, expect_version=expect_version)


@action(
    Kind.FLAG,
    "unit new_checkout organization",
    "unit new_checkout user --dry-run",
    label=say("Bucketing unit").lazy,
    button=say("Save the bucketing unit"),
)
def unit(key: str, bucket_by: Unit, *, expect_version: int | None = None) -> Changed:
    """Set what the percentages of a flag count: reassigns every user at once."""
    return changes.flags.update(key, {BUCKET_BY: bucket_by}, expect_version=expect_version)


@action(
    Kind.FLAG,
    "allow new_checkout alice bob",
    "allow new_checkout --file beta.csv --reason beta",
    label=say("Add allowed users").lazy,
    button=say("Add allowed users"),
    # The command names the users, so only a large part of them is worth a question.
    asks_from=Consequence.MOST,
    about=_about,
)
def allow(key: str, users: _Users, *, expect_version: int | None = None) -> Changed:
    """Add users to the allowed users of a flag.

    Allowed users have the flag at every rollout, while it is enabled. Of a CSV file, the first
    column is read. If some users do not exist, nothing is changed, and the message lists them.
    """
    return changes.flags.allow(key, users, expect_version=expect_version)


@action(
    Kind.FLAG,
    "disallow new_checkout alice",
    "disallow new_checkout --file beta.csv --skip-unknown",
    label=say("Remove allowed users").lazy,
    button=say("Remove allowed users"),
    asks_from=Consequence.MOST,
)
def disallow(key: str, users: _Users, *, expect_version: int | None = None) -> Changed:
    """Remove users from the allowed users of a flag.

    They still have the flag if the rollout includes them.
    """
    return changes.flags.disallow(key, users, expect_version=expect_version)


@action(
    Kind.FLAG,
    'details search_v2 --description "Second engine"',
    'details search_v2 dark_mode --owner payments --review-on ""',
    "details search_v2 dark_mode --add-tag q3 --remove-tag q2",
    label=say("Details").lazy,
    button=say("Save the details"),
    many=True,
    fields=fields_of(lambda: conf.flag_model, AbstractFeatureFlag, without=(*_STATE, BUCKET_BY)),
)
def details(
    key: str,
    *,
    add_tags: _AddTags | None = None,
    remove_tags: _RemoveTags | None = None,
    expect_version: int | None = None,
    **fields: Any,
) -> Changed:
    """Change the description, kind, owner, tags or other details of flags.

    Only the given options are written. An empty text clears a field.
    """
    with locked_row(Kind.FLAG, key) as locked:
        if add_tags or remove_tags:
            tags = dict.fromkeys(
                [*fields.get(TAGS, usable_tags(getattr(locked.row, TAGS))), *(add_tags or ())]
            )
            fields[TAGS] = [tag for tag in tags if tag not in (remove_tags or ())]
        return change_row(Kind.FLAG, locked, fields, AllowedUsersChange(), expect_version)


@action(
    Kind.FLAG,
    "create new_search",
    'create search_v3 --kind ops --description "Second engine"',
    "create search_v4 --owner search --tag mobile --tag q3 --review-on 2027-03-01",
    label=say("Add flag").lazy,
    button=say("Add flag"),
    right="add",
    creates=True,
    fields=fields_of(lambda: conf.flag_model, AbstractFeatureFlag, without=_STATE),
    about=_about,
)
def create(key: str, **fields: Any) -> Changed:
    """Create a flag: disabled, at 0 %, without allowed users.

    A message says if another key differs from it only in upper and lower case.
    """
    return changes.flags.create(key, **fields)


@action(
    Kind.FLAG,
    "delete new_checkout --yes",
    "delete new_checkout dark_mode --dry-run",
    label=say("Delete").lazy,
    button=say("Delete {key}"),
    many=True,
    right="delete",
    deletes=True,
    about=_about,
)
def delete(key: str, *, expect_version: int | None = None) -> Changed:
    """Delete flags and their allowed users.

    The undo restores both. First it says who has the flags, and how often they were evaluated
    lately.
    """
    return changes.flags.delete(key, expect_version=expect_version)


#: In the order of the help.
FLAG_ACTIONS: tuple[Action, ...] = (
    kill,
    on,
    off,
    rollout,
    release,
    rules,
    unit,
    allow,
    disallow,
    details,
    create,
    delete,
    *undo_actions(Kind.FLAG, "new_checkout"),
)
