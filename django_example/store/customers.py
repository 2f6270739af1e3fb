"""The sample customers that people can log in as in the demo, without a password."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib.auth import get_user_model, login, logout
from django.http import HttpRequest

from flagstaff import flag_enabled
from store.cart import SESSION_KEY
from store.keys import NEW_CHECKOUT

USERNAMES = ("alice", "bob", "carol")
BACKEND = "django.contrib.auth.backends.ModelBackend"


@dataclass(frozen=True)
class Customer:
    username: str
    name: str
    new_checkout: bool
    current: bool


def customers_for(request: HttpRequest) -> list[Customer]:
    """Returns the customers of the account menu. Evaluates the flag by primary key."""
    users = get_user_model().objects.filter(username__in=USERNAMES).order_by("pk")
    rows = users.values_list("pk", "username", "first_name")
    return [
        Customer(username, name, flag_enabled(NEW_CHECKOUT, pk), pk == request.user.pk)
        for pk, username, name in rows
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
