"""The objects of every overlay, built once for all tests that look into them."""

import shutil

import pytest

from deploy import check


@pytest.fixture(scope="session", params=[path.name for path in check.overlays()])
def manifests(request: pytest.FixtureRequest) -> list[check.Manifest]:
    """All objects of one overlay; the tests that use it are marked as needing kubectl."""
    assert shutil.which("kubectl"), "mark the test with needs_program('kubectl')"
    return check.build(check.DEPLOY / "overlays" / request.param)
