"""Writes what every method of waffle's abstract classes returns for random rows and users."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import waffle
from django.contrib.auth.models import AnonymousUser, Group, User
from django.test import RequestFactory
from waffle.models import AbstractBaseSample, AbstractBaseSwitch

own: Any = import_module("own_code.models")
OrgFlag, EarlyFlag, PlainFlag = own.OrgFlag, own.EarlyFlag, own.PlainFlag
LoudSwitch, LoudSample = own.LoudSwitch, own.LoudSample

ROWS = 8
_KEPT = ("waffles", "waffle_tests")
_CLASSES = ("AbstractBaseFlag", "AbstractUserFlag")
_METHODS: list[tuple[str, tuple[bool, ...]]] = [
    ("is_active", ()),
    ("is_active", (True,)),
    ("_is_active_for_user", ()),
    ("_is_active_for_language", ()),
    ("_is_active_for_percent", (True,)),
    ("_is_active_for_percent", (False,)),
]


def columns(drawn: random.Random) -> dict[str, Any]:
    """Returns random columns of a flag."""
    names = ("testing", "superusers", "staff", "authenticated", "rollout")
    return {
        **{name: drawn.random() < 0.4 for name in names},
        "everyone": drawn.choice((None, None, None, True, False)),
        "percent": drawn.choice((None, "0.0", "30.0", "99.9")),
        "languages": drawn.choice(("", "", "de", "fr, de ,", ",")),
    }


def request_of(drawn: random.Random, name: str, user: Any) -> Any:
    """Returns a request with random parameters, cookies and kept results."""
    query = {f"dwft_{name}": drawn.choice("01")} if drawn.random() < 0.3 else {}
    query |= {name: drawn.choice("01")} if drawn.random() < 0.2 else {}
    request: Any = RequestFactory().get("/", query)
    if drawn.random() < 0.3:
        request.COOKIES[f"dwf_{name}"] = drawn.choice(("True", "False"))
    if drawn.random() < 0.3:
        request.COOKIES[f"dwft_{name}"] = drawn.choice(("True", "False"))
    if drawn.random() < 0.2:
        request.waffles = {name: [drawn.choice((True, False)), False]}
    if drawn.random() < 0.7:
        request.LANGUAGE_CODE = drawn.choice(("de", "pt", ""))
    if user is not None:
        request.user = user
    return request


class Written:
    """The results of all calls, by what was called."""

    def __init__(self) -> None:
        self.drawn, self.results = random.Random(20261129), dict[str, str]()

    def add(self, where: str, call: Callable[[], Any]) -> None:
        """Adds a result with its type, or the error. Percentages draw the same for equal places."""
        random.seed(where)
        try:
            self.results[where] = repr(call())
        except Exception as error:  # noqa: BLE001 (both have to raise it)
            self.results[where] = type(error).__name__

    def add_request(self, where: str, row: Any, user: Any, call: Callable[[Any], Any]) -> None:
        """Adds the result for a random request, and what the request keeps for its browser."""
        request = request_of(self.drawn, row.name, user)
        self.add(where, lambda: call(request))
        self.add(f"{where}, kept", lambda: [vars(request).get(name) for name in _KEPT])

    def add_flag(self, row: Any, people: list[Any]) -> None:
        """Adds the results of all methods of a flag, by `super()` and by each class."""
        classes: list[Any] = [base for base in type(row).__mro__ if base.__name__ in _CLASSES]
        for place, user in enumerate(people):
            for owner in (type(row), *classes):
                for method, arguments in _METHODS:
                    where = f"{row.name} {place} {owner.__name__}.{method}{arguments}"
                    call = partial(_called, getattr(owner, method), row, arguments)
                    self.add_request(where, row, user, call)
                where = f"{row.name} {place} {owner.__name__}.is_active_for_user"
                self.add(where, partial(owner.is_active_for_user, row, user))
            function = partial(_called, waffle.flag_is_active, None, (row.name,))
            self.add_request(f"{row.name} {place} function", row, user, function)
        for method in ("_get_user_ids", "_get_group_ids", "get_flush_keys", "natural_key"):
            self.add(f"{row.name} {method}", getattr(row, method, lambda: None))
        self.add(f"{row.name} stored", lambda: type(row).get_from_db(row.name).everyone)

    def add_other(self, row: Any, abstract: Any, function: Callable[[str], Any]) -> None:
        """Adds the results of a switch or a sample."""
        self.add(f"{row.name} row", row.is_active)
        self.add(f"{row.name} class", lambda: abstract.is_active(row))
        self.add(f"{row.name} function", lambda: function(row.name))


def _called(function: Callable[..., Any], row: Any, arguments: Any, request: Any) -> Any:
    return function(request, *arguments) if row is None else function(row, request, *arguments)


def _people(groups: list[Group]) -> list[Any]:
    """Returns users of all kinds; None is a request without a user.

    Their primary keys are given, because they are among the results.
    """
    names = ("plain", "staff", "super", "member")
    users: list[Any] = [
        User.objects.create(pk=pk, username=name, last_name=name)
        for pk, name in enumerate(names, start=1)
    ]
    users[1].is_staff = users[2].is_superuser = True
    users[3].groups.add(groups[0])
    return [*users, AnonymousUser(), User(username="unsaved", is_staff=True), None]


def test_results_of_flags_are_written(settings: Any) -> None:
    written, drawn = Written(), random.Random(72)
    groups = [Group.objects.create(pk=pk, name=f"group {pk}") for pk in (1, 2, 3)]
    people = _people(groups)
    for number in range(ROWS):
        model = drawn.choice((OrgFlag, OrgFlag, EarlyFlag, PlainFlag))
        settings.WAFFLE_OVERRIDE = drawn.random() < 0.2
        settings.WAFFLE_FLAG_DEFAULT = drawn.random() < 0.5
        row: Any = model(name=f"{model.__name__}{number}", **columns(drawn))
        if drawn.random() < 0.9:
            row.save()
        if row.pk and model is not PlainFlag:
            model.objects.update(organization=drawn.choice(("", "plain")))
            row.users.set(drawn.sample(people[:4], drawn.randrange(3)))
            row.groups.set(drawn.sample(groups, drawn.randrange(2)))
        written.add_flag(model.get(row.name), people)
    Path("flags.json").write_text(json.dumps(written.results))


def test_results_of_switches_and_samples_are_written(settings: Any) -> None:
    written, drawn = Written(), random.Random(72)
    for number in range(ROWS):
        settings.WAFFLE_SWITCH_DEFAULT = settings.WAFFLE_SAMPLE_DEFAULT = number % 2 == 1
        switch = LoudSwitch(name=f"switch{number}", active=drawn.random() < 0.5)
        sample = LoudSample(name=f"sample{number}", percent=drawn.randrange(101))
        for row in (switch, sample) if number % 5 else ():
            row.save()
        switch, sample = LoudSwitch.get(switch.name), LoudSample.get(sample.name)
        written.add_other(switch, AbstractBaseSwitch, waffle.switch_is_active)
        written.add_other(sample, AbstractBaseSample, waffle.sample_is_active)
    Path("others.json").write_text(json.dumps(written.results))
