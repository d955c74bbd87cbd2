# SPDX-License-Identifier: MIT
"""install() and uninstall(): threads and executors; what is patched, and put back."""
import asyncio
import concurrent.futures
import contextvars
import functools
import gc
import multiprocessing
import os
import random
import sys
import threading
import time
import weakref

import pytest

import xctx
import xctx._install
from support import Thing, both, foreign, ours, set_both
from xctx._xctx import _origin

pytestmark = pytest.mark.usefixtures("own_context")


@pytest.fixture(autouse=True)
def _uninstalled():
    yield
    xctx.uninstall()


@pytest.fixture
def installed(_uninstalled):
    xctx.install()


def everything_patched():
    """All attributes that install() may touch, by identity."""
    found = {}
    owners = [threading.Thread, concurrent.futures.ThreadPoolExecutor, threading, sys, asyncio.AbstractEventLoop]
    if hasattr(asyncio, "threads"):
        owners.append(asyncio.threads)
    waiting = asyncio.AbstractEventLoop.__subclasses__()
    while waiting:
        loop_class = waiting.pop()
        owners.append(loop_class)
        waiting += loop_class.__subclasses__()
    for owner in owners:
        for name, value in vars(owner).items():
            found[owner, name] = value
    return found


def assert_same(before, after):
    assert set(before) == set(after)
    for key, value in before.items():
        assert after[key] is value, key


# ---- what it changes ----


def test_uninstall_puts_every_attribute_back():
    import asyncio.base_events  # noqa: F401: loaded before, so that it is compared

    before = everything_patched()
    xctx.install()
    changed = [key for key, value in everything_patched().items() if before.get(key) is not value]
    assert (threading.Thread, "start") in changed
    assert (asyncio.BaseEventLoop, "create_task") in changed
    assert (sys, "excepthook") in changed
    xctx.uninstall()
    assert_same(before, everything_patched())


def test_install_twice_is_install_once():
    before = everything_patched()
    xctx.install()
    once = everything_patched()
    xctx.install(capture="none")
    assert_same(once, everything_patched())
    xctx.uninstall()
    assert_same(before, everything_patched())
    xctx.uninstall()
    assert_same(before, everything_patched())


def test_install_again_changes_what_is_captured():
    def snapshot():
        future = executor.submit(xctx.copy_context)
        return future.result().parent

    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        xctx.install(capture="none")
        assert snapshot() is None
        xctx.install()
        assert snapshot().frames[0].name == "snapshot" and snapshot().frames[0].locals is None
        xctx.install(locals=True)
        assert "executor" in snapshot().frames[1].locals or snapshot().frames[0].locals is not None


@pytest.mark.parametrize(
    "capture, expected",
    [
        ("none", None),
        ("locals", ("stack", "locals")),
        (" stack\tstate,", ("stack", "state")),
        (["stack", "native,state"], ("stack", "native", "state")),
        ({"state"}, ("state",)),
        (iter(["all"]), ("stack", "locals", "native", "state")),
    ],
)
def test_install_takes_the_captures_of_set_default_capture(capture, expected):
    xctx.install(capture=capture)
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        origin = executor.submit(_origin).result()
    assert (origin and origin.captured) == expected


@pytest.mark.parametrize("bad", ["everything", "stack,nothing", ["stack", "x"]])
def test_install_refuses_unknown_captures_and_changes_nothing(bad):
    before = everything_patched()
    with pytest.raises(ValueError, match="not something to capture"):
        xctx.install(capture=bad)
    for wrong in [5], 5, None:
        with pytest.raises(TypeError, match="capture must be a str or an iterable of str"):
            xctx.install(capture=wrong)
    assert_same(before, everything_patched())


def test_hooks_look_like_what_they_stand_for(installed):
    import inspect

    assert threading.Thread.start.__name__ == "start" and "start" in threading.Thread.start.__doc__.lower()
    assert "fn" in str(inspect.signature(concurrent.futures.ThreadPoolExecutor.submit))


