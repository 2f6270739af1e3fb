"""What only the stand-in does: a row shows our flag, and a save writes what it changes."""

from __future__ import annotations

import ast
import pickle
from collections.abc import Callable, Iterator
from decimal import Decimal
from importlib import import_module
from importlib.metadata import distribution
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import waffle
from django.contrib import admin
from django.contrib.auth.models import AnonymousUser, Group, User
from django.core.cache import cache
from django.core.management import call_command
from django.core.serializers import deserialize, serialize
from django.db import transaction
from django.http import HttpResponse
from django.template import engines
from django.test import RequestFactory
from waffle.admin import FlagAdmin, SampleAdmin, SwitchAdmin
from waffle.models import Flag, Sample, Switch
from waffle.signals import flag_membership_changed
from waffle.testutils import override_flag, override_sample, override_switch

from flagstaff import changes, flag_enabled, refresh
from flagstaff.contrib.waffle.instances import after_migration, before_migration
from flagstaff.contrib.waffle.rows import guard, overridden_methods
from flagstaff.exceptions import FlagstaffError
from flagstaff.middleware import FlagstaffMiddleware
from flagstaff.models import FeatureFlag, WaitingAction
from flagstaff.testing import live_engine

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _empty_cache() -> None:
    """Waffle's rows outlive the transaction of a test."""
    cache.clear()


def request_of(user: Any = None, **cookies: str) -> Any:
    request = RequestFactory().get("/")
    request.COOKIES.update(cookies)
    request.user = AnonymousUser() if user is None else user
    return request


def is_on(name: str, user: Any = None) -> bool:
    """Evaluates as projects do that have no request: by the columns of the row, then the user."""
    flag = waffle.get_waffle_flag_model().get(name)
    if flag.everyone is not None:
        return bool(flag.everyone)
    return bool(flag.is_active_for_user(user or AnonymousUser()))


@pytest.fixture
def user() -> User:
    return User.objects.create(username="ada", is_staff=True)


@pytest.mark.parametrize(
    ("backend", "text"),
    [
        ("django", '{% load waffle_tags %}{% flag "phones" %}True{% endflag %}'),
        ("jinja2", '{{ waffle.flag("phones") }}'),
    ],
)
def test_tag_in_a_template_without_request_evaluates_for_the_request_that_is_handled(
    backend: str, text: str, user: User
) -> None:
    Flag.objects.create(name="phones", staff=True)
    template = engines[backend].from_string(text)
    view = FlagstaffMiddleware(lambda _request: HttpResponse(template.render({})))
    assert view(request_of(user)).content == b"True"  # type: ignore[union-attr]


def change(row: Any, **columns: Any) -> None:
    """Saves these columns of a row."""
    for name, value in columns.items():
        setattr(row, name, value)
    row.save()


def override(_row: Flag) -> None:
    with override_flag("phones", active=True):
        assert is_on("phones")


def save_and_roll_back(row: Flag) -> None:
    with transaction.atomic():
        change(row, everyone=True)
        transaction.set_rollback(True)


@pytest.mark.parametrize(
    "act",
    [
        override,
        save_and_roll_back,
        lambda row: change(row, note="asked for by support"),
        lambda row: change(row, everyone=None, percent=50),
        lambda row: row.groups.add(Group.objects.create(name="beta")),
        lambda _row: call_command("migrate", verbosity=0),
        Flag.save,
        Flag.refresh_from_db,
        lambda _row: Flag.objects.get_or_create(name="phones", defaults={"everyone": True}),
        lambda _row: Flag.objects.update_or_create(name="phones", defaults={"percent": 50}),
    ],
)
def test_killed_flag_stays_off(act: Callable[[Flag], object], user: User) -> None:
    Flag.objects.create(name="phones", everyone=True, staff=True)
    stale = Flag.objects.get(name="phones")
    assert stale.everyone
    assert is_on("phones", user)
    changes.flags.disable("phones")
    act(stale)
    assert not waffle.flag_is_active(request_of(user), "phones")
    assert not is_on("phones", user)
    assert not flag_enabled("phones", user)


