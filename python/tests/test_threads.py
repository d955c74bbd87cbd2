# SPDX-License-Identifier: MIT
"""bind(), Thread, ThreadPoolExecutor."""
import asyncio
import contextvars
import copy
import functools
import gc
import inspect
import pickle
import sys
import threading
import time
import weakref

import pytest

import xctx
from support import Thing, both, foreign, ours, set_both

pytestmark = pytest.mark.usefixtures("own_context")


# ---- bind ----


def test_bind_runs_in_the_context_of_the_binding():
    set_both("bound")
    function = xctx.bind(both)
    set_both("later")
    assert function() == ("bound", "bound")
    assert both() == ("later", "later")


def test_bind_gives_each_call_a_copy():
    def change():
        before = both()
        set_both("changed")
        return before

    set_both("bound")
    function = xctx.bind(change)
    assert function() == ("bound", "bound")
    assert function() == ("bound", "bound")
    assert both() == ("bound", "bound")


def test_bind_calls_overlap():
    barrier = threading.Barrier(4, timeout=10)
    seen = []

    @xctx.bind
    def work(depth):
        barrier.wait()
        set_both(depth)
        barrier.wait()
        seen.append((both(), depth))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen, key=lambda entry: entry[1]) == [((i, i), i) for i in range(4)]


def test_bind_recurses():
    @xctx.bind
    def count(n):
        return n if n == 0 else 1 + count(n - 1)

    assert count(50) == 50
    with pytest.raises(RecursionError):
        count(10**6)


def test_bind_passes_arguments_and_results():
    assert xctx.bind(lambda *args, **kwargs: (args, kwargs))(1, 2, a=3) == ((1, 2), {"a": 3})
    with pytest.raises(KeyError, match="boom"):
        xctx.bind({}.__getitem__)("boom")


def test_bind_keeps_metadata():
    def function(a, *, b=1):
        "What it does."

    function.mark = 5
    bound = xctx.bind(function)
    assert (bound.__name__, bound.__doc__, bound.__module__) == ("function", "What it does.", __name__)
    assert bound.__wrapped__ is function and bound.mark == 5
    assert inspect.signature(bound) == inspect.signature(function)
    assert "function" in repr(bound)
    xctx.bind(functools.partial(function, 1))()
    xctx.bind(Thing)()


def test_bind_is_a_decorator_for_methods():
    class Service:
        @xctx.bind
        def who(self, more):
            return self, more, ours.get()

    service = Service()
    ours.set("other")
    assert service.who(1) == (service, 1, "none")
    assert Service.who(service, 1) == (service, 1, "none")


def test_bind_to_a_given_context():
    context = xctx.Context()
    context.run(set_both, "given")
    function = xctx.bind(both, context=context)
    context.run(set_both, "later")
    assert function() == ("given", "given")
    builtin = contextvars.copy_context()
    builtin.run(set_both, "builtin")
    assert xctx.bind(both, context=builtin)() == ("builtin", "builtin")
    # In it, too.
    assert context.run(xctx.bind, both, context=context)() == ("later", "later")


@pytest.mark.parametrize("bad", [None, 5, "text"])
def test_bind_refuses_what_cannot_be_called(bad):
    with pytest.raises(TypeError, match="callable"):
        xctx.bind(bad)


def test_bind_refuses_what_is_no_context():
    with pytest.raises(TypeError, match="Context"):
        xctx.bind(both, context=5)


def test_bind_refuses_to_be_pickled():
    with pytest.raises((TypeError, pickle.PicklingError)):
        pickle.dumps(xctx.bind(print))


def test_bind_releases_what_it_holds():
    value = Thing()
    gone = weakref.ref(value)
    foreign.set(value)
    bound = xctx.bind(both)
    foreign.set("none")
    del value
    gc.collect()
    assert gone() is not None
    del bound
    gc.collect()
    assert gone() is None


