"""A session cookie of its own for the admin: you can be alice in the shop and admin there."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse

ADMIN_COOKIE = "admin_session"


def separate_admin_session(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Renames the session cookie for the admin. Put it before SessionMiddleware."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        admin_path = reverse("admin:index")
        if not request.path.startswith(admin_path):
            return get_response(request)
        shop_cookie = settings.SESSION_COOKIE_NAME
        request.COOKIES.pop(shop_cookie, None)
        if ADMIN_COOKIE in request.COOKIES:
            request.COOKIES[shop_cookie] = request.COOKIES[ADMIN_COOKIE]
        response = get_response(request)
        morsel = response.cookies.pop(shop_cookie, None)
        if morsel is not None:
            morsel.set(ADMIN_COOKIE, morsel.value, morsel.coded_value)
            morsel["path"] = admin_path
            response.cookies[ADMIN_COOKIE] = morsel
        return response

    return middleware
