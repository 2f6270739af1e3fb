"""The sample customers that people can log in as in the demo, without a password."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model, login, logout
from django.http import HttpRequest

from store.cart import SESSION_KEY
from store.flags import NEW_CHECKOUT

USERNAMES = ("alice", "bob", "carol")
BACKEND = "django.contrib.auth.backends.ModelBackend"


def customers_for(request: HttpRequest) -> list[dict[str, Any]]:
    """Returns the customers of the account menu. Evaluates the flag by primary key."""
    users = get_user_model().objects.filter(username__in=USERNAMES).order_by("pk")
    return [
        {**row, "new_checkout": NEW_CHECKOUT.enabled(row["pk"])}
        for row in users.values("pk", "username", "first_name")
    ]


def log_in_as(request: HttpRequest, username: str) -> None:
    """Logs in a sample customer, or logs out for any other name. Keeps the cart."""
    cart = request.session.get(SESSION_KEY)
    logout(request)
    customer = get_user_model().objects.filter(username=username).first()
    if customer is not None and username in USERNAMES:
        login(request, customer, backend=BACKEND)
    if cart:
        request.session[SESSION_KEY] = cart
