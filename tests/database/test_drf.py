"""The permission `HasFlag` of Django REST framework."""

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

from flagstaff import experiments
from flagstaff.drf import HasFlag
from flagstaff.experiments import get_variant
from flagstaff.models import FeatureFlag

pytestmark = pytest.mark.django_db

DETAIL = (
    'The flag "new_api" is off for this user. To see why, run '
    '"manage.py flags explain new_api USER".'
)


class HeaderAuthentication(BaseAuthentication):  # type: ignore[misc]
    """Authenticates by a header with the username, without a session."""

    def authenticate(self, request: Any) -> tuple[User, None] | None:
        name = request.headers.get("X-Name")
        return (User.objects.get(username=name), None) if name else None

    def authenticate_header(self, request: Any) -> str:
        return "Name"


class Orders(APIView):  # type: ignore[misc]
    authentication_classes = [HeaderAuthentication, SessionAuthentication]
    renderer_classes = [JSONRenderer]
    permission_classes = [HasFlag("new_api")]

    def get(self, request: Any) -> Response:
        """List the orders."""
        self.check_object_permissions(request, object())
        return Response("orders")


def view_with(*permissions: Any) -> Any:
    return Orders.as_view(permission_classes=list(permissions))


urlpatterns = [path("orders/", Orders.as_view())]


@pytest.fixture
def alice() -> User:
    """An allowed user of new_api."""
    alice = User.objects.create(username="alice")
    FeatureFlag.objects.create(key="new_api", enabled=True).allowed_users.add(alice)
    return alice


@pytest.fixture
def bob(alice: User) -> User:
    return User.objects.create(username="bob")


@pytest.fixture
def admin(alice: User) -> User:
    """A staff user without the flag."""
    return User.objects.create(username="admin", is_staff=True)


def response_of(view: Any, user: User | None) -> tuple[int, Any]:
    name = {"HTTP_X_NAME": user.username} if user else {}
    response = view(APIRequestFactory().get("/orders/", **name)).render()
    data = response.data
    return response.status_code, str(data["detail"]) if isinstance(data, dict) else data


@pytest.mark.parametrize("status", [404, 403])
def test_endpoint_is_open_to_user_with_flag(status: Any, alice: User) -> None:
    view = view_with(HasFlag("new_api", status=status))
    assert response_of(view, alice) == (200, "orders")


def test_endpoint_for_user_without_flag_is_not_found(bob: User) -> None:
    view = view_with(HasFlag("new_api"))
    assert response_of(view, bob) == (404, "Not found.")
    assert response_of(view, None) == (404, "Not found.")


def test_context_of_the_permission_is_read(bob: User) -> None:
    rules = [{"conditions": [{"attribute": "country", "operator": "in", "values": ["DE"]}]}]
    FeatureFlag.objects.create(key="german", enabled=True, rules=rules)
    by_name = HasFlag("german", context=lambda request: {"country": request.user.username})
    assert response_of(view_with(HasFlag("german", context={"country": "DE"})), bob)[0] == 200
    assert response_of(view_with(by_name), bob)[0] == 404
    bob.username = "DE"
    bob.save()
    assert response_of(view_with(by_name), bob)[0] == 200


def test_endpoint_with_status_403_is_forbidden_without_flag(bob: User) -> None:
    view = view_with(HasFlag("new_api", status=403))
    denied = "You do not have permission to perform this action."
    assert response_of(view, bob) == (403, denied)
    status, _detail = response_of(view, None)
    assert status == 401


@pytest.mark.parametrize("status", [404, 403])
def test_response_names_the_flag_with_debug(status: Any, bob: User, settings: Any) -> None:
    settings.DEBUG = True
    view = view_with(HasFlag("new_api", status=status))
    assert response_of(view, bob) == (status, DETAIL)


def test_user_of_session_is_used(client: Any, settings: Any, alice: User, bob: User) -> None:
    settings.ROOT_URLCONF = __name__
    client.force_login(alice)
    assert client.get("/orders/").status_code == 200
    client.force_login(bob)
    assert client.get("/orders/").status_code == 404


