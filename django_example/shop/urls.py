from __future__ import annotations

from django.contrib import admin
from django.templatetags.static import static
from django.urls import include, path
from django.views.generic import RedirectView

urlpatterns = [
    path("admin/", admin.site.urls),
    # Browsers request this for the admin, whose pages have no icon.
    path("favicon.ico", RedirectView.as_view(url=static("store/icon.svg"))),
    path("crowd/", include("crowd.urls")),
    path("", include("flagstaff.contrib.ofrep.urls")),
    path("", include("store.urls")),
]