@pytest.mark.parametrize("everyone", [None, True, False])
@pytest.mark.parametrize(
    "act",
    [
        lambda row: change(row, everyone=None),
        lambda row: change(pickle.loads(pickle.dumps(row)), everyone=None),
        lambda _row: change(Flag.objects.get(name="phones"), everyone=None),
        lambda _row: change(Flag.get("phones"), everyone=None),
        lambda row: Flag(pk=row.pk, name="phones", staff=True).save(),
        lambda _row: Flag.objects.update_or_create(
            name="phones", defaults={"everyone": None, "percent": 50}
        ),
    ],
)
def test_unknown_leaves_killed_flag_off(
    act: Callable[[Flag], object], everyone: bool | None, user: User
) -> None:
    Flag.objects.create(name="phones", everyone=everyone, staff=True)
    row = Flag.objects.get(name="phones")
    assert row.everyone is everyone
    changes.flags.enable("phones")
    changes.flags.disable("phones")
    act(row)
    assert not is_on("phones", user)


def test_fixture_of_unknown_leaves_killed_flag_off(user: User) -> None:
    row = Flag.objects.create(name="phones", staff=True)
    changes.flags.disable("phones")
    for loaded in deserialize("json", serialize("json", [row])):
        loaded.save()
    assert not is_on("phones", user)


@pytest.mark.parametrize(
    "options",
    [["--percent", "99"], ["--staff", "--testing"], ["--group", "beta"], ["--user", "ada"], []],
)
@pytest.mark.parametrize("everyone", [True, None])
def test_command_for_other_columns_leaves_killed_flag_off(
    options: list[str], everyone: bool | None, user: User
) -> None:
    Group.objects.create(name="beta")
    Flag.objects.create(name="phones", everyone=everyone)
    changes.flags.disable("phones")
    call_command("waffle_flag", "phones", *options, "--create", stdout=StringIO())
    assert not is_on("phones", user)


def test_command_changes_only_the_columns_that_it_names(user: User) -> None:
    row = Flag.objects.create(name="phones", percent=5, authenticated=True, superusers=False)
    changes.flags.set_rollout("phones", 40)
    call_command("waffle_flag", "phones", "--staff", stdout=StringIO())
    flag = FeatureFlag.objects.get(key="phones")
    assert (flag.rollout_percent, len(flag.rules)) == (40, 2)
    row.refresh_from_db()
    assert (row.authenticated, row.staff) == (True, True)


@pytest.mark.parametrize(
    "act",
    [
        lambda: call_command("waffle_flag", "phones", "--everyone", stdout=StringIO()),
        lambda: Flag.objects.update_or_create(name="phones", defaults={"everyone": True}),
    ],
)
def test_order_for_everyone_turns_killed_flag_on(act: Callable[[], object]) -> None:
    Flag.objects.create(name="phones", everyone=True)
    changes.flags.disable("phones")
    act()
    assert is_on("phones")


def test_command_and_save_turn_killed_switch_and_sample_on() -> None:
    Switch.objects.create(name="shop", active=True)
    Sample.objects.create(name="audit", percent=100)
    for key in ("shop", "audit"):
        changes.flags.disable(key)
    call_command("waffle_switch", "shop", "on", stdout=StringIO())
    change(Sample.objects.get(name="audit"), percent=100)
    assert (waffle.switch_is_active("shop"), waffle.sample_is_active("audit")) == (True, True)


def test_migration_does_not_create_deleted_flag_again(user: User) -> None:
    Flag.objects.create(name="phones", everyone=True)
    changes.flags.delete("phones")
    call_command("migrate", verbosity=0)
    assert not is_on("phones", user)
    assert not FeatureFlag.objects.filter(key="phones").exists()


def test_save_writes_only_changed_columns() -> None:
    Flag.objects.create(name="sale", percent="10")
    row = Flag.objects.get(name="sale")
    changes.flags.set_rollout("sale", 40)
    change(row, note="soon")
    flag = FeatureFlag.objects.get(key="sale")
    assert (flag.rollout_percent, flag.description) == (40, "soon")
    assert Flag.objects.get(name="sale").percent == 40


