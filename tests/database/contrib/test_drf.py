"""The permission `HasFlag` of Django REST framework."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.urls import path
from django.utils.functional import SimpleLazyObject
from rest_framework.authentication import BasicAuthentication, SessionAuthentication
from rest_framework.permissions import IsAdminUser, IsAuthenticated
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response
from rest_framework.schemas.generators import BaseSchemaGenerator
from rest_framework.test import APIClient, APIRequestFactory, force_authenticate
from rest_framework.views import APIView

from flagstaff import experiments
from flagstaff.contrib.drf import HasFlag
from flagstaff.experiments import get_variant
from flagstaff.models import FeatureFlag
from tests.support.views import request_of

pytestmark = pytest.mark.usefixtures("new_checkout")

DETAIL = (
    'The flag "new_checkout" is off for this user. To see why, run '
    '"manage.py flags explain new_checkout USER".'
)


class Orders(APIView):  # type: ignore[misc]
    authentication_classes = [BasicAuthentication, SessionAuthentication]
    renderer_classes = [JSONRenderer]
    permission_classes = [HasFlag("new_checkout")]

    def get(self, request: Any) -> Response:
        """List the orders."""
        self.check_object_permissions(request, object())
        return Response("orders")


urlpatterns = [path("orders/", Orders.as_view())]


def request_by(user: User | None) -> Any:
    """A request of a user whom the framework alone knows."""
    request = APIRequestFactory().get("/orders/")
    force_authenticate(request, user)
    return request


def response_of(user: User | None, *permissions: Any) -> tuple[int, Any]:
    """The status and the data, or the detail, of a view with these permissions."""
    response = Orders.as_view(permission_classes=permissions)(request_by(user)).render()
    data = response.data
    return response.status_code, str(data["detail"]) if isinstance(data, dict) else data


@pytest.mark.parametrize(
    ("status", "detail"),
    [(404, "Not found."), (403, "You do not have permission to perform this action.")],
)
def test_endpoint_is_open_to_user_with_flag_only(
    status: Any, detail: str, alice: User, bob: User, settings: Any
) -> None:
    flag = HasFlag("new_checkout", status=status)
    assert response_of(alice, flag) == (200, "orders")
    assert response_of(bob, flag) == (status, detail)
    assert response_of(None, flag)[0] == (404 if status == 404 else 401)
    settings.DEBUG = True
    assert response_of(bob, flag) == (status, DETAIL)


@pytest.mark.usefixtures("german")
def test_context_of_the_permission_is_read(bob: User) -> None:
    by_name = HasFlag("german", context=lambda request: {"country": request.user.username})
    assert response_of(bob, HasFlag("german", context={"country": "DE"}))[0] == 200
    assert response_of(bob, by_name)[0] == 404
    bob.username = "DE"
    bob.save()
    assert response_of(bob, by_name)[0] == 200


def test_user_of_session_or_of_force_authenticate_is_used(
    client: Any, settings: Any, alice: User, bob: User
) -> None:
    settings.ROOT_URLCONF = __name__
    client.force_login(alice)
    assert client.get("/orders/").status_code == 200
    client.force_login(bob)
    assert client.get("/orders/").status_code == 404
    api_client = APIClient()
    api_client.force_authenticate(alice)
    assert api_client.get("/orders/").status_code == 200


@pytest.mark.parametrize("status", [404, 403])
def test_permission_composes_with_others(status: Any, alice: User, bob: User) -> None:
    admin = User.objects.create(username="admin", is_staff=True)
    flag = HasFlag("new_checkout", status=status)
    assert response_of(None, IsAuthenticated, flag)[0] == 401
    assert response_of(bob, IsAuthenticated, flag)[0] == status
    assert response_of(alice, IsAuthenticated & flag)[0] == 200
    for either in (flag | IsAdminUser, IsAdminUser | flag):
        assert [response_of(user, either)[0] for user in [alice, admin, bob]] == [200, 200, 403]
    assert [response_of(user, ~flag)[0] for user in [alice, bob]] == [403, 200]


def test_user_is_not_read_if_result_does_not_depend_on_it(alice: User) -> None:
    FeatureFlag.objects.update(rollout_percent=100)
    request = request_of(SimpleLazyObject(lambda: pytest.fail("the user was read")))
    assert HasFlag("new_checkout")().has_permission(request, None) is True


def serve(view: Any, settings: Any) -> None:
    """Serves a view with the middleware."""
    settings.ROOT_URLCONF = type("urls", (), {"urlpatterns": [path("orders/", view.as_view())]})
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "flagstaff.middleware.FlagstaffMiddleware"]


def test_permission_uses_snapshot_of_request(settings: Any, client: Any, alice: User) -> None:
    class Closing(Orders):
        def initial(self, request: Any, *args: Any, **kwargs: Any) -> None:
            assert request.flags.value("gateway") is None
            FeatureFlag.objects.update(enabled=False)
            super().initial(request, *args, **kwargs)

    serve(Closing, settings)
    client.force_login(alice)
    assert client.get("/orders/").status_code == 200
    assert client.get("/orders/").status_code == 404


def test_variant_of_an_experiment_in_a_view(settings: Any, client: Any, alice: User) -> None:
    class Button(APIView):  # type: ignore[misc]
        def get(self, request: Any) -> Response:
            return Response([request.flags.variant("color"), get_variant("color", request.user)])

    experiments.create("color")
    experiments.start("color")
    serve(Button, settings)
    client.force_login(alice)
    first, second = client.get("/orders/").json()
    assert first == second == get_variant("color", alice.pk)


def test_schema_of_user_has_permitted_endpoints(alice: User, bob: User) -> None:
    of_alice, of_bob = (Orders().initialize_request(request_by(user)) for user in (alice, bob))
    for request, expected in ((None, ["/orders/"]), (of_alice, ["/orders/"]), (of_bob, [])):
        generator = BaseSchemaGenerator(patterns=urlpatterns)
        generator._initialise_endpoints()
        _paths, endpoints = generator._get_paths_and_endpoints(request)
        paths = [path for path, *rest in endpoints if generator.has_view_permissions(path, *rest)]
        assert paths == expected


def test_schema_generation_is_allowed_without_query(django_assert_num_queries: Any) -> None:
    class FakeView:
        swagger_fake_view = True

    with django_assert_num_queries(0):
        assert HasFlag("new_checkout")().has_permission(None, None) is True
        assert HasFlag("new_checkout")().has_permission(object(), FakeView()) is True


def test_invalid_argument_is_rejected() -> None:
    with pytest.raises(TypeError, match=r"^a flag's key must be a string, not 42$"):
        HasFlag(42)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^the status must be 404 or 403, not 401$"):
        HasFlag("new_checkout", status=401)  # type: ignore[arg-type]


def test_each_permission_has_its_own_flag(alice: User, bob: User) -> None:
    FeatureFlag.objects.create(key="other_api", enabled=True).allowed_users.add(bob)
    first, second = HasFlag("new_checkout"), HasFlag("other_api")
    assert [response_of(user, first)[0] for user in [alice, bob]] == [200, 404]
    assert [response_of(user, second)[0] for user in [alice, bob]] == [404, 200]
