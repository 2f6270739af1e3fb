from __future__ import annotations

from argparse import SUPPRESS
from functools import partial
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from django.db.models import Q

from waffle import get_waffle_flag_model

_COLUMNS = ("everyone", "percent", "superusers", "staff", "authenticated", "rollout", "testing")


class Command(BaseCommand):
    help = "Modify a flag."

    def add_arguments(self, parser: CommandParser) -> None:
        add = parser.add_argument
        add("name", nargs="?", help="The name of the flag.")
        add(
            "-l",
            "--list",
            action="store_true",
            dest="list_flags",
            help="List existing flags.",
        )
        # A column that the call does not name has no option, so it keeps its value.
        column = partial(add, default=SUPPRESS)
        column("--everyone", action="store_true", help="Activate flag for all users.")
        column(
            "--deactivate",
            action="store_false",
            dest="everyone",
            help="Deactivate flag for all users.",
        )
        column("--percent", "-p", type=int, help="Roll out the flag for a percentage of users.")
        column("--superusers", action="store_true", help="Turn on the flag for superusers.")
        column("--staff", action="store_true", help="Turn on the flag for staff.")
        column("--authenticated", action="store_true", help="Turn on the flag for logged in users.")
        column("--rollout", "-r", action="store_true", help="Turn on rollout mode.")
        column("--testing", "-t", action="store_true", help="Allow browsers to set the flag.")
        add("--group", "-g", action="append", default=[], help="The groups; see --append.")
        add("--user", "-u", action="append", default=[], help="The users; see --append.")
        add("--append", action="store_true", help="Keep present groups and users.")
        add("--create", action="store_true", help="Create the flag if it does not exist.")

    @transaction.atomic
    def handle(self, *_args: Any, **options: Any) -> None:
        """Lists the flags, or changes one."""
        model: Any = get_waffle_flag_model()
        if options["list_flags"]:
            self.stdout.write("Flags:")
            for row in model.objects.iterator():
                self._print(row)
            return
        name = options["name"]
        if not name:
            raise CommandError("You need to specify a flag name.")
        if options["create"]:
            # As in waffle, only --superusers gives a flag to superusers.
            defaults = {"superusers": False}
            row, created = model.objects.get_or_create(defaults, name=name)
            if created:
                self.stdout.write(f"Creating flag: {name}")
        else:
            row = model.objects.filter(name=name).first()
        if row is None:
            raise CommandError("This flag does not exist.")
        if options["group"]:
            groups = [_group(one) for one in options["group"]]
            self._relate(row.groups, groups, is_kept=options["append"])
            self.stdout.write(f"Setting group(s): {[group.name for group in groups]}")
        if options["user"]:
            users = [_user(one) for one in options["user"]]
            self._relate(row.users, users, is_kept=options["append"])
            self.stdout.write(f"Setting user(s): {[str(user) for user in users]}")
        self._assign(row, options)
        row.save()

    def _assign(self, row: Any, options: dict[str, Any]) -> None:
        if "everyone" not in options and row.everyone:
            # As in waffle, the others decide now; but a flag that is off for everyone stays off.
            options["everyone"] = None
        for column in _COLUMNS:
            if column in options:
                self.stdout.write(f"Setting {column}: {options[column]}")
                setattr(row, column, options[column])

    def _relate(self, related: Any, rows: list[Any], *, is_kept: bool) -> None:
        if not is_kept:
            related.clear()
        related.add(*rows)

    def _print(self, row: Any) -> None:
        self.stdout.write(f"NAME: {row.name}")
        for column in _COLUMNS:
            self.stdout.write(f"{column.upper()}: {getattr(row, column)}")
        groups, users = row.groups.values_list("name", flat=True), row.users.all()
        self.stdout.write(f"GROUPS: {[*groups]}")
        self.stdout.write(f"USERS: {[user.get_username() for user in users]}")
        self.stdout.write("")


def _group(name: str) -> Group:
    found = Group.objects.filter(name=name).first()
    if found is None:
        raise CommandError(f"Group {name} does not exist")
    return found


def _user(name: str) -> Any:
    model: Any = get_user_model()
    is_named = Q(**{model.USERNAME_FIELD: name}) | Q(**{model.get_email_field_name(): name})
    found = model._default_manager.filter(is_named).first()
    if found is None:
        raise CommandError(f"User {name} does not exist")
    return found
