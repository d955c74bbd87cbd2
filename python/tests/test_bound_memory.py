# SPDX-License-Identifier: MIT
"""Bound work and hooks: nothing leaks, and where memory runs out the right exception comes."""
import asyncio
import concurrent.futures
import contextvars
import gc
import sys
import threading

import pytest

import xctx
from support import foreign
from xctx._xctx import Hook, _bind, _copy_here, _mark, _origin, _thread_contexts


def use_bind():
    for flags in (-1, 0, 1, 3):
        assert _bind(foreign.get, flags)() == "none"
        try:
            # C code fails here: where memory runs out, functions in Python may fail without an exception (3.11).
            _bind(divmod, flags)(1, 0)
        except ZeroDivisionError:
            pass
    bound = xctx.bind(use_bind.__call__)
    bound.itself = bound
    repr(bound), bound.snapshot


def use_marks():
    error = ValueError()
    _mark(error, 5)
    _mark(error, 6)
    repr(error.__xctx_origin__), error.__xctx_origin__.snapshot, error.__xctx_origin__.__reduce__()


class Owner:
    def method(self, fn, *args, context=None):
        return fn, args, context

    submit = Hook(method, "submit", 1)
    call = Hook(method, "context", 1)
    here = Hook(method, "origin", 1)
    make = Hook(method, "task", 1)


for name in ("submit", "call", "here", "make"):
    vars(Owner)[name].active = True


def use_hooks():
    owner = Owner()
    for method in (owner.submit, owner.call, owner.here, owner.make):
        method(print)
        method(print, *range(20))
        method(print, 1, context=None)
        method(fn=print)
        method(print, context=contextvars.Context())
        for bad in ((), (1, 2)):
            try:
                method(*bad, nothing=1)
            except TypeError:
                pass
    Hook(print, "submit", 0, len)


def use_threads():
    thread = threading.Thread(target=foreign.get)
    thread.start()
    thread.join()
    thread = xctx.Thread(target=foreign.get, context=contextvars.Context())
    thread.start()
    thread.join()


def use_executors():
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        executor.submit(foreign.get).result()
        try:
            executor.submit(divmod, 1, 0).result()
        except ZeroDivisionError:
            pass


def use_install():
    xctx.install()
    use_threads()
    use_executors()
    xctx.uninstall()


def use_tasks():
    async def child():
        await asyncio.sleep(0)
        raise KeyError

    async def main():
        try:
            await asyncio.ensure_future(child())
        except KeyError:
            pass

    xctx.install()
    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    loop.close()
    xctx.uninstall()


def use_contexts_of_threads():
    _thread_contexts()
    _copy_here(1)
    _copy_here(0)
    _origin()


def use_copies():
    xctx.copy_context().copy()
    xctx.Context().run(xctx.copy_context)


USES = [
    use_bind,
    use_marks,
    use_hooks,
    use_contexts_of_threads,
    use_copies,
    use_threads,
    use_executors,
    use_install,
    use_tasks,
]


def used_by(function, rounds):
    """How much the total of references grows."""
    for i in range(4):  # caches are filled
        function()
    gc.collect()
    before = sys.gettotalrefcount()
    for i in range(rounds):
        function()
    gc.collect()
    return sys.gettotalrefcount() - before


@pytest.mark.skipif(not hasattr(sys, "gettotalrefcount"), reason="counts references in debug builds of Python")
@pytest.mark.parametrize("function", USES)
def test_nothing_leaks(function):
    grown = [contextvars.Context().run(used_by, function, 20) for _ in range(3)]
    # Some references come and go with threads; what leaks once in each round is seen.
    assert min(grown) < 15, grown


@pytest.mark.parametrize("function", USES[:5])
def test_where_memory_runs_out_there_is_a_memory_error_and_nothing_else(function):
    testcapi = pytest.importorskip("_testcapi")
    if not hasattr(testcapi, "set_nomemory"):
        pytest.skip("this Python has no set_nomemory()")
    capture = xctx.get_default_capture()
    xctx.set_default_capture("stack,locals")
    context = contextvars.Context()
    errors = done = 0
    try:
        for _ in range(4):
            context.run(function)
        for n in range(2000):
            try:
                testcapi.set_nomemory(n, n + 1)
                try:
                    context.run(function)
                finally:
                    testcapi.remove_mem_hooks()
            except MemoryError:
                errors += 1
                done = 0
            else:
                done += 1
                if done == 60:  # that many in a row needed less than n allocations
                    break
        assert errors and done
        context.run(function)
    finally:
        xctx.set_default_capture(**capture)
