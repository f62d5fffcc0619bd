"""The marker `needs_program`: a test says which program it needs, and how one gets it.

Where the program is missing the test is skipped with that text; with ``REQUIRE_ALL=1``, as continuous
integration runs it, the same test fails, so that nothing goes unproven unnoticed.
"""

import os

import pytest
from hypothesis import settings

from tests.programs import find_program

# A busy machine makes single examples slow; pytest's own timeout holds what must be held.
settings.register_profile("attnserve", deadline=None)
settings.load_profile("attnserve")

# For numpy, which is imported after this: the tests' matrices are so small that to share a product among
# threads costs several times what it saves, the more the busier the machine is.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips, or fails with ``REQUIRE_ALL=1``, a test whose program is not on PATH."""
    for mark in item.iter_markers("needs_program"):
        _need(*mark.args, **mark.kwargs)


def _need(name: str, *, how: str) -> None:
    if find_program(name) is not None:
        return
    message = f"needs {name}, which is not on PATH; to install it: {how}"
    if os.environ.get("REQUIRE_ALL") == "1":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)
