"""A permission for Django REST framework: the endpoint is there for those who have a flag."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.urls import path
from django.utils.functional import SimpleLazyObject
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.permissions import IsAdminUser, IsAuthenticated
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response
from rest_framework.schemas.generators import BaseSchemaGenerator
from rest_framework.test import APIClient, APIRequestFactory
from rest_framework.views import APIView

from flagstaff.drf import HasFlag
from flagstaff.models import FeatureFlag

pytestmark = pytest.mark.django_db

TOLD = "the flag new_api is not on for this user"


class ByToken(BaseAuthentication):  # type: ignore[misc]
    """Users say their names, and no session knows of it."""

    def authenticate(self, request: Any) -> tuple[User, None] | None:
        name = request.headers.get("X-Name")
        return (User.objects.get(username=name), None) if name else None

    def authenticate_header(self, request: Any) -> str:
        return "Name"


class Orders(APIView):  # type: ignore[misc]
    authentication_classes = [ByToken, SessionAuthentication]
    renderer_classes = [JSONRenderer]
    permission_classes = [HasFlag("new_api")]

    def get(self, request: Any) -> Response:
        """List the orders."""
        self.check_object_permissions(request, object())
        return Response("orders")


def guarded(*permissions: Any) -> Any:
    return Orders.as_view(permission_classes=list(permissions))


urlpatterns = [path("orders/", Orders.as_view())]


@pytest.fixture
def alice() -> User:
    """A user who is on the allow-list."""
    alice = User.objects.create(username="alice")
    FeatureFlag.objects.create(key="new_api", enabled=True).allowed_users.add(alice)
    return alice


@pytest.fixture
def bob(alice: User) -> User:
    return User.objects.create(username="bob")


@pytest.fixture
def admin(alice: User) -> User:
    """Who does not have the flag either."""
    return User.objects.create(username="admin", is_staff=True)


def answer(view: Any, user: User | None) -> tuple[int, Any]:
    name = {"HTTP_X_NAME": user.username} if user else {}
    response = view(APIRequestFactory().get("/orders/", **name)).render()
    told = response.data
    return response.status_code, str(told["detail"]) if isinstance(told, dict) else told


@pytest.mark.parametrize("status", [404, 403])
def test_endpoint_is_there_for_who_has_the_flag(status: Any, alice: User) -> None:
    view = guarded(HasFlag("new_api", status=status))
    assert answer(view, alice) == (200, "orders")


def test_endpoint_is_not_found_by_anybody_else(bob: User) -> None:
    view = guarded(HasFlag("new_api"))
    assert answer(view, bob) == (404, TOLD)
    assert answer(view, None) == (404, TOLD)


def test_endpoint_is_forbidden_to_anybody_else_where_that_is_asked_for(bob: User) -> None:
    view = guarded(HasFlag("new_api", status=403))
    assert answer(view, bob) == (403, TOLD)
    status, _told = answer(view, None)
    assert status == 401


def test_user_of_a_session_is_asked_for(client: Any, settings: Any, alice: User, bob: User) -> None:
    settings.ROOT_URLCONF = __name__
    client.force_login(alice)
    assert client.get("/orders/").status_code == 200
    client.force_login(bob)
    assert client.get("/orders/").status_code == 404


def test_user_that_a_test_has_put_in_is_asked_for(settings: Any, alice: User) -> None:
    settings.ROOT_URLCONF = __name__
    client = APIClient()
    client.force_authenticate(alice)
    assert client.get("/orders/").status_code == 200


@pytest.mark.parametrize("status", [404, 403])
def test_permission_stands_beside_others(status: Any, alice: User, bob: User, admin: User) -> None:
    flag = HasFlag("new_api", status=status)
    assert answer(guarded(IsAuthenticated, flag), None)[0] == 401
    assert answer(guarded(IsAuthenticated, flag), bob)[0] == status
    assert answer(guarded(IsAuthenticated & flag), alice)[0] == 200
    for either in (flag | IsAdminUser, IsAdminUser | flag):
        statuses = [answer(guarded(either), user)[0] for user in (alice, admin, bob)]
        assert statuses == [200, 200, 403]
    assert [answer(guarded(~flag), user)[0] for user in (alice, bob)] == [403, 200]


def test_user_is_not_read_where_the_answer_does_not_depend_on_it(alice: User) -> None:
    FeatureFlag.objects.update(rollout_percent=100)
    request: Any = APIRequestFactory().get("/")
    request.user = SimpleLazyObject(lambda: pytest.fail("the user was read"))
    assert HasFlag("new_api")().has_permission(request, None) is True


def test_answer_is_that_of_the_requests_moment(settings: Any, client: Any, alice: User) -> None:
    class Closing(Orders):
        def initial(self, request: Any, *args: Any, **kwargs: Any) -> None:
            assert request.flags.value("gateway") is None
            FeatureFlag.objects.update(enabled=False)
            super().initial(request, *args, **kwargs)

    module = type("urls", (), {"urlpatterns": [path("orders/", Closing.as_view())]})
    settings.ROOT_URLCONF = module
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "flagstaff.middleware.FlagstaffMiddleware"]
    client.force_login(alice)
    assert client.get("/orders/").status_code == 200
    assert client.get("/orders/").status_code == 404


def endpoints_in_the_schema(request: Any) -> list[str]:
    """What a schema is made of, whichever format it has."""
    generator = BaseSchemaGenerator(patterns=urlpatterns)
    generator._initialise_endpoints()
    _paths, endpoints = generator._get_paths_and_endpoints(request)
    return [path for path, *rest in endpoints if generator.has_view_permissions(path, *rest)]


def test_schema_for_all_names_the_endpoint(alice: User) -> None:
    assert endpoints_in_the_schema(None) == ["/orders/"]


def test_schema_for_a_user_names_what_they_may_use(alice: User, bob: User) -> None:
    for user, paths in ((alice, ["/orders/"]), (bob, [])):
        request = APIRequestFactory().get("/", HTTP_X_NAME=user.username)
        assert endpoints_in_the_schema(Orders().initialize_request(request)) == paths


def test_view_that_only_a_schema_is_made_of_is_let_pass(django_assert_num_queries: Any) -> None:
    class Pretended:
        swagger_fake_view = True

    with django_assert_num_queries(0):
        assert HasFlag("new_api")().has_permission(None, None) is True
        assert HasFlag("new_api")().has_permission(object(), Pretended()) is True


@pytest.mark.parametrize(
    ("key", "status", "told"),
    [
        (42, 404, "the key of a flag is a text, not 42"),
        ("new_api", 401, "the status is 404 or 403, not 401"),
    ],
)
def test_wrong_argument_is_refused_at_once(key: Any, status: Any, told: str) -> None:
    with pytest.raises((TypeError, ValueError)) as error:
        HasFlag(key, status=status)
    assert str(error.value) == told


def test_each_permission_has_its_own_flag(alice: User, bob: User) -> None:
    FeatureFlag.objects.create(key="other_api", enabled=True).allowed_users.add(bob)
    first, second = HasFlag("new_api"), HasFlag("other_api")
    assert [answer(guarded(first), user)[0] for user in (alice, bob)] == [200, 404]
    assert [answer(guarded(second), user)[0] for user in (alice, bob)] == [404, 200]
