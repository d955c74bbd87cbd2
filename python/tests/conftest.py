# SPDX-License-Identifier: MIT
import contextvars
import functools
import gc
import os

import pytest

import xctx


def pytest_configure(config):
    config.addinivalue_line(
        "markers",
        "not_under(checker, ..., reason=...): cannot run under these checkers, 'asan' or 'valgrind', which "
        "scripts/python-test says in XCTX_TEST_UNDER",
    )


def pytest_runtest_setup(item):
    under = os.environ.get("XCTX_TEST_UNDER")
    for marker in item.iter_markers("not_under"):
        if under in marker.args:
            pytest.skip("not under %s: %s" % (under, marker.kwargs["reason"]))


@pytest.fixture(autouse=True)
def _clean():
    """What a test leaves behind is not the next one's."""
    yield
    gc.collect()


@pytest.fixture
def default_capture():
    """What copies capture is what it is without set_default_capture(), and again after the test."""
    xctx.set_default_capture()
    yield
    xctx.set_default_capture()


@pytest.fixture
def no_capture():
    before = xctx.get_default_capture()
    xctx.set_default_capture("none")
    yield
    xctx.set_default_capture(**before)


@pytest.fixture
def own_context(request):
    """The test runs in a fresh context: pytest's own stays as it is."""
    function = request.node.obj
    context = contextvars.Context()
    request.node.obj = functools.wraps(function)(lambda *args, **kwargs: context.run(function, *args, **kwargs))
