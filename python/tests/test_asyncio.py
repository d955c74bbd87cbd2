# SPDX-License-Identifier: MIT
"""Event loops: asyncio's and uvloop's, with and without install()."""
import asyncio
import contextvars
import gc
import os
import signal
import sys
import threading
import weakref

import pytest

import xctx
from support import both, set_both
from xctx._xctx import _origin

try:
    import uvloop
except ImportError:
    uvloop = None

needs_uvloop = pytest.mark.skipif(uvloop is None, reason="this Python has no uvloop")
LOOPS = ["asyncio", pytest.param("uvloop", marks=needs_uvloop)]


@pytest.fixture(params=LOOPS)
def run(request):
    """Runs a coroutine function in a loop of each kind, after install()."""
    xctx.install()

    def run(function, *args):
        loop = uvloop.new_event_loop() if request.param == "uvloop" else asyncio.new_event_loop()
        try:
            # In a context of its own: pytest's stays as it is.
            return contextvars.Context().run(loop.run_until_complete, function(*args))
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

    yield run
    xctx.uninstall()


def names(snapshot):
    return [frame.name for frame in snapshot.frames]


def origin():
    """The Snapshot of where the running work was submitted: the one that the context holds."""
    return _origin()


# ---- values ----


def test_values_flow_without_install():
    assert not xctx._install.is_installed() if hasattr(xctx, "_install") else True

    async def child():
        before = both()
        set_both("child")
        await asyncio.sleep(0)
        return before, both()

    async def starter():
        set_both("main")
        task = asyncio.ensure_future(child())
        set_both("later")
        assert await task == (("main", "main"), ("child", "child"))
        assert both() == ("later", "later")
        called = asyncio.get_event_loop().create_future()
        asyncio.get_event_loop().call_soon(lambda: called.set_result(both()))
        set_both("latest")
        assert await called == ("later", "later")
        if hasattr(asyncio, "to_thread"):
            assert await asyncio.to_thread(both) == ("latest", "latest")

    contextvars.Context().run(asyncio.run, starter())


def test_values_flow_into_all_that_loops_do(run):
    async def starter():
        loop = asyncio.get_event_loop()
        seen = []
        done = asyncio.Event()
        set_both("main")
        loop.call_soon(lambda: seen.append(both()))
        loop.call_later(0, lambda: seen.append(both()))
        loop.call_at(loop.time(), lambda: seen.append(both()))
        loop.call_soon_threadsafe(lambda: seen.append(both()))
        reader, writer = os.pipe()
        loop.add_reader(reader, lambda: (seen.append(both()), loop.remove_reader(reader)))
        os.write(writer, b"x")
        loop.add_signal_handler(signal.SIGUSR2, lambda: (seen.append(both()), done.set()))
        os.kill(os.getpid(), signal.SIGUSR2)
        set_both("later")
        await asyncio.sleep(0.02)
        await done.wait()
        loop.remove_signal_handler(signal.SIGUSR2)
        os.close(reader)
        os.close(writer)
        assert seen == [("main", "main")] * 6
        assert await loop.run_in_executor(None, both) == ("later", "later")

    run(starter)


def test_values_flow_into_executors_and_task_groups(run):
    async def child(value):
        before = both()
        set_both(value)
        await asyncio.sleep(0)
        return before, both()[0]

    async def starter():
        set_both("main")
        if hasattr(asyncio, "to_thread"):
            assert await asyncio.to_thread(both) == ("main", "main")
        results = await asyncio.gather(*[child(i) for i in range(5)])
        assert results == [(("main", "main"), i) for i in range(5)]
        if hasattr(asyncio, "TaskGroup"):
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(child(i)) for i in range(5)]
            assert [task.result() for task in tasks] == results
        assert both() == ("main", "main")

    run(starter)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tasks take contexts since 3.11")
def test_a_context_that_is_given_is_used_itself(run):
    async def child():
        set_both("child")
        return origin()

    async def starter():
        context = contextvars.copy_context()
        loop = asyncio.get_running_loop()
        assert await loop.create_task(child(), context=context) is origin()  # nobody has changed it
        assert context.run(both) == ("child", "child")
        called = loop.create_future()
        loop.call_soon(lambda: called.set_result(both()), context=context)
        assert await called == ("child", "child")
        assert "starter" in names(await loop.create_task(child(), context=None))

    run(starter)