def test_cached_rows_show_flags() -> None:
    Flag.objects.create(name="sale", everyone=True)
    for is_on_now in (True, False):
        assert Flag.get("sale").everyone is is_on_now
        assert {row.name: row.everyone for row in Flag.get_all()}["sale"] is is_on_now
        changes.flags.disable("sale")


def test_save_that_failed_is_written_by_the_next_save() -> None:
    row = Flag.objects.create(name="sale", everyone=True)
    row.everyone, row.languages = False, ",".join(f"l{number}" for number in range(5_000))
    with pytest.raises(FlagstaffError), transaction.atomic():
        row.save()
    row.languages = ""
    row.save()
    assert not flag_enabled("sale")


def test_switch_and_sample_show_flags() -> None:
    Switch.objects.create(name="shop", active=True)
    Sample.objects.create(name="audit", percent="100")
    changes.flags.disable("shop")
    changes.flags.disable("audit")
    assert not Switch.objects.get(name="shop").active
    assert Sample.objects.get(name="audit").percent == 0
    with override_switch("shop", active=True), override_sample("audit", active=True):
        assert waffle.switch_is_active("shop")
        assert waffle.sample_is_active("audit")
    assert not waffle.switch_is_active("shop")
    assert not waffle.sample_is_active("audit")


def test_users_and_groups_are_written(user: User) -> None:
    flag = Flag.objects.create(name="sale", superusers=False)
    other = User.objects.create(username="eve")
    user.flag_set.add(flag)
    flag.groups.add(Group.objects.create(name="beta"))
    other.groups.add(Group.objects.get(name="beta"))
    assert [is_on("sale", person) for person in (user, other, None)] == [True, True, False]
    flag.users.clear()
    flag.groups.clear()
    assert [is_on("sale", person) for person in (user, other)] == [False, False]


def test_renamed_row_takes_its_flag_along() -> None:
    row = Flag.objects.create(name="old", everyone=True)
    changes.flags.disable("old")
    change(row, name="new")
    assert not waffle.flag_is_active(request_of(), "new")
    assert [*FeatureFlag.objects.filter(key__in=["old", "new"]).values_list("key")] == [("new",)]


def test_failed_write_rolls_row_back() -> None:
    Flag.objects.create(name="sale")
    row = Flag.objects.get(name="sale")
    row.languages = ",".join(f"l{number}" for number in range(5_000))
    with pytest.raises(FlagstaffError), transaction.atomic():
        row.save()
    assert Flag.objects.get(name="sale").languages == ""


def test_row_that_would_share_a_flag_is_refused() -> None:
    Flag.objects.create(name="sale")
    with pytest.raises(FlagstaffError, match="KEYS"), transaction.atomic():
        Switch.objects.create(name="sale")


@pytest.mark.parametrize("active", [True, False, None])
def test_override_restores_what_was_changed_here(active: bool | None) -> None:
    Flag.objects.create(name="sale", percent="10")
    changes.flags.set_rollout("sale", 40)
    with override_flag("sale", active=active):
        changes.flags.disable("sale")
    flag = FeatureFlag.objects.get(key="sale")
    assert (flag.enabled, flag.rollout_percent) == (True, 40)


def test_override_leaves_flag_that_was_created_here() -> None:
    changes.flags.create("here", enabled=True, rollout_percent=100)
    with override_flag("here", active=False):
        assert not waffle.flag_is_active(request_of(), "here")
    assert waffle.flag_is_active(request_of(), "here")
    assert not Flag.objects.filter(name="here").exists()
    assert Flag.get("here").everyone is True


def test_evaluation_queries_no_row(django_assert_num_queries: Any) -> None:
    Switch.objects.create(name="shop", active=True)
    with django_assert_num_queries(0):
        assert waffle.switch_is_active("shop")


