# SPDX-License-Identifier: MIT
"""The native stack and the thread's state in snapshots."""
import os
import subprocess
import sys
import threading

import pytest

import xctx
from support import STATE, capture, needs_inspect
from xctx import copy_context

pytestmark = pytest.mark.usefixtures("default_capture")


@needs_inspect
def test_native_frames():
    context = copy_context()
    names = [frame.function for frame in context.native_frames]
    assert "xctx_capture" in names and any("EvalFrame" in name for name in names)
    frame = context.native_frames[names.index("xctx_capture")]
    assert frame.name == "xctx_capture" and frame.file.endswith("capture.c") and frame.line > 0
    assert os.path.basename(frame.module).startswith("_xctx.")
    flags = [local for local in frame.locals if local.name == "flags"][0]
    assert flags.parameter and flags.type == "unsigned int" and flags.source
    assert context.native_frames is context.native_frames, "decoded once"
    assert "xctx_capture at" in repr(frame)


@needs_inspect
def test_native_frames_after_the_thread_has_ended():
    result = []
    thread = threading.Thread(target=lambda: result.append(copy_context()))
    thread.start()
    thread.join()
    names = [frame.function for frame in result[0].native_frames]
    assert "xctx_capture" in names and "start_thread" in names


@needs_inspect
def test_native_stack_that_is_deeper_than_what_is_captured():
    def deep(n):
        return max([n], key=lambda _: result.append(copy_context()) if not n else deep(n - 1))

    result = []
    deep(60)
    assert any("stack" in note for note in result[0].native_frames.notes)
    assert result[0].native_frames.notes[0] in " ".join(result[0].format().split())


def test_without_the_decoder_everything_else_works(monkeypatch):
    monkeypatch.setitem(sys.modules, "xctx._inspect", None)
    monkeypatch.delattr(xctx, "_inspect", raising=False)
    context = copy_context()
    with pytest.raises(ImportError, match="libdw"):
        context.native_frames
    text = context.format()
    assert "libdw" in text and "Python stack" in text and "Thread state" in text
    assert "libdw" in context._repr_html_()


def test_thread_state():
    import signal

    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    try:
        state = copy_context().thread_state
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert signal.SIGUSR2 in state.signal_mask
    assert state.pid == os.getpid() and state.tid == threading.get_native_id()
    assert state.affinity == os.sched_getaffinity(0)
    assert state.nice == os.nice(0) and state.policy == "other"
    assert state.rounding_mode == "to-nearest"
    assert isinstance(state.locale, str) and isinstance(state.errno, int)
    assert "SIGUSR2" in repr(state) and "tid=%d" % state.tid in repr(state)
    assert state == state and not state == 1
    assert copy_context().thread_state != state


def test_state_alone():
    snapshot = capture(STATE)
    assert snapshot.captured == ("state",) and snapshot.frames == ()
    assert snapshot.thread_state.tid == threading.get_native_id()


def test_capture_in_a_forked_child():
    copy_context()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            context = copy_context()
            if context.thread_state.pid == os.getpid() and context.snapshot.thread_name == "MainThread":
                status = 0
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0


def test_capture_while_python_shuts_down():
    script = """if True:
        import atexit, builtins, os, sys, xctx
        class Last:
            def __init__(self, name):
                self.name = name
            def __del__(self, copy_context=xctx.copy_context, write=os.write, len=len, ImportError=ImportError):
                context = copy_context()
                write(1, b"%s %d\\n" % (self.name, len(context.frames)))
                try:
                    context.format()
                except ImportError:
                    pass
        atexit.register(lambda: xctx.copy_context().format())
        a, sys.b, xctx.c, builtins.d = Last(b"main"), Last(b"sys"), Last(b"xctx"), Last(b"builtins")
        """
    result = subprocess.run(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60
    )
    assert result.returncode == 0 and result.stderr == b""
    assert b"main 1\n" in result.stdout and b"xctx 1\n" in result.stdout


def test_deep_nest_of_snapshots_is_freed():
    script = """if True:
        import xctx
        xctx.set_default_capture("locals", max_kept=10**6)
        class Holder: pass
        def function():
            last = None
            for _ in range(50000):
                holder = Holder()
                holder.context = xctx.copy_context()
                last = holder
            return last
        last = function()
        last = None
        """
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
