# SPDX-License-Identifier: MIT
"""What several files of tests use. Fixtures are in conftest.py."""
import contextvars
import os
import sys

import pytest

import xctx

try:
    from _testcapi import remove_mem_hooks, set_nomemory
except ImportError:
    remove_mem_hooks = set_nomemory = None

# One variable of each kind: whatever carries the one has to carry the other.
foreign = contextvars.ContextVar("foreign", default="none")
ours = xctx.ContextVar("ours", default="none")


def both():
    return ours.get(), foreign.get()


def set_both(value):
    ours.set(value)
    foreign.set(value)


class Thing:
    """Something that can be referred to weakly, and hold things."""


# A snapshot of here, of these bits or of what set_default_capture() says.
capture = xctx._xctx._capture
STACK, LOCALS, NATIVE, STATE = 1, 2, 4, 8


def here():
    """The line of the call."""
    return sys._getframe(1).f_lineno


needs_inspect = pytest.mark.skipif(
    not any(name.startswith("_inspect.") for name in os.listdir(os.path.dirname(xctx.__file__))), reason="no libdw"
)