def test_request_without_user_and_none_evaluate() -> None:
    Flag.objects.create(name="sale", percent="99.9")
    Flag.objects.create(name="all", everyone=True)
    for request in (None, object(), RequestFactory().get("/")):
        assert not waffle.flag_is_active(request, "sale")  # type: ignore[arg-type]
        assert waffle.flag_is_active(request, "all")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("until", "fields", "expected"),
    [
        ("2999-12-31", {"rollout_percent": 1}, True),
        ("2020-01-01", {"rollout_percent": 1}, False),
        ("2999-12-31", {"rollout_percent": 0}, False),
        ("2999-12-31", {"rollout_percent": 50, "enabled": False}, False),
    ],
    ids=["kept", "after the day", "at 0 percent", "killed"],
)
def test_kept_cookie_decides_a_percentage_until_the_day(
    until: str, fields: dict[str, Any], expected: bool, settings: Any
) -> None:
    settings.FLAGSTAFF = {"WAFFLE": {"COOKIES_UNTIL": until}}
    Flag.objects.create(name="sale", percent="1")
    changes.flags.update("sale", fields)
    assert waffle.flag_is_active(request_of(dwf_sale="True"), "sale") is expected


def test_test_cookie_decides_only_with_testing() -> None:
    Flag.objects.create(name="tested", testing=True)
    Flag.objects.create(name="other")
    request = request_of(dwft_tested="True", dwft_other="True")
    assert waffle.flag_is_active(request, "tested")
    assert not waffle.flag_is_active(request, "other")


def test_rows_of_a_migration_are_imported_once() -> None:
    before_migration("default")
    rows = Flag.objects.all()
    rows._insert(  # type: ignore[attr-defined]
        [Flag(name="by_sql", everyone=True)],
        [field for field in Flag._meta.concrete_fields if not field.primary_key],
        using="default",
    )
    after_migration("default")
    assert waffle.flag_is_active(request_of(), "by_sql")


class ShopFlagAdmin(FlagAdmin):
    """An admin class as projects have it."""


@pytest.mark.parametrize(
    ("admin_class", "has_pages"),
    [(FlagAdmin, False), (ShopFlagAdmin, False), (admin.ModelAdmin, True)],
)
def test_permissions_of_waffle_give_pages_only_by_a_class_of_the_project(
    admin_class: type[admin.ModelAdmin[Flag]], has_pages: bool
) -> None:
    request = request_of(User.objects.create(username="root", is_superuser=True, is_staff=True))
    permissions = admin_class(Flag, admin.site).get_model_perms(request)
    assert {*permissions.values()} == {has_pages}


def test_project_registers_its_admin_class_in_place_of_waffles() -> None:
    admin.site.unregister([Flag, Switch, Sample])
    admin.site.register(Flag, ShopFlagAdmin)
    admin.site.unregister(Flag)
    for model, of_model in [(Flag, FlagAdmin), (Switch, SwitchAdmin), (Sample, SampleAdmin)]:
        admin.site.register(model, of_model)


@pytest.mark.parametrize(
    ("action", "row", "expected"),
    [
        (waffle.admin.enable_for_all, Flag(name="shop", everyone=False), True),
        (waffle.admin.disable_for_all, Flag(name="shop", everyone=True), False),
        (waffle.admin.enable_switches, Switch(name="shop", active=False), True),
        (waffle.admin.disable_switches, Switch(name="shop", active=True), False),
        (waffle.admin.delete_individually, Flag(name="shop", everyone=True), None),
    ],
)
def test_admin_action_of_waffle_changes_flag(
    action: Callable[..., None], row: Any, expected: bool | None
) -> None:
    model = type(row)
    model.objects.bulk_create([row])
    action(admin.ModelAdmin(model, admin.site), request_of(), model.objects.all())
    enabled = FeatureFlag.objects.filter(key="shop").values_list("enabled", flat=True).first()
    assert enabled is expected


