# SPDX-License-Identifier: MIT
"""CPython's own tests of contexts, with xctx in the place of contextvars.

Of each interpreter, from its package `test`: test_context without what is about the map inside (HamtTest), and the tests
of asyncio that use context variables. asyncio itself goes on using contextvars.

With captures on, as they are by default, a copy of a context keeps local variables alive. Tests that depend on when
objects are freed run without captures.
"""
import asyncio  # Not by a test, with xctx as its contextvars.
import contextvars
import importlib.util
import sys
import unittest

import pytest

import xctx


def swapped(name):
    """The module `name`, run again with contextvars being xctx for it; None if this Python has no such tests."""
    try:
        spec = importlib.util.find_spec(name)
    except ImportError:
        spec = None
    if spec is None:
        return None
    module = importlib.util.module_from_spec(spec)
    sys.modules['contextvars'] = xctx
    try:
        spec.loader.exec_module(module)
    finally:
        sys.modules['contextvars'] = contextvars
    if module.contextvars is not xctx:
        raise AttributeError('contextvars')
    return module


def about_contexts(module):
    """Its test classes, with those of their tests that are about contexts."""
    for name, case in list(vars(module).items()):
        if isinstance(case, type) and issubclass(case, unittest.TestCase):
            others = [test for test in unittest.TestLoader().getTestCaseNames(case) if 'context' not in test]
            if len(others) < len(unittest.TestLoader().getTestCaseNames(case)):
                case = type(name, (case,), dict.fromkeys(others))
                yield name, case


def without_captures(case):
    """The class `case`, run without captures."""

    class WithoutCaptures(case):
        def setUp(self):
            before = xctx.get_default_capture()
            self.addCleanup(lambda: xctx.set_default_capture(**before))
            xctx.set_default_capture('none')
            super().setUp()

    return WithoutCaptures


module = swapped('test.test_context')
if module is not None:
    ContextTest = module.ContextTest
    ContextTestWithoutCaptures = without_captures(ContextTest)

for name in 'tasks', 'threads', 'runners', 'futures2', 'taskgroups':
    try:
        module_of = swapped('test.test_asyncio.test_' + name)
    except AttributeError:
        # It does not use them in this version.
        continue
    if module_of is not None:
        for case_name, _case in about_contexts(module_of):
            globals()['Asyncio_%s_%s' % (name, case_name)] = without_captures(_case)


if module is None:
    def test_package_is_there():
        pytest.skip('this Python has no package `test`: Debian has it in libpython3.X-testsuite')