def test_an_attribute_that_somebody_wrapped_is_left_to_them(installed):
    hook = threading.Thread.start
    calls = []

    def start(self):
        calls.append(self)
        return hook(self)

    threading.Thread.start = start
    try:
        set_both("main")
        seen = []
        run_thread(lambda: seen.append(both()))
        xctx.uninstall()
        assert threading.Thread.start is start
        run_thread(lambda: seen.append(both()))  # what is left of ours passes the call on
        xctx.install()
        run_thread(lambda: seen.append(both()))  # and a new hook is put in front
        assert seen == [("main", "main"), ("none", "none"), ("main", "main")]
        assert len(calls) == 3
        xctx.uninstall()
        assert threading.Thread.start is start
    finally:
        threading.Thread.start = hook.original


def test_a_hook_for_exceptions_that_somebody_set_is_left_to_them(installed):
    def mine(*args):
        pass

    before, sys.excepthook = sys.excepthook, mine
    try:
        xctx.uninstall()
        assert sys.excepthook is mine
    finally:
        sys.excepthook = sys.__excepthook__


# ---- threads ----


def run_thread(function, cls=threading.Thread):
    thread = cls(target=function)
    thread.start()
    thread.join()


def test_threads_start_with_a_copy_of_the_starters_context(installed):
    seen = []

    def work():
        seen.append(both())
        set_both("inside")

    set_both("main")
    run_thread(work)
    assert seen == [("main", "main")] and both() == ("main", "main")


def test_timers_and_subclasses_too(installed):
    seen = []

    class Worker(threading.Thread):
        def run(self):
            seen.append(both())

        def start(self):
            super().start()

    set_both("main")
    worker = Worker()
    worker.start()
    worker.join()
    timer = threading.Timer(0.001, lambda: seen.append(both()))
    timer.start()
    timer.join()
    assert seen == [("main", "main")] * 2


def test_threads_with_strange_targets(installed):
    class Strange:
        def __getattribute__(self, name):
            if name == "__module__":
                raise RuntimeError(name)
            return super().__getattribute__(name)

        def __call__(self):
            seen.append(both())

    class Unhashable:
        __module__ = []

        def __call__(self):
            seen.append(both())

    seen = []
    set_both("main")
    run_thread(Strange())
    run_thread(Unhashable())
    assert seen == [("main", "main")] * 2


def test_threads_started_by_threads_have_a_chain(installed):
    found = []

    def grandchild():
        found.append(xctx.copy_context())

    def child():
        run_thread(grandchild)

    run_thread(child)
    parent = found[0].parent
    assert "child" in [frame.name for frame in parent.frames]
    assert "grandchild" not in [frame.name for frame in parent.frames]
    names = [frame.name for frame in parent.parent.frames]
    assert "test_threads_started_by_threads_have_a_chain" in names and "child" not in names


def test_no_frame_of_ours_is_in_stacks(installed):
    import traceback

    stacks = []

    def work():
        stacks.append([entry.filename for entry in traceback.extract_stack()])
        stacks.append([frame.filename for frame in xctx.copy_context().parent.frames])

    run_thread(work)
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        executor.submit(work).result()
    assert len(stacks) == 4
    here = os.path.dirname(xctx.__file__)
    assert not [name for stack in stacks for name in stack if name.startswith(here)]


def test_xctx_thread_is_bound_once(installed):
    found = []

    def work():
        found.append(xctx.copy_context())

    set_both("main")
    run_thread(work, xctx.Thread)
    assert found[0].run(both) == ("main", "main")
    assert found[0].parent.parent is None
    with xctx.ThreadPoolExecutor(1) as executor:
        executor.submit(work).result()
    assert found[1].parent.parent is None


def test_thread_holds_no_context_when_it_has_ended(installed):
    value = Thing()
    gone = weakref.ref(value)
    foreign.set(value)
    thread = threading.Thread(target=both)
    thread.start()
    thread.join()
    foreign.set("none")
    del value
    gc.collect()
    assert gone() is None and "_bootstrap" not in thread.__dict__


