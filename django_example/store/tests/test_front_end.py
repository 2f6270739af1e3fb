from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from django.test import TestCase, override_settings

from store.views import SCRIPT

FINDER = "django.contrib.staticfiles.finders.FileSystemFinder"


class FrontEndTests(TestCase):
    @override_settings(STATICFILES_FINDERS=[FINDER], STATICFILES_DIRS=[])
    def test_page_without_its_script_says_what_is_missing(self) -> None:
        response = self.client.get("/front-end/")
        self.assertContains(response, "Install Node.js")
        self.assertNotContains(response, SCRIPT)

    def test_page_with_its_script_loads_it(self) -> None:
        with TemporaryDirectory() as directory:
            script = Path(directory, SCRIPT)
            script.parent.mkdir()
            script.touch()
            with self.settings(STATICFILES_FINDERS=[FINDER], STATICFILES_DIRS=[directory]):
                response = self.client.get("/front-end/")
        self.assertContains(response, f'<script type="module" src="/static/{SCRIPT}">')
        self.assertNotContains(response, "Install Node.js")

    def test_browser_gets_only_flags_for_browsers(self) -> None:
        body: dict[str, object] = {"context": {}}
        response = self.client.post("/ofrep/v1/evaluate/flags", body, "application/json")
        keys = [flag["key"] for flag in response.json()["flags"]]
        self.assertEqual(keys, ["new_checkout", "summer_banner"])
