# SPDX-License-Identifier: MIT
"""How long snapshots live, and what they keep: the values of locals, and the chain of parents."""
import asyncio
import contextvars
import gc
import os
import subprocess
import sys
import threading
import weakref

import pytest

from support import Thing, capture
from xctx import copy_context, set_default_capture

pytestmark = pytest.mark.usefixtures("default_capture")


# ---- how long objects live ----


def test_snapshot_keeps_locals_alive_and_lets_them_go():
    def function():
        thing = Thing()
        return weakref.ref(thing), copy_context()

    reference, context = function()
    assert reference() is not None
    del context
    assert reference() is None


def test_cycle_through_a_snapshot_is_collected():
    def function():
        thing = Thing()
        thing.context = copy_context()
        thing.snapshot = thing.context.snapshot
        thing.frame = thing.snapshot.frames[0]
        thing.parent = thing.context.parent
        assert thing.frame.locals["thing"] is thing
        return weakref.ref(thing)

    reference = function()
    assert reference() is not None
    gc.collect()
    assert reference() is None


def test_context_in_a_local_is_held_weakly():
    def function():
        first = copy_context()
        second = copy_context()
        assert second.frames[0].locals["first"] is first
        return second, weakref.ref(first)

    second, first = function()
    assert first() is None
    assert repr(second.frames[0].locals["first"]) == "<released since>"


def test_loop_of_copies_keeps_one():
    references = []

    def function():
        for _ in range(50):
            context = copy_context()
            snapshot = context.snapshot
            references.append(weakref.ref(snapshot))

    function()
    assert sum(reference() is not None for reference in references) == 0


def test_max_kept_bounds_snapshots_that_hold_each_other():
    set_default_capture(max_kept=20)
    things = []

    def function():
        for _ in range(200):
            holder = Thing()
            holder.context = copy_context()
            things.append(weakref.ref(holder))
        return holder

    last = function()
    gc.collect()
    assert sum(thing() is not None for thing in things) <= 25
    assert not last.context.snapshot.trimmed


def test_trimmed_snapshot_says_so_and_keeps_its_frames():
    set_default_capture(max_kept=1)
    thing = Thing()
    reference = weakref.ref(thing)
    first = capture()
    del thing
    assert reference() is not None
    second = capture()
    assert first.trimmed and not second.trimmed
    assert reference() is None
    frame = first.frames[0]
    assert frame.locals is None and frame.name == "test_trimmed_snapshot_says_so_and_keeps_its_frames"
    assert first.native_frames == () and first.thread_state is None
    assert "max_kept" in first.format()


def test_threads_that_capture_look_and_trim_at_once():
    set_default_capture(max_kept=5, depth=2)
    errors, shared = [], []

    def work():
        try:
            for i in range(150):
                values = [Thing(), {"i": i}]
                context = copy_context()
                shared.append(context)
                for other in shared[-20:]:
                    for frame in other.frames:
                        locals_ = frame.locals
                        assert locals_ is None or isinstance(locals_, dict)
                    assert other.snapshot.trimmed in (True, False)
                del shared[:-20]
        except BaseException as error:
            errors.append(error)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert errors == []


# ---- the chain ----


def test_parent_is_where_the_context_was_copied():
    def submit():
        order = 66
        return copy_context()

    def work():
        return copy_context()

    outer = submit()
    inner = outer.run(work)
    assert inner.parent == outer.snapshot and inner.snapshot.parent.frames[0].locals["order"] == 66
    assert inner.snapshot.parent.parent is None
    assert inner.parent is inner.snapshot.parent
    assert hash(inner.parent) == hash(outer.snapshot) and inner.parent != inner.snapshot


def test_parent_flows_through_builtin_contexts_and_tasks():
    context = copy_context()

    def work():
        return contextvars.copy_context().run(copy_context)

    assert context.run(work).parent == context.snapshot

    async def task():
        return copy_context()

    async def main():
        return await asyncio.get_running_loop().create_task(task())

    assert context.run(asyncio.run, main()).parent == context.snapshot


def chain_length(snapshot):
    length = 0
    while snapshot.parent is not None:
        snapshot = snapshot.parent
        length += 1
    return length


def test_chain_is_bounded():
    context = copy_context()
    for _ in range(100):
        context = context.run(copy_context)
    assert chain_length(context.snapshot) == 16


def test_dropped_ancestors_are_freed():
    references = []

    def step():
        thing = Thing()
        references.append(weakref.ref(thing))
        return copy_context()

    context = step()
    for _ in range(60):
        context = context.run(step)
    assert sum(reference() is not None for reference in references) == 17


@pytest.mark.not_under("valgrind", reason="measures memory, and Valgrind keeps what was freed")
def test_task_that_spawns_for_ever_keeps_memory_flat():
    script = """if True:
        import asyncio, sys, xctx
        xctx.set_default_capture(max_kept=100)
        left = 3000
        sizes = []
        def resident():
            return int(open("/proc/self/statm").read().split()[1]) * 4
        async def job(finished):
            global left
            payload = bytearray(1000)
            left -= 1
            if left % 1000 == 0:
                sizes.append(resident())
            if left == 0:
                finished.set_result(None)
                return
            context = xctx.copy_context()
            context.run(asyncio.get_running_loop().create_task, job(finished))
        async def main():
            finished = asyncio.get_running_loop().create_future()
            task = asyncio.get_running_loop().create_task(job(finished))
            await finished
        asyncio.run(main())
        assert len(sizes) == 3
        assert sizes[2] - sizes[0] < 3000, sizes
        """
    # A sanitizer that keeps what was freed would make it grow.
    options = os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60, env=dict(os.environ, ASAN_OPTIONS=options))
