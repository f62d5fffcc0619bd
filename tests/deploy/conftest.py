"""The objects of every overlay, alone and with each component, built once for all tests of them."""

import shutil
from pathlib import Path

import pytest

from deploy import check

BUILDS = {
    **{overlay.name: (overlay, None) for overlay in check.overlays()},
    **{
        f"{overlay.name}+{component.name}": (overlay, component)
        for overlay in check.overlays()
        for component in check.components()
    },
}


@pytest.fixture(scope="session", params=BUILDS)
def manifests(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> list[check.Manifest]:
    """All objects of one build; the tests that use it are marked as needing kubectl."""
    assert shutil.which("kubectl"), "mark the test with needs_program('kubectl')"
    folder, component = BUILDS[request.param]
    if component:
        overlay, folder = folder, Path(tmp_path_factory.mktemp("overlay"))
        check.write_overlay(folder, overlay, component)
    return check.build(folder)
