"""Declared keys in templates: their results are those of the user of the request."""

from django.contrib.auth.models import User
from django.template import Context, Template

from flagstaff import Flag, Value, changes
from tests.support.shop import STAFF
from tests.support.views import in_request, request_of


def page_of(user: User, text: str, **names: object) -> object:
    """The page that a view renders for a user, without the request in the template."""
    return in_request(request_of(user), lambda _: Template(text).render(Context(names)))


def test_enabled_in_a_template_is_that_of_the_user_of_the_request(alice: User, bob: User) -> None:
    flag = Flag("new_checkout")
    changes.flags.enable(flag)
    changes.flags.allow(flag, alice)
    text = "{% if NEW_CHECKOUT.enabled %}new{% else %}old{% endif %}"
    assert [page_of(user, text, NEW_CHECKOUT=flag) for user in (alice, bob)] == ["new", "old"]


def test_get_in_a_template_is_that_of_the_user_of_the_request(alice: User, bob: User) -> None:
    size = Value("page_size", 20)
    alice.is_staff = True
    changes.values.update(size, rules=[{"conditions": [STAFF], "value": 50}])
    pages = [page_of(user, "{{ PAGE_SIZE.get }}", PAGE_SIZE=size) for user in (alice, bob)]
    assert pages == ["50", "20"]


def test_template_without_a_request_is_for_nobody() -> None:
    text = Template("{{ NEW_CHECKOUT.enabled }} {{ NEW_CHECKOUT.description }}")
    flag = Flag("new_checkout", "Checkout")
    assert text.render(Context({"NEW_CHECKOUT": flag})) == "False Checkout"