@pytest.mark.skipif(not hasattr(asyncio, "eager_task_factory"), reason="eager tasks are new in 3.12")
def test_eager_tasks(run):
    async def child(value):
        before, where = both(), origin()
        set_both(value)
        await asyncio.sleep(0)
        assert both() == (value, value)
        return before, names(where)

    async def quick():
        raise KeyError("quick")

    async def starter():
        set_both("main")
        loop = asyncio.get_running_loop()
        loop.set_task_factory(asyncio.eager_task_factory)
        tasks = [loop.create_task(child(i)) for i in range(3)]
        assert both() == ("main", "main")
        for task in tasks:
            before, where = await task
            assert before == ("main", "main") and "starter" in where
        assert "child" not in names(origin())
        with pytest.raises(KeyError) as info:
            await loop.create_task(quick())
        await asyncio.sleep(0)
        assert "starter" in names(info.value.__xctx_origin__.snapshot)

    run(starter)


# ---- where work was submitted ----


def test_tasks_know_where_they_were_made(run):
    async def grandchild():
        return origin()

    async def child():
        return await asyncio.ensure_future(grandchild())

    async def starter():
        task = asyncio.ensure_future(child())
        if hasattr(task, "set_name"):
            asyncio.current_task().set_name("the main one")
            task.set_name("the child")
        return await task

    snapshot = run(starter)
    assert "child" in names(snapshot) and "starter" not in names(snapshot)
    assert "starter" in names(snapshot.parent)
    assert snapshot.task_name == "the child"


def test_callbacks_know_where_they_were_passed_on(run):
    async def starter():
        loop = asyncio.get_event_loop()
        found = []
        methods = [
            lambda callback: loop.call_soon(callback),
            lambda callback: loop.call_later(0, callback),
            lambda callback: loop.call_at(loop.time(), callback),
            lambda callback: loop.call_soon_threadsafe(callback),
            lambda callback: loop.run_in_executor(None, callback),
        ]
        if hasattr(asyncio, "to_thread"):
            methods.append(lambda callback: asyncio.ensure_future(asyncio.to_thread(callback)))
        for method in methods:
            method(lambda: found.append(xctx.copy_context()))
        reader, writer = os.pipe()
        loop.add_writer(writer, lambda: (found.append(xctx.copy_context()), loop.remove_writer(writer)))
        for _ in range(100):
            if len(found) == len(methods) + 1:
                break
            await asyncio.sleep(0.01)
        os.close(reader)
        os.close(writer)
        assert len(found) == len(methods) + 1
        for context in found:
            if "to_thread" in names(context.parent):  # submitted by a task of its own
                context = context.parent
            assert "starter" in names(context.parent)
            # Once, not by each method that calls another.
            parent = context.parent.parent
            while parent is not None:
                assert "call_later" not in names(parent) and "call_at" not in names(parent)
                parent = parent.parent

    run(starter)


@pytest.mark.skipif(not hasattr(asyncio, "to_thread"), reason="to_thread() is new in 3.9")
def test_work_for_threads_knows_where_it_was_passed_on(run):
    async def starter():
        snapshot = await asyncio.to_thread(origin)
        assert "to_thread" in names(snapshot) and "starter" in names(snapshot)
        snapshot = await asyncio.get_running_loop().run_in_executor(None, origin)
        assert "to_thread" not in names(snapshot) and "starter" in names(snapshot)

    run(starter)


def test_each_piece_of_work_has_its_own_origin_and_the_submitter_keeps_its(run):
    async def child():
        return origin()

    async def starter():
        before = origin()
        first = await asyncio.ensure_future(child())
        second = await asyncio.ensure_future(child())
        assert first is not second and first is not before
        assert origin() is before

    run(starter)


def test_finished_tasks_release_their_origins(run):
    async def child():
        return weakref.ref(origin())

    async def starter():
        reference = await asyncio.ensure_future(child())
        for _ in range(3):
            await asyncio.sleep(0)
        gc.collect()
        assert reference() is None

    run(starter)


def test_exceptions_of_tasks_know_where_the_task_was_made(run):
    async def fail():
        await asyncio.sleep(0)
        raise KeyError("boom")

    async def submits():
        return asyncio.ensure_future(fail())

    async def starter():
        task = await submits()
        with pytest.raises(KeyError) as info:
            await task
        assert "submits" in names(info.value.__xctx_origin__.snapshot)
        assert "starter" in names(info.value.__xctx_origin__.snapshot)

    run(starter)


