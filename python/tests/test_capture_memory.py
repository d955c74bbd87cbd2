# SPDX-License-Identifier: MIT
"""Captures where memory runs out, and that they lose none."""
import contextvars
import gc
import sys

import pytest

import xctx
from support import Thing, capture, remove_mem_hooks, set_nomemory
from xctx import copy_context, set_default_capture

pytestmark = pytest.mark.usefixtures("default_capture")


def everything(thing):
    password, values = "x", {"a": [1, {2}], "b": (thing, [])}
    context = copy_context()
    inner = context.run(copy_context)
    snapshot = inner.snapshot
    looked = [snapshot.captured, snapshot.time, snapshot.thread_state, snapshot.parent.frames, repr(snapshot)]
    looked += [(frame.locals, frame.lineno, repr(frame), hash(frame)) for frame in inner.frames]
    looked += [snapshot.format(native=False)]
    thing.cycle = context, inner, snapshot, looked
    try:
        set_default_capture(redact=[1])
    except TypeError:
        pass


@pytest.mark.parametrize(
    "options",
    [{}, {"redact": ["pass*"], "depth": 3}, {"redact": lambda name, value: False}, {"render": "eager"}, {"max_kept": 1}],
    ids=["plain", "names", "callable", "eager", "trimmed"],
)
@pytest.mark.not_under("asan", "valgrind", reason="counts the blocks of Python's own allocator, which is off there")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_nothing_is_lost(options):
    count = getattr(sys, "gettotalrefcount", sys.getallocatedblocks)
    set_default_capture(**options)
    counts = []
    for _ in range(8):
        for _ in range(20):
            everything(Thing())
        gc.collect()
        # CPython's cache of methods keeps names that datetime makes anew each time.
        sys._clear_type_cache()
        counts.append(count())
    # Other caches grow for a while; what is lost each time is lost in every round.
    growths = [after - before for before, after in zip(counts, counts[1:])]
    assert min(growths) < 20, growths


def every_allocation_fails(call):
    """Calls with the first allocation failing, then the second, until it passes."""
    for start in range(1, 2000):
        set_nomemory(start, start + 1)
        try:
            result = call()
        except MemoryError:
            continue
        finally:
            remove_mem_hooks()
        return start, result
    pytest.fail("never passes")


@pytest.mark.skipif(set_nomemory is None, reason="no _testcapi")
@pytest.mark.parametrize(
    "options",
    [{}, {"depth": 3}, {"redact": ["pass*"]}, {"redact": lambda name, value: name == "password"}],
    ids=["plain", "depth", "names", "callable"],
)
def test_memory_error_at_every_allocation_of_a_capture(options, monkeypatch):
    monkeypatch.setattr(sys, "unraisablehook", lambda *args: None)
    set_default_capture(**options)

    def function(thing, password="x"):
        values = [[1, 2], (3,), {4: [5]}, {6}]
        return capture()

    thing = Thing()
    function(thing)
    gc.collect()
    before = sys.getrefcount(thing)
    allocations, snapshot = every_allocation_fails(lambda: function(thing))
    assert allocations > 2
    assert snapshot.frames[0].locals["thing"] is thing
    del snapshot
    gc.collect()
    assert sys.getrefcount(thing) == before


@pytest.mark.skipif(set_nomemory is None, reason="no _testcapi")
def test_memory_error_at_every_allocation_of_looking():
    context = copy_context()
    inner = context.run(copy_context)
    looks = [
        lambda: inner.snapshot.frames,
        lambda: [frame.locals for frame in inner.snapshot.frames],
        lambda: [(frame.lineno, repr(frame)) for frame in inner.snapshot.frames],
        lambda: (inner.snapshot.captured, inner.snapshot.time, inner.snapshot.thread_id, repr(inner.snapshot)),
        lambda: inner.snapshot._state(),
        lambda: inner.snapshot._native(),
        lambda: inner.snapshot.parent,
        lambda: xctx.get_default_capture(),
    ]
    for look in looks:
        every_allocation_fails(look)


@pytest.mark.skipif(set_nomemory is None, reason="no _testcapi")
def test_memory_error_at_every_allocation_of_setting(monkeypatch):
    import re

    # Without memory, CPython's compiler of patterns loses exceptions and, in 3.12 and 3.13, crashes.
    pattern = re.compile("a|b.*")
    monkeypatch.setattr(re, "compile", lambda *args: pattern)
    set_default_capture("stack", redact=["pass*"])
    before = xctx.get_default_capture()
    for start in range(1, 3000):
        set_nomemory(start, start + 1)
        try:
            set_default_capture("all", redact=["a", "b*"])
            break
        except MemoryError:
            pass
        finally:
            remove_mem_hooks()
        assert xctx.get_default_capture() == before
    assert start > 5 and xctx.get_default_capture()["redact"] == ("a", "b*")


@pytest.mark.skipif(set_nomemory is None, reason="no _testcapi")
def test_no_copy_without_memory_stays_entered():
    failed = []

    def copy_without_memory():
        variable = contextvars.ContextVar("variable", default=0)
        # Not until the first success: some of what is missing is done without.
        for start in range(1, 60):
            set_nomemory(start, start + 1)
            try:
                copy_context()
            except MemoryError:
                failed.append(start)
            finally:
                remove_mem_hooks()
        variable.set(1)
        return contextvars.copy_context()

    context = contextvars.Context()
    copied = context.run(copy_without_memory)  # RuntimeError: another context is current
    assert failed and dict(copied) == dict(context)


def test_frames_of_a_module_that_is_renamed_meanwhile():
    """Frames of this package are left out. What that depends on may change between counting and copying."""
    set_default_capture("locals")
    arguments = ", ".join("a%d=%d" % (i, 100000 + i) for i in range(3000))
    module = {"__name__": "xctx.not_really", "copy_context": copy_context}
    exec("def many(%s):\n    return copy_context()\n" % arguments, module)

    def rename(phase, info):
        module["__name__"] = "renamed"

    before = gc.get_threshold()
    gc.callbacks.append(rename)
    gc.set_threshold(1)
    try:
        context = module["many"]()
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(rename)
    assert len(context.frames) <= 64 and all(frame.locals is not None for frame in context.frames)