def test_thread_starting_twice_or_failing_is_refused_as_ever(installed, monkeypatch):
    thread = threading.Thread(target=both)
    thread.start()
    with pytest.raises(RuntimeError, match="once"):
        thread.start()
    thread.join()
    name = "_start_joinable_thread" if hasattr(threading, "_start_joinable_thread") else "_start_new_thread"

    def fail(*args, **kwargs):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading, name, fail)
    thread = threading.Thread(target=both)
    with pytest.raises(RuntimeError, match="can't start"):
        thread.start()
    assert "_bootstrap" not in thread.__dict__
    with pytest.raises(TypeError):
        threading.Thread.start()


@pytest.mark.parametrize("capture", ["stack", "none"])
def test_native_variables_are_carried(capture):
    number = xctx.ContextVar("number of test_install", type=int, default=0)
    seen = []

    def work():
        seen.append(number.get())
        number.set(-1)

    xctx.install(capture=capture)
    number.set(1)
    run_thread(work)
    number.set(2)
    run_thread(work, xctx.Thread)
    number.set(3)
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        executor.submit(work).result()
        number.set(4)
        executor.submit(work).result()
    number.set(5)
    bound = xctx.bind(work)
    number.set(6)
    bound()
    bound()
    assert seen == [1, 2, 3, 4, 5, 5] and number.get() == 6

    async def task():
        work()
        await asyncio.sleep(0)
        return number.get()

    async def main():
        loop = asyncio.get_event_loop()
        found = await asyncio.gather(task(), task())
        await loop.run_in_executor(None, work)
        called = loop.create_future()
        loop.call_soon(lambda: (work(), called.set_result(None)))
        await called
        return found

    del seen[:]
    assert asyncio.run(main()) == [-1, -1]
    assert seen == [6] * 4 and number.get() == 6


# ---- executors ----


def test_work_for_executors_runs_in_the_submitters_context(installed):
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        set_both("first")
        first = executor.submit(both)
        set_both("second")
        assert first.result() == ("first", "first")
        assert executor.submit(both).result() == ("second", "second")
        assert list(executor.map(lambda i: ours.get(), range(3))) == ["second"] * 3
        executor.submit(set_both, "leaked").result()
        assert executor.submit(both).result() == ("second", "second")
        assert executor.submit(lambda *args, **kwargs: (args, kwargs), 1, a=2).result() == ((1,), {"a": 2})
        many = executor.submit(lambda *args, **kwargs: (args, kwargs), *range(100), **{"k%d" % i: i for i in range(50)})
        assert many.result() == (tuple(range(100)), {"k%d" % i: i for i in range(50)})


def test_executor_subclasses_and_bound_work(installed):
    class Mine(concurrent.futures.ThreadPoolExecutor):
        def submit(self, fn, *args):
            return super().submit(fn, *args)

    set_both("bound")
    bound = xctx.bind(both)
    set_both("main")
    with Mine(1) as executor:
        assert executor.submit(both).result() == ("main", "main")
        assert executor.submit(bound).result() == ("bound", "bound")


def test_executors_refuse_what_they_refused_before(installed):
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        with pytest.raises(TypeError):
            executor.submit()
        with pytest.raises(TypeError):
            executor.submit(5).result()
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(both)


def test_idle_workers_hold_no_context(installed):
    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        value = Thing()
        gone = weakref.ref(value)
        foreign.set(value)
        executor.submit(both).result()  # starts a worker
        snapshot = weakref.ref(executor.submit(_origin).result())
        foreign.set("none")
        del value
        deadline = time.monotonic() + 10
        while (gone() is not None or snapshot() is not None) and time.monotonic() < deadline:
            time.sleep(0.01)
            gc.collect()
        assert gone() is None and snapshot() is None


def square(n):
    return n * n


def test_process_pools_work(installed):
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as executor:
        value = Thing()
        gone = weakref.ref(value)
        foreign.set(value)
        assert executor.submit(square, 3).result(timeout=60) == 9
        assert list(executor.map(square, range(3))) == [0, 1, 4]
        foreign.set("none")
        del value
        gc.collect()
        assert gone() is None  # the threads of the pool do not hold it


