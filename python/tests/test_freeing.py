# SPDX-License-Identifier: MIT
"""How objects go: at the end of long chains, and while the garbage collector takes cycles apart."""

import subprocess
import sys

import pytest

# Each makes a chain of `count` objects, each of which is the only one that refers to the next.
CHAINS = {
    "old values of tokens": """
        variable, token = xctx.ContextVar('v'), None
        for _ in range(count):
            token = variable.set(token)
        variable.set(None)
    """,
    "old values of tokens with a type": """
        variable, token = xctx.ContextVar('v', type=object), None
        for _ in range(count):
            token = variable.set(token)
        variable.set(None)
    """,
    "defaults": """
        variable = None
        for _ in range(count):
            variable = xctx.ContextVar('v', default=variable)
    """,
    "defaults with a type": """
        variable = None
        for _ in range(count):
            variable = xctx.ContextVar('v', type=object, default=variable)
    """,
    "defaults that are tokens": """
        token = None
        for _ in range(count):
            variable = xctx.ContextVar('v', default=token)
            token = xctx.Context().run(variable.set, 1)
    """,
    "contexts in contexts": """
        variable, context = xctx.ContextVar('v'), None
        for _ in range(count):
            before, context = context, xctx.Context()
            context.run(variable.set, before)
    """,
    "contexts in contexts with a type": """
        variable, context = xctx.ContextVar('v', type=object), None
        for _ in range(count):
            before, context = context, xctx.Context()
            context.run(variable.set, before)
    """,
    "copies of copies": """
        xctx.set_default_capture('stack', max_frames=1)
        context = xctx.copy_context()
        for _ in range(count):
            context = context.run(xctx.copy_context)
    """,
    "captured locals": """
        xctx.set_default_capture('locals', max_frames=1, max_kept=10**9)
        def copied(before):
            return [xctx.copy_context()]
        context = None
        for _ in range(count):
            context = copied(context)
    """,
    "captured locals of frames": """
        xctx.set_default_capture('locals', max_frames=1, max_kept=10**9)
        def copied(before):
            return xctx.copy_context().frames[0]
        frame = None
        for _ in range(count):
            frame = copied(frame)
    """,
    "bound functions": """
        function = int
        for _ in range(count):
            function = xctx.bind(function)
    """,
}

CHAIN_SCRIPT = """
import threading, xctx
xctx.set_default_capture('none')
def chain(count):
%s
threading.stack_size(1 << 20)
thread = threading.Thread(target=chain, args=(200000,))
thread.start()
thread.join()
print('end')
"""


def run(script):
    return subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          universal_newlines=True, timeout=120)


@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_of_any_length_goes(name):
    result = run(CHAIN_SCRIPT % CHAINS[name])
    assert (result.returncode, result.stdout) == (0, "end\n")


def test_tokens_in_chains_are_used_again():
    """Freed ones are kept for the next, also those that the trashcan has had."""
    result = run(
        """
import xctx
xctx.set_default_capture('none')
variable = xctx.ContextVar('v')
for _ in range(20):
    token = None
    for number in range(1000):
        token = variable.set(token)
    variable.set(None)
    tokens = [variable.set(number) for number in range(1000)]
    assert len(set(map(id, tokens))) == 1000
    assert [token.old_value for token in tokens] == [None, *range(999)]
    for token in reversed(tokens):
        variable.reset(token)
    del token, tokens
print('end')
"""
    )
    assert (result.returncode, result.stdout) == (0, "end\n")


def test_a_variable_that_the_collector_has_cleared_has_no_default_any_more():
    """A destructor of C's may run after that, and find the variable, as gc.get_objects() does."""
    result = run(
        """
import ctypes, gc, xctx
class Default:
    pass
@ctypes.PYFUNCTYPE(None, ctypes.c_void_p)
def find(capsule):
    for found in gc.get_objects():
        if type(found) is xctx.ContextVar:
            try:
                print('a value', found.get())
            except LookupError:
                print('LookupError')
new = ctypes.pythonapi.PyCapsule_New
new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
variable = xctx.ContextVar('v', type=object, default=Default())
cycle = [variable, new(1, None, find)]  # which goes after the variable was cleared, and before it is freed
cycle.append(cycle)
del variable, cycle
gc.collect()
print('end')
"""
    )
    assert (result.returncode, result.stdout) == (0, "LookupError\nend\n")
