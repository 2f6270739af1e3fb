"""Registered admins are imported when an attribute or a URL of theirs is needed."""

import subprocess
import sys
from threading import Barrier, Thread
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin import AdminSite
from django.urls import include

from flagstaff.admin import register
from flagstaff.admin.segment import SegmentAdmin
from flagstaff.models import Segment

_PATH = "flagstaff.admin.segment.SegmentAdmin"
_LOADED = """
import sys, django
from django.conf import settings
settings.configure(
    SECRET_KEY="x",
    INSTALLED_APPS=["django.contrib.admin", "django.contrib.auth", "django.contrib.messages",
        "django.contrib.contenttypes", "flagstaff", "flagstaff.rollouts", "flagstaff.experiments"],
)
django.setup()
from django.contrib import admin
from django.urls import include, path, resolve
class urls:
    urlpatterns = [path("admin/", admin.site.urls), path("shop/", print)]
resolve("/shop/", urls)
rooms = ("flagstaff.admin.", "flagstaff.changes", "flagstaff.rollouts.admin.",
    "flagstaff.experiments.admin.", "flagstaff.stale", "statistics")
print(sorted(name for name in sys.modules if name.startswith(rooms)))
resolve("/admin/flagstaff/featureflag/", urls)
print("flagstaff.admin.flag.admin" in sys.modules)
"""


@pytest.fixture
def model_admin(monkeypatch: pytest.MonkeyPatch) -> Any:
    site = AdminSite()
    monkeypatch.setattr(admin, "site", site)
    register(Segment, _PATH)
    return site.get_model_admin(Segment)


def test_page_outside_the_admin_imports_no_module_of_the_admin() -> None:
    output = subprocess.run(
        [sys.executable, "-c", _LOADED], capture_output=True, text=True, check=True
    ).stdout

    assert output.splitlines() == ["[]", "True"]


def test_read_attribute_makes_it_the_registered_class(model_admin: Any) -> None:
    assert model_admin.opts is Segment._meta
    assert type(model_admin) is SegmentAdmin


def test_instance_check_sees_the_registered_class(model_admin: Any) -> None:
    assert isinstance(model_admin, SegmentAdmin)


def test_set_attribute_is_kept(model_admin: Any) -> None:
    model_admin.list_per_page = 7

    assert (model_admin.list_per_page, model_admin.model) == (7, Segment)


def test_urls_are_those_of_the_registered_class(model_admin: Any) -> None:
    patterns: Any = include(model_admin.urls)[0]

    assert type(model_admin) is not SegmentAdmin
    assert "flagstaff_segment_changelist" in [pattern.name for pattern in patterns]
    assert type(model_admin) is SegmentAdmin


def test_threads_that_load_at_the_same_time_see_all_attributes(model_admin: Any) -> None:
    start, models = Barrier(8), []

    def read() -> None:
        start.wait(10)
        models.append(model_admin.model)

    threads = [Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert models == [Segment] * 8
