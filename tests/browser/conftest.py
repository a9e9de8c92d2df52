"""Debian's Chromium on a portal of its own; it talks to nobody else."""

from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from tests.integration.portal.site import Site

CHROMIUM = "/usr/bin/chromium"
QUIET = (
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-sync",
    "--no-first-run",
    "--no-pings",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    running = Site(tmp_path_factory.mktemp("portal"), sms_command=("/bin/true",))
    running.start()
    yield running
    assert running.stop() == 0, running.log
    assert "Traceback" not in running.log, running.log


@pytest.fixture(scope="session")
def chromium():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield browser
        browser.close()


@pytest.fixture
def browse(chromium, site):
    """Makes pages, each of a browser of its own; closes them."""
    contexts = []

    def make(width=1000, *, scheme="light", language="nl-NL", script=False):
        context = chromium.new_context(
            viewport={"width": width, "height": 760},
            color_scheme=scheme,
            locale=language,
            java_script_enabled=script,
            base_url=f"http://127.0.0.1:{site.port}",
        )
        contexts.append(context)
        return context.new_page()

    yield make
    for context in contexts:
        context.close()
