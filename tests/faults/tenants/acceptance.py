"""A test of the project itself, in the style of django-tenants."""

from django_tenants.test.cases import TenantTestCase

from flagstaff import explain, flag_enabled
from flagstaff.models import FeatureFlag


class FlagOfTheTenantTest(TenantTestCase):
    def test_result_is_that_of_a_worker(self) -> None:
        FeatureFlag.objects.create(key="beta", enabled=True, rollout_percent=100)
        print("RESULT", flag_enabled("beta", 7), explain("beta", 7).error_code)