def test_bind_cycles_are_collected():
    value = Thing()
    gone = weakref.ref(value)
    foreign.set(value)
    value.bound = xctx.bind(both)
    value.bound.itself = value.bound
    foreign.set("none")
    del value
    gc.collect()
    assert gone() is None


def test_bind_leaves_the_context_after_an_exception():
    def fail():
        set_both("failed")
        raise ValueError

    with pytest.raises(ValueError):
        xctx.bind(fail)()
    assert both() == ("none", "none")


def test_bind_of_what_is_bound_keeps_the_inner_one():
    set_both("inner")
    function = xctx.bind(both)
    set_both("outer")
    assert xctx.bind(function)() == ("inner", "inner")


def test_bind_of_a_coroutine_function_runs_each_step_in_the_context():
    async def work(n):
        seen = [both()]
        for i in range(n):
            set_both(i)
            await asyncio.sleep(0)
            seen.append(both())
        return seen

    set_both("bound")
    bound = xctx.bind(work)
    set_both("later")
    assert inspect.iscoroutinefunction(bound) and bound.__name__ == "work"

    async def main():
        before = both()
        results = await asyncio.gather(bound(2), bound(3))
        results.append(await bound(1))
        assert both() == before == ("later", "later")
        return results

    first = ("bound", "bound")
    assert asyncio.run(main()) == [[first, (0, 0), (1, 1)], [first, (0, 0), (1, 1), (2, 2)], [first, (0, 0)]]


def test_bind_of_a_coroutine_function_passes_exceptions_and_cancels():
    async def fail():
        await asyncio.sleep(0)
        raise KeyError("boom")

    cleaned = []

    async def wait():
        set_both("waiting")
        try:
            await asyncio.sleep(60)
        finally:
            cleaned.append(both())

    async def main():
        with pytest.raises(KeyError):
            await xctx.bind(fail)()
        task = asyncio.ensure_future(xctx.bind(wait)())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert cleaned == [("waiting", "waiting")]


def test_bind_of_a_coroutine_that_is_closed_runs_its_end_in_the_context():
    cleaned = []

    async def wait():
        try:
            await asyncio.sleep(60)
        finally:
            cleaned.append(both())

    set_both("bound")
    coroutine = xctx.bind(wait)()
    set_both("later")

    async def main():
        coroutine.send(None)
        coroutine.close()

    asyncio.run(main())
    assert cleaned == [("bound", "bound")]


def test_bind_of_a_generator_function():
    def work():
        seen = both()
        while True:
            set_both("inside")
            try:
                got = yield seen, both()
            except KeyError:
                return "end"
            seen = got

    set_both("bound")
    bound = xctx.bind(work)
    set_both("later")
    generator = bound()
    assert next(generator) == (("bound", "bound"), ("inside", "inside"))
    assert both() == ("later", "later")
    assert generator.send("sent") == ("sent", ("inside", "inside"))
    with pytest.raises(StopIteration) as stop:
        generator.throw(KeyError("x"))
    assert stop.value.value == "end"
    assert inspect.isgeneratorfunction(bound)


def test_bind_of_an_asynchronous_generator_function():
    closed = []

    async def work():
        try:
            got = yield both()
            set_both(got)
            await asyncio.sleep(0)
            try:
                yield both()
            except KeyError:
                yield "thrown"
            await asyncio.sleep(60)
        finally:
            closed.append(both())

    set_both("bound")
    bound = xctx.bind(work)
    set_both("later")

    async def main():
        generator = bound()
        assert await generator.asend(None) == ("bound", "bound")
        assert both() == ("later", "later")
        assert await generator.asend("sent") == ("sent", "sent")
        assert await generator.athrow(KeyError("x")) == "thrown"
        await generator.aclose()

        @xctx.bind
        async def short():
            yield 1
            yield 2

        assert [item async for item in short()] == [1, 2]

    asyncio.run(main())
    assert closed == [("sent", "sent")]


