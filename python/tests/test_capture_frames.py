# SPDX-License-Identifier: MIT
"""What is captured of Python frames: which ones, their lines, and their local variables."""
import asyncio
import os
import sys
import threading

import pytest

from support import LOCALS, STACK, capture, here
from xctx import copy_context, set_default_capture

pytestmark = pytest.mark.usefixtures("default_capture")


# ---- frames ----


def test_frames_are_innermost_first():
    def inner():
        return copy_context(), here()

    context, line = inner()
    first, second = context.frames[:2]
    assert (first.name, first.lineno, first.filename) == ("inner", line, __file__)
    assert second.name == "test_frames_are_innermost_first"
    assert first.code is inner.__code__
    if sys.version_info >= (3, 11):
        assert first.qualname == "test_frames_are_innermost_first.<locals>.inner"


def test_frames_equal_a_walk_by_hand():
    def deep(n):
        if n:
            return deep(n - 1)
        frame, walked = sys._getframe(), []
        snapshot = capture(STACK)
        while frame:
            walked.append((frame.f_code, frame.f_back and frame.f_lineno))
            frame = frame.f_back
        return snapshot, walked

    set_default_capture(max_frames=1000)
    snapshot, walked = deep(30)
    assert [f.code for f in snapshot.frames] == [code for code, _ in walked]
    assert [f.lineno for f in snapshot.frames][1:-1] == [line for _, line in walked][1:-1]


def test_line_of_a_call_over_several_lines():
    context = copy_context(
        # The call begins above.
    )
    assert context.frames[0].lineno == here() - 3


def test_max_frames_keeps_the_innermost():
    def deep(n):
        return deep(n - 1) if n else capture()

    set_default_capture(max_frames=3)
    snapshot = deep(500)
    assert [f.name for f in snapshot.frames] == ["deep"] * 3
    assert [f.locals["n"] for f in snapshot.frames] == [0, 1, 2]
    assert snapshot.more_frames
    set_default_capture(max_frames=10000)
    assert not deep(100).more_frames


def test_capture_in_a_thread_has_that_thread():
    result = []
    thread = threading.Thread(target=lambda: result.append((capture(), threading.get_ident())), name="worker-7")
    thread.start()
    thread.join()
    (snapshot, ident), = result
    assert snapshot.thread_name == "worker-7"
    assert snapshot.thread_id == ident
    assert snapshot.frames[0].name == "<lambda>"
    assert snapshot.frames[-1].name == "_bootstrap"


def test_thread_that_threading_does_not_know_has_no_name():
    import _thread

    done, result = threading.Event(), []

    def run():
        result.append(capture())
        done.set()

    _thread.start_new_thread(run, ())
    assert done.wait(10)
    assert result[0].thread_name is None
    assert result[0].thread_id not in threading._active


def test_nothing_captured():
    set_default_capture("none")
    context = copy_context()
    assert context.snapshot is None
    assert context.frames == () and context.native_frames == () and context.thread_state is None
    assert context.parent is None


def test_stack_alone_has_no_locals():
    secret = "not kept"
    snapshot = capture(STACK)
    assert snapshot.captured == ("stack",)
    assert snapshot.frames[0].locals is None
    assert snapshot.native_frames == () and snapshot.thread_state is None


def test_frames_of_this_package_are_left_out():
    namespace = {"__name__": "xctx._something", "capture": capture}
    exec("def call():\n return capture()", namespace)
    assert namespace["call"]().frames[0].name == "test_frames_of_this_package_are_left_out"


# ---- locals ----


def test_locals_are_those_of_the_copy():
    a, b = 1, [1]
    context = copy_context()
    a, c = 2, 3
    b.append(2)
    locals_ = context.frames[0].locals
    assert locals_["a"] == 1 and "c" not in locals_
    assert locals_["b"] is b, "the mapping is copied, the objects are not"
    assert context.frames[0].locals is not context.frames[0].locals
    context.frames[0].locals.clear()
    assert context.frames[0].locals["a"] == 1


def test_capture_leaves_the_frame_alone():
    def function():
        x = 1
        frame = sys._getframe()
        namespace = frame.f_locals
        x = 2
        before = dict(namespace)
        capture()
        return before, dict(namespace), frame.f_trace

    before, after, trace = function()
    before.pop("before", None)
    after.pop("before", None)
    assert trace is None
    if sys.version_info < (3, 13):
        assert before == after and after["x"] == 1, "the dictionary of the frame was not written"


def test_parameters_of_all_kinds():
    def function(a, /, b, *args, c, **kwargs):
        return capture()

    assert function(1, 2, 3, c=4, d=5).frames[0].locals == {"a": 1, "b": 2, "args": (3,), "c": 4, "kwargs": {"d": 5}}


def test_unbound_names_are_absent():
    def function():
        if False:
            never = 1
        gone = 1
        del gone
        return capture()

    assert function().frames[0].locals == {}


def test_cells_and_free_variables():
    def outer(argument):
        own = "own"

        def inner():
            here = "here"
            return capture(), own, argument

        return inner()[0]

    snapshot = outer("argument")
    assert snapshot.frames[0].locals == {"here": "here", "own": "own", "argument": "argument"}
    outer_locals = snapshot.frames[1].locals
    assert outer_locals["own"] == "own" and outer_locals["argument"] == "argument" and callable(outer_locals["inner"])


