from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("crowd/", include("crowd.urls")),
    path("", include("flagstaff.contrib.ofrep.urls")),
    path("", include("store.urls")),
]