def test_exceptions_of_executors_know_where_the_work_was_submitted(run):
    def fail():
        raise KeyError("boom")

    async def starter():
        with pytest.raises(KeyError) as info:
            await asyncio.get_event_loop().run_in_executor(None, fail)
        assert "starter" in names(info.value.__xctx_origin__.snapshot)
        if hasattr(asyncio, "to_thread"):
            with pytest.raises(KeyError) as info:
                await asyncio.to_thread(fail)
            assert "starter" in names(info.value.__xctx_origin__.snapshot)

    run(starter)


def test_unnoticed_exceptions_stay_unnoticed(run):
    """Marking an exception does not make asyncio believe that somebody has looked at it."""
    reported = []

    async def fail():
        raise KeyError("boom")

    def submits():
        asyncio.ensure_future(fail())

    async def starter():
        asyncio.get_event_loop().set_exception_handler(lambda loop, context: reported.append(context))
        submits()
        await asyncio.sleep(0.01)
        gc.collect()

    run(starter)
    assert [context["message"] for context in reported] == ["Task exception was never retrieved"]
    text = "".join(xctx.format_exception(reported[0]["exception"]))
    assert "The work was submitted by" in text and "in submits" in text


def test_exceptions_of_callbacks_know_where_they_were_passed_on(run):
    reported = []

    def fail():
        raise KeyError("boom")

    def submits():
        asyncio.get_event_loop().call_soon(fail)

    async def starter():
        asyncio.get_event_loop().set_exception_handler(lambda loop, context: reported.append(context["exception"]))
        submits()
        await asyncio.sleep(0.01)

    run(starter)
    assert "submits" in names(reported[0].__xctx_origin__.snapshot)


def test_the_log_says_where_the_work_was_submitted(run, caplog):
    async def fail():
        raise KeyError("boom")

    def submits():
        asyncio.ensure_future(fail())

    async def starter():
        submits()
        await asyncio.sleep(0.01)
        gc.collect()

    run(starter)
    messages = [record.getMessage() for record in caplog.records if record.name == "asyncio"]
    assert len(messages) == 2
    assert messages[0].startswith("Task exception was never retrieved")
    assert messages[1].startswith("The work was submitted by task") and "in submits" in messages[1]


def test_cancelled_tasks_are_cancelled(run):
    async def starter():
        task = asyncio.ensure_future(asyncio.sleep(60))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(starter)


# ---- what loops there are ----


def test_loop_classes_made_later_are_reached_and_put_back():
    xctx.install()
    try:

        class Complete(asyncio.AbstractEventLoop):
            def call_soon(self, callback, *args, context=None):
                return context

            def create_task(self, coroutine):
                return contextvars.copy_context()

        class Derived(asyncio.SelectorEventLoop):
            def call_later(self, delay, callback, *args):
                return super().call_later(delay, callback, *args)

        assert type(Complete.__dict__["call_soon"]).__name__ == "Hook"
        assert "call_later" in Derived.__dict__ and type(Derived.__dict__["call_later"]).__name__ == "function"
        context = Complete().call_soon(print)
        assert "test_loop_classes_made_later_are_reached_and_put_back" in names(context.copy().run(origin))
        assert "test_loop_classes_made_later_are_reached_and_put_back" in names(
            Complete().create_task(None).run(origin)
        )
        loop = Derived()
        loop.call_later(0, loop.stop)
        loop.run_forever()
        loop.close()
    finally:
        xctx.uninstall()
    assert type(Complete.__dict__["call_soon"]).__name__ == "function"
    assert "__init_subclass__" not in vars(asyncio.AbstractEventLoop)
    assert Complete().call_soon(print) is None


@needs_uvloop
def test_uvloop_is_as_before_after_uninstall():
    before = dict(vars(uvloop.Loop))
    xctx.install()
    assert "create_task" in vars(uvloop.Loop)
    xctx.uninstall()
    assert dict(vars(uvloop.Loop)) == before


def test_loops_in_several_threads(run):
    failures = []

    async def child(value):
        set_both(value)
        for _ in range(20):
            await asyncio.sleep(0)
            if both() != (value, value):
                failures.append((value, both()))

    async def starter(value):
        set_both(value)
        await asyncio.gather(*[child("%s/%d" % (value, i)) for i in range(20)])
        if both() != (value, value):
            failures.append((value, both()))

    threads = [threading.Thread(target=run, args=(starter, "t%d" % i)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