def test_a_forked_child_carries_on(installed):
    set_both("parent")
    child = os.fork()
    if child == 0:
        status = 1
        try:
            seen = []
            run_thread(lambda: seen.append(both()))
            with concurrent.futures.ThreadPoolExecutor(1) as executor:
                seen.append(executor.submit(both).result())
            xctx.uninstall()
            status = 0 if seen == [("parent", "parent")] * 2 else 2
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


def test_hooks_work_while_others_install_and_uninstall():
    stop = threading.Event()
    failures = []

    def work():
        try:
            with concurrent.futures.ThreadPoolExecutor(2) as executor:
                while not stop.is_set():
                    run_thread(both)
                    executor.submit(both).result()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 0.7
    while time.monotonic() < deadline:
        xctx.install()
        xctx.install(capture="none")
        xctx.uninstall()
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures


# ---- all together ----


def test_interleaved_work_never_sees_other_works_values(installed):
    """Random nesting of threads, executors, tasks and contexts; each piece of work has a value of its own."""
    rng = random.Random(4711)
    deadline = time.monotonic() + 1.5
    failures = []
    counts = {"work": 0}
    executor = concurrent.futures.ThreadPoolExecutor(3)
    inner_executor = concurrent.futures.ThreadPoolExecutor(8)

    def check(value):
        if both() != (value, value):
            failures.append((value, both()))

    def nested(value, depth):
        """In the value's context; ends in it."""
        counts["work"] += 1
        check(value)
        mine = "%s/%d" % (value, rng.randrange(10**6))
        kind = rng.randrange(5) if depth else 4
        if kind == 0:
            run_thread(functools.partial(child, value, mine, depth - 1))
        elif kind == 1:
            inner_executor.submit(leaf, value, mine).result()
        elif kind == 2:
            xctx.copy_context().run(child, value, mine, depth - 1)
        elif kind == 3:
            contextvars.copy_context().run(child, value, mine, depth - 1)
        else:
            token = ours.set(mine)
            foreign.set(mine)
            time.sleep(0)
            check(mine)
            ours.reset(token)
            foreign.set(value)
        check(value)

    def child(inherited, value, depth):
        check(inherited)
        set_both(value)
        nested(value, depth)

    def leaf(inherited, value):
        check(inherited)
        set_both(value)
        time.sleep(0)
        check(value)

    async def task(inherited, value, depth):
        check(inherited)
        set_both(value)
        loop = asyncio.get_event_loop()
        for _ in range(3):
            await asyncio.sleep(0)
            check(value)
            kind = rng.randrange(4)
            mine = "%s/%d" % (value, rng.randrange(10**6))
            if kind == 0 and depth:
                await asyncio.gather(*[loop.create_task(task(value, mine, depth - 1)) for _ in range(2)])
            elif kind == 1:
                await loop.run_in_executor(executor, child, value, mine, 2)
            elif kind == 2:
                called = loop.create_future()
                loop.call_later(0.0001, lambda: (leaf(value, mine), called.set_result(None)))
                await called
            else:
                called = loop.create_future()
                loop.call_soon(lambda: (leaf(value, mine), called.set_result(None)))
                await called
            check(value)

    def loop_thread(number):
        async def main():
            while time.monotonic() < deadline:
                value = both()[0]
                await asyncio.gather(*[asyncio.ensure_future(task(value, "t%d.%d" % (number, i), 2)) for i in range(3)])

        try:
            asyncio.run(main())
        except Exception as error:
            failures.append(error)

    set_both("root")
    threads = [threading.Thread(target=loop_thread, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    while time.monotonic() < deadline:
        nested("root", 3)
    for thread in threads:
        thread.join()
    executor.shutdown()
    inner_executor.shutdown()
    assert not failures, failures[:5]
    assert counts["work"] > 20 and both() == ("root", "root")