def test_the_examples_of_the_documentation():
    import doctest

    import xctx._threads

    failed, attempted = doctest.testmod(xctx._threads)
    assert attempted and not failed


# ---- Thread ----


def run_thread(*args, **kwargs):
    thread = xctx.Thread(*args, **kwargs)
    thread.start()
    thread.join()
    return thread


def test_thread_starts_with_a_copy_of_the_starters_context():
    seen = []

    def work():
        seen.append(both())
        set_both("inside")

    set_both("made")
    thread = xctx.Thread(target=work)
    set_both("started")
    thread.start()
    set_both("later")
    thread.join()
    assert seen == [("started", "started")]
    assert both() == ("later", "later")


def test_thread_enters_the_context_that_it_is_given():
    context = xctx.copy_context()
    run_thread(target=set_both, args=("inside",), context=context)
    assert context.run(both) == ("inside", "inside")
    builtin = contextvars.Context()
    run_thread(target=set_both, args=("inside",), context=builtin)
    assert builtin.run(both) == ("inside", "inside")


def test_thread_given_an_entered_context_reports_that(monkeypatch):
    seen = []
    monkeypatch.setattr(threading, "excepthook", lambda args: seen.append(args.exc_value))
    context = xctx.copy_context()
    context.run(run_thread, target=both, context=context)
    assert isinstance(seen[0], RuntimeError) and "is already entered" in str(seen[0])


def test_thread_refuses_what_is_no_context():
    with pytest.raises(TypeError, match="Context"):
        xctx.Thread(target=both, context=5)


def test_thread_subclass_may_override_run():
    class Worker(xctx.Thread):
        def run(self):
            self.seen = both()

    set_both("outside")
    worker = Worker()
    worker.start()
    worker.join()
    assert worker.seen == ("outside", "outside")
    given = Worker(context=xctx.Context())
    given.start()
    given.join()
    assert given.seen == ("none", "none")


@pytest.mark.parametrize("given", [False, True])
def test_thread_is_started_once(given):
    thread = run_thread(target=both, context=xctx.copy_context() if given else None)
    with pytest.raises(RuntimeError, match="once"):
        thread.start()
    assert not {"_bootstrap", "run"} & set(thread.__dict__)


def test_thread_that_cannot_start_may_be_started_again(monkeypatch):
    name = "_start_joinable_thread" if hasattr(threading, "_start_joinable_thread") else "_start_new_thread"
    start = getattr(threading, name)

    def fail(*args, **kwargs):
        raise RuntimeError("can't start new thread")

    seen = []
    thread = xctx.Thread(target=lambda: seen.append(both()))
    monkeypatch.setattr(threading, name, fail)
    with pytest.raises(RuntimeError, match="can't start"):
        thread.start()
    monkeypatch.setattr(threading, name, start)
    set_both("now")
    thread.start()
    thread.join()
    assert seen == [("now", "now")]


def test_thread_whose_init_was_not_called():
    class Bad(xctx.Thread):
        def __init__(self):
            pass

    with pytest.raises(RuntimeError, match="__init__"):
        Bad().start()


@pytest.mark.parametrize("given", [False, True])
def test_finished_thread_holds_no_context(given):
    value = Thing()
    gone = weakref.ref(value)
    foreign.set(value)
    thread = run_thread(target=both, context=contextvars.copy_context() if given else None)
    foreign.set("none")
    del value
    gc.collect()
    assert gone() is None
    assert not thread.is_alive()


def test_thread_is_a_thread(monkeypatch):
    seen = []
    monkeypatch.setattr(threading, "excepthook", lambda args: seen.append((args.exc_type, args.thread, both())))

    def fail():
        set_both("failed")
        raise LookupError

    thread = xctx.Thread(None, fail, "its name", daemon=True)
    assert isinstance(thread, threading.Thread) and thread.name == "its name" and thread.daemon
    thread.start()
    thread.join()
    # What reports its exception is in its context.
    assert seen == [(LookupError, thread, ("failed", "failed"))]


