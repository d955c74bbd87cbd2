# SPDX-License-Identifier: MIT
"""Copies that have not been entered or looked into: their builtin contexts are not made yet."""

import contextvars
import gc
import threading
import weakref

import pytest

import xctx
from support import Thing

var = xctx.ContextVar("var", default="none")
builtin = contextvars.ContextVar("builtin", default="none")

pytestmark = pytest.mark.usefixtures("no_capture")


def in_new_context(function):
    return contextvars.Context().run(function)


def test_a_copy_has_the_values_of_its_time():
    def work():
        var.set("before")
        builtin.set("before")
        context = xctx.copy_context()
        var.set("after")
        builtin.set("after")
        return context

    context = in_new_context(work)
    assert (context[var], context[builtin], len(context)) == ("before", "before", 2)
    assert context.run(lambda: (var.get(), builtin.get())) == ("before", "before")


def test_a_copy_of_a_copy_is_its_own():
    def work():
        var.set("first")
        return xctx.copy_context()

    first = in_new_context(work)
    second = first.copy()
    third = second.copy()
    first.run(var.set, "changed")
    second.run(builtin.set, "changed")
    fourth = first.copy()
    first.run(var.set, "changed again")
    assert [context.get(var) for context in (first, second, third, fourth)] == [
        "changed again", "first", "first", "changed"]
    assert [builtin in context for context in (first, second, third, fourth)] == [False, True, False, False]


def test_copies_of_empty_contexts_are_empty():
    assert len(xctx.Context().copy()) == 0
    assert list(xctx.Context().copy().copy().items()) == []
    seen = []
    # A thread has no context until something is set.
    thread = threading.Thread(target=lambda: seen.append(xctx.copy_context()))
    thread.start()
    thread.join()
    assert len(seen[0]) == 0
    assert seen[0].run(var.get) == "none"


def test_what_is_set_in_a_copy_stays_there():
    context = in_new_context(xctx.copy_context)
    context.run(var.set, "set")
    assert context.run(var.get) == "set"
    assert var.get() == "none"
    token = context.run(var.set, "again")
    context.run(var.reset, token)
    assert context[var] == "set"


def test_a_copy_is_entered_once_at_a_time():
    context = in_new_context(xctx.copy_context)
    with pytest.raises(RuntimeError, match="already entered"):
        context.run(context.run, lambda: None)


def test_copies_are_equal_before_and_after_they_are_looked_into():
    def work():
        var.set("value")
        return xctx.copy_context(), xctx.copy_context()

    one, other = in_new_context(work)
    assert one == other and other == one.copy()


@pytest.mark.parametrize("used", [False, True])
def test_a_cycle_through_a_copy_is_collected(used):
    def work():
        value = Thing()
        var.set(value)
        value.context = xctx.copy_context()
        if used:
            assert value.context[var] is value
        return weakref.ref(value), weakref.ref(value.context)

    references = in_new_context(work)
    gc.collect()
    assert [reference() for reference in references] == [None, None]


def test_a_copy_keeps_its_values_alive_and_no_longer():
    def work():
        value = Thing()
        var.set(value)
        return xctx.copy_context(), weakref.ref(value)

    context, reference = in_new_context(work)
    gc.collect()
    assert reference() is not None
    copy = context.copy()
    del context
    assert reference() is not None
    del copy
    assert reference() is None


def test_copies_are_shared_between_threads():
    def work():
        var.set("value")
        return xctx.copy_context()

    context = in_new_context(work)
    seen = []
    threads = [threading.Thread(target=lambda: seen.append(context.copy().run(var.get))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == ["value"] * 8


def test_running_out_of_memory_leaves_the_copy_as_it_was():
    testcapi = pytest.importorskip("_testcapi")
    if not hasattr(testcapi, "set_nomemory"):
        pytest.skip("this interpreter cannot run out of memory on demand")

    def work():
        var.set("value")
        return xctx.copy_context()

    context = in_new_context(work)
    function = var.get
    for at in range(1, 60):
        copy = context.copy()
        testcapi.set_nomemory(at, at + 1)
        try:
            result = copy.run(function)
        except MemoryError:
            result = None
        finally:
            testcapi.remove_mem_hooks()
        assert result in ("value", None)
        assert copy.run(function) == "value"
    assert result == "value"