def test_cell_that_is_changed_later_shows_the_value_at_the_copy():
    def function():
        value = 1

        def change():
            nonlocal value
            value = 2

        snapshot = capture()
        change()
        return snapshot, value

    snapshot, value = function()
    assert value == 2 and snapshot.frames[0].locals["value"] == 1


def test_a_local_that_is_a_cell_object_is_itself():
    def closure():
        x = 1
        return (lambda: x).__closure__[0]

    def function(cell):
        return capture()

    cell = closure()
    assert function(cell).frames[0].locals["cell"] is cell


def test_empty_cell():
    def function():
        def inner():
            return capture(), later

        try:
            inner()
        except NameError:
            pass
        result = inner.__code__ and probe(inner)
        later = 1
        return result

    def probe(inner):
        return capture()

    snapshot = function()
    assert "later" not in snapshot.frames[1].locals


def test_comprehension_shows_its_variable():
    def function():
        outer = "outer"
        return [capture() for item in [5]][0]

    snapshot = function()
    assert snapshot.frames[0].locals["item"] == 5
    names = [name for frame in snapshot.frames for name in frame.locals or ()]
    assert not [name for name in names if name.startswith(".")]
    assert any((frame.locals or {}).get("outer") == "outer" for frame in snapshot.frames[:2])


def test_generator_frame_and_its_consumer():
    def generator():
        state = "running"
        yield capture()

    def consumer():
        mine = 1
        return next(generator())

    snapshot = consumer()
    assert [f.name for f in snapshot.frames[:2]] == ["generator", "consumer"]
    assert snapshot.frames[0].locals == {"state": "running"}
    assert snapshot.frames[1].locals["mine"] == 1


def test_delegating_generators():
    def inner():
        x = 1
        yield capture()

    def outer():
        y = 2
        yield from inner()

    assert [f.name for f in next(outer()).frames[:2]] == ["inner", "outer"]


def test_coroutines_and_task_name():
    async def inner(x):
        await asyncio.sleep(0)
        return capture()

    async def outer():
        y = 2
        return await inner(1)

    async def main():
        return await asyncio.get_running_loop().create_task(outer(), name="job-1")

    snapshot = asyncio.run(main())
    assert snapshot.task_name == "job-1"
    assert [f.name for f in snapshot.frames[:2]] == ["inner", "outer"]
    assert snapshot.frames[0].locals == {"x": 1} and snapshot.frames[1].locals["y"] == 2
    assert capture().task_name is None


def test_class_body():
    class Body:
        value = 1
        snapshot = capture()
        later = 2

        def method(self):
            pass

    locals_ = Body.snapshot.frames[0].locals
    assert Body.snapshot.frames[0].name == "Body"
    assert locals_["value"] == 1 and "later" not in locals_


def test_class_body_with_a_dict_subclass_runs_none_of_its_code():
    class Namespace(dict):
        armed = False

        def refuse(self, *args):
            if Namespace.armed:
                raise AssertionError("called at the capture")
            return dict.__getitem__(self, *args)

        __getitem__ = __iter__ = keys = items = __len__ = __contains__ = refuse

    namespace = Namespace(capture=capture, x=1, Namespace=Namespace)
    exec("Namespace.armed = False\ny = 2\nresult = capture()", {"__builtins__": {}}, namespace)
    snapshot = dict.get(namespace, "result")
    assert snapshot.frames[0].locals["x"] == 1 and snapshot.frames[0].locals["y"] == 2


def test_namespace_that_is_no_dict_is_not_asked():
    class Mapping:
        asked = 0

        def __getitem__(self, key):
            if key == "capture":
                return capture
            raise KeyError(key)

        def __setitem__(self, key, value):
            self.result = value

        def keys(self):
            self.asked += 1
            return []

    mapping = Mapping()
    exec("result = capture()", {}, mapping)
    assert mapping.result.frames[0].locals is None
    assert mapping.asked == 0


def test_module_without_noise():
    namespace = {"__name__": "some", "capture": capture, "os": os, "number": 1, "_private": 2, "__version__": "1"}
    exec(compile("class C: pass\ndef f(): pass\nresult = capture()", "some.py", "exec"), namespace)
    frame = namespace["result"].frames[0]
    assert frame.name == "<module>" and frame.filename == "some.py" and frame.lineno == 3
    assert frame.locals == {"number": 1, "_private": 2}


def test_large_namespace_is_cut():
    namespace = {"name%d" % i: i for i in range(5000)}
    namespace["capture"] = capture
    exec("result = capture()", namespace)
    assert len(namespace["result"].frames[0].locals) == 256


def test_exec_with_separate_locals():
    namespace = {}
    exec("x = 5\nresult = capture()", {"capture": capture}, namespace)
    assert namespace["result"].frames[0].locals == {"x": 5}


@pytest.mark.skipif(sys.version_info < (3, 13), reason="PEP 667 is of Python 3.13")
def test_proxy_of_the_frame_is_seen():
    def function():
        x = 1
        sys._getframe().f_locals["x"] = 2
        return capture()

    assert function().frames[0].locals == {"x": 2}


def test_capture_in_a_finalizer_and_in_trace_functions():
    results = []

    class Last:
        def __del__(self):
            results.append(capture())

    def function():
        last = Last()
        last = None

    function()
    assert [f.name for f in results[0].frames[:2]] == ["__del__", "function"]
    names = []

    def trace(frame, event, arg):
        names.append(capture(STACK | LOCALS).frames[1].name)
        return None

    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(None)
    assert "function" in names
