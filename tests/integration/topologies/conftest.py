"""A laboratory for each topology, built when its first test asks for it and gone after its last."""

from __future__ import annotations

import pytest

from tests.laboratory.topology import Topology


@pytest.fixture(scope="module")
def _site(request, tmp_path_factory):
    with Topology(tmp_path_factory.mktemp("site"), **request.module.TOPOLOGY) as site:
        yield site


@pytest.fixture
def site(_site):
    """The laboratory that the module's TOPOLOGY describes, as freshly built."""
    _site.reset()
    return _site
