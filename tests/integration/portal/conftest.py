import pytest

from tests.integration.portal.site import Site


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """One running portal for all tests; each test stores messages of its own."""
    running = Site(tmp_path_factory.mktemp("portal"))
    running.start()
    yield running
    assert running.stop() == 0, running.log
    assert "Traceback" not in running.log, running.log