def test_row_that_is_off_and_is_set_to_off_again_cancels_what_waits() -> None:
    flag = Flag.objects.create(name="shop", everyone=False)
    waiting = WaitingAction.objects.create(
        kind="flag",
        action="on",
        row_kind="flag",
        keys=["shop"],
        arguments={},
        expected={},
        consequence=0,
        needs_approval=False,
        state="waiting",
    )
    Flag.objects.get(pk=flag.pk).save(update_fields=["note"])
    waiting.refresh_from_db()
    assert waiting.state == "waiting"
    flag.save()
    waiting.refresh_from_db()
    assert waiting.state == "cancelled"


def test_modules_have_the_public_names_of_waffle() -> None:
    for path in Path(str(distribution("django-waffle").locate_file("waffle"))).glob("*.py"):
        module = import_module(f"waffle.{path.stem}".removesuffix(".__init__"))
        defined = (ast.FunctionDef, ast.ClassDef)
        body = ast.parse(path.read_text()).body
        names = {
            statement.name
            for statement in body
            if isinstance(statement, defined) and statement.name[0] != "_"
        }
        assert names - {*dir(module)} == set(), path.name


def test_migrations_are_clean() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


def test_setting_is_read_by_the_function_of_the_package() -> None:
    assert waffle.get_setting("FLAG_MODEL", "waffle.Flag") == "waffle.Flag"


@pytest.mark.parametrize("action", ["post_add", "post_remove", "post_clear"])
def test_cache_is_cleared_by_a_project_that_calls_the_handler_of_waffle(
    action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    flag = Flag.objects.create(name="beta")
    cleared: list[str] = []
    monkeypatch.setattr(Flag, "flush", lambda row: cleared.append(row.name))
    flag_membership_changed(Flag, flag, action, pk_set={1})
    assert cleared == ["beta"]


def test_second_name_of_stand_in_is_refused() -> None:
    with pytest.raises(ImportError, match='as "waffle"'):
        __import__("flagstaff.contrib.waffle.stand_in.waffle")


@pytest.fixture
def _own_code(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Lets the model of flags have a method of the project, which is true for staff."""
    monkeypatch.setattr(Flag, "is_active_for_user", lambda _flag, user: user.is_staff or None)
    guard(Flag)
    overridden_methods.cache_clear()
    yield
    monkeypatch.undo()
    overridden_methods.cache_clear()


@pytest.mark.usefixtures("_own_code")
def test_model_that_overrides_a_method_decides_unless_its_flag_is_off(user: User) -> None:
    Flag.objects.create(name="own")
    assert waffle.flag_is_active(request_of(user), "own")
    assert not waffle.flag_is_active(request_of(), "own")
    row = Flag.objects.create(name="off", everyone=False)
    assert not waffle.flag_is_active(request_of(user), "off")
    assert not row.is_active(request_of(user))
    changes.flags.disable("own")
    assert not waffle.flag_is_active(request_of(user), "own")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_new", [True, False])
def test_deserialized_row_is_saved_outside_of_a_transaction(is_new: bool) -> None:
    row = Flag.objects.create(name="loaded", percent="10")
    row.percent = Decimal(20)
    text = serialize("json", [row])
    if is_new:
        row.delete()
    for loaded in deserialize("json", text):
        loaded.save()
    assert FeatureFlag.objects.get(key="loaded").rollout_percent == 20


@pytest.mark.django_db(transaction=True)
def test_row_shows_what_a_worker_has_in_memory(django_assert_num_queries: Any) -> None:
    Flag.objects.create(name="phones", everyone=True)
    with live_engine():
        assert is_on("phones")
        changes.flags.disable("phones")
        refresh()
        with django_assert_num_queries(0):
            row = Flag.get("phones")
            assert (row.everyone, row.is_active(request_of())) == (False, False)
        change(row, note="loaded late")
        assert Flag.objects.get(name="phones").note == "loaded late"
        refresh()
        assert not is_on("phones")


def test_row_without_a_flag_and_without_a_row_is_new() -> None:
    row = Flag.get("missing")
    assert (row.pk, row.everyone, row.superusers) == (None, None, True)
    change(row, everyone=True)
    assert waffle.flag_is_active(request_of(), "missing")