def test_user_of_force_authenticate_is_used(settings: Any, alice: User) -> None:
    settings.ROOT_URLCONF = __name__
    client = APIClient()
    client.force_authenticate(alice)
    assert client.get("/orders/").status_code == 200


@pytest.mark.parametrize("status", [404, 403])
def test_permission_composes_with_others(status: Any, alice: User, bob: User, admin: User) -> None:
    flag = HasFlag("new_api", status=status)
    assert response_of(view_with(IsAuthenticated, flag), None)[0] == 401
    assert response_of(view_with(IsAuthenticated, flag), bob)[0] == status
    assert response_of(view_with(IsAuthenticated & flag), alice)[0] == 200
    for either in (flag | IsAdminUser, IsAdminUser | flag):
        statuses = [response_of(view_with(either), user)[0] for user in (alice, admin, bob)]
        assert statuses == [200, 200, 403]
    assert [response_of(view_with(~flag), user)[0] for user in (alice, bob)] == [403, 200]


def test_user_is_not_read_if_result_does_not_depend_on_it(alice: User) -> None:
    FeatureFlag.objects.update(rollout_percent=100)
    request: Any = APIRequestFactory().get("/")
    request.user = SimpleLazyObject(lambda: pytest.fail("the user was read"))
    assert HasFlag("new_api")().has_permission(request, None) is True


def test_permission_uses_snapshot_of_request(settings: Any, client: Any, alice: User) -> None:
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


def test_variant_of_an_experiment_in_a_view(settings: Any, client: Any, alice: User) -> None:
    class Button(APIView):  # type: ignore[misc]
        def get(self, request: Any) -> Response:
            return Response([request.flags.variant("color"), get_variant("color", request.user)])

    experiments.create("color")
    experiments.start("color")
    settings.ROOT_URLCONF = type("urls", (), {"urlpatterns": [path("button/", Button.as_view())]})
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "flagstaff.middleware.FlagstaffMiddleware"]
    client.force_login(alice)
    first, second = client.get("/button/").json()
    assert first == second == get_variant("color", alice.pk)


def schema_paths(request: Any) -> list[str]:
    """Returns the paths that a schema for this request contains."""
    generator = BaseSchemaGenerator(patterns=urlpatterns)
    generator._initialise_endpoints()
    _paths, endpoints = generator._get_paths_and_endpoints(request)
    return [path for path, *rest in endpoints if generator.has_view_permissions(path, *rest)]


def test_schema_without_request_has_endpoint(alice: User) -> None:
    assert schema_paths(None) == ["/orders/"]


def test_schema_of_user_has_permitted_endpoints(alice: User, bob: User) -> None:
    for user, paths in ((alice, ["/orders/"]), (bob, [])):
        request = APIRequestFactory().get("/", HTTP_X_NAME=user.username)
        assert schema_paths(Orders().initialize_request(request)) == paths


def test_schema_generation_is_allowed_without_query(django_assert_num_queries: Any) -> None:
    class FakeView:
        swagger_fake_view = True

    with django_assert_num_queries(0):
        assert HasFlag("new_api")().has_permission(None, None) is True
        assert HasFlag("new_api")().has_permission(object(), FakeView()) is True


@pytest.mark.parametrize(
    ("key", "status", "message"),
    [
        (42, 404, "a flag's key must be a string, not 42"),
        ("new_api", 401, "the status must be 404 or 403, not 401"),
    ],
)
def test_invalid_argument_is_rejected(key: Any, status: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError)) as error:
        HasFlag(key, status=status)
    assert str(error.value) == message


def test_each_permission_has_its_own_flag(alice: User, bob: User) -> None:
    FeatureFlag.objects.create(key="other_api", enabled=True).allowed_users.add(bob)
    first, second = HasFlag("new_api"), HasFlag("other_api")
    assert [response_of(view_with(first), user)[0] for user in (alice, bob)] == [200, 404]
    assert [response_of(view_with(second), user)[0] for user in (alice, bob)] == [404, 200]