# ---- ThreadPoolExecutor ----


def test_executor_carries_each_submitters_context():
    with xctx.ThreadPoolExecutor(1) as executor:
        set_both("first")
        first = executor.submit(both)
        set_both("second")
        second = executor.submit(both)
        assert first.result() == ("first", "first") and second.result() == ("second", "second")
        assert list(executor.map(lambda i: (i, ours.get()), range(3))) == [(i, "second") for i in range(3)]


def test_executor_work_does_not_see_what_other_work_set():
    with xctx.ThreadPoolExecutor(1) as executor:
        executor.submit(set_both, "leaked").result()
        assert executor.submit(both).result() == ("none", "none")


def test_executor_initializer_runs_in_the_makers_context():
    seen = []
    set_both("maker")
    with xctx.ThreadPoolExecutor(1, initializer=lambda *args: seen.append((args, both())), initargs=(1, 2)) as executor:
        set_both("submitter")
        assert executor.submit(both).result() == ("submitter", "submitter")
    assert seen == [((1, 2), ("maker", "maker"))]
    with pytest.raises(TypeError, match="initializer"):
        xctx.ThreadPoolExecutor(1, initializer=5)


def test_executor_passes_arguments_and_exceptions():
    with xctx.ThreadPoolExecutor(max_workers=2, thread_name_prefix="name") as executor:
        assert executor.submit(lambda *args, **kwargs: (args, kwargs), 1, fn=2, self=3).result() == (
            (1,),
            {"fn": 2, "self": 3},
        )
        assert executor.submit(lambda: threading.current_thread().name).result().startswith("name")
        with pytest.raises(ZeroDivisionError):
            executor.submit(divmod, 1, 0).result()
        with pytest.raises(TypeError, match="callable"):
            executor.submit(5)
    with pytest.raises(RuntimeError):
        executor.submit(both)


def test_idle_workers_hold_no_context():
    with xctx.ThreadPoolExecutor(2) as executor:
        value = Thing()
        gone = weakref.ref(value)
        foreign.set(value)
        executor.submit(both).result()
        foreign.set("none")
        del value
        deadline = time.monotonic() + 10
        while gone() is not None and time.monotonic() < deadline:
            time.sleep(0.01)
            gc.collect()
        assert gone() is None


# ---- exceptions ----


def test_exceptions_know_where_the_work_was_bound_and_nothing_else_changes():
    def fail():
        raise ValueError("boom")

    with pytest.raises(ValueError) as info:
        xctx.bind(fail)()
    exception = info.value
    assert set(exception.__dict__) == {"__xctx_origin__"}
    assert exception.args == ("boom",) and not getattr(exception, "__notes__", None)
    for again in (pickle.loads(pickle.dumps(exception)), copy.deepcopy(exception)):
        assert type(again) is ValueError and again.args == ("boom",)
    assert pickle.loads(pickle.dumps(exception)).__xctx_origin__ is None
    assert copy.copy(exception).__xctx_origin__ is exception.__xctx_origin__
    names = [frame.name for frame in exception.__xctx_origin__.snapshot.frames]
    assert sys._getframe().f_code.co_name in names


def test_the_innermost_origin_of_an_exception_stays():
    def fail():
        raise ValueError

    def inner():
        return xctx.bind(fail)()

    with pytest.raises(ValueError) as info:
        xctx.bind(inner)()
    snapshot = info.value.__xctx_origin__.snapshot
    assert "inner" in [frame.name for frame in snapshot.frames]
    assert "inner" not in [frame.name for frame in snapshot.parent.frames]


def test_exceptions_that_refuse_attributes_pass_unmarked_or_marked_but_pass():
    class Stubborn(Exception):
        def __setattr__(self, name, value):
            raise RuntimeError("no attributes")

    def fail():
        raise Stubborn("boom")

    with pytest.raises(Stubborn, match="boom"):
        xctx.bind(fail)()
