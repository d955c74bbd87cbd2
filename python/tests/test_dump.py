# SPDX-License-Identifier: MIT
"""dump() and register_dump()."""
import contextvars
import io
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

import xctx

ours = xctx.ContextVar("request_id")
foreign = contextvars.ContextVar("foreign")
HERE = os.path.dirname(os.path.dirname(os.path.abspath(xctx.__file__)))


class Loud:
    def __repr__(self):
        raise AssertionError("a dump calls nobody's code")


def a_waiting_worker(function):
    """Calls the function while a thread waits, whose context has variables."""
    ready, stop = threading.Event(), threading.Event()

    def waits():
        ours.set("r-17")
        foreign.set([1, Loud(), {"key": "x" * 1000}, {5, 6}, 10**5000])
        ready.set()
        stop.wait(30)

    def submits():
        thread = xctx.Thread(target=waits, name="the worker", daemon=True)
        thread.start()
        return thread

    thread = submits()
    ready.wait(30)
    try:
        return function()
    finally:
        stop.set()
        thread.join()


def dumped():
    file = io.StringIO()
    xctx.dump(file)
    return file.getvalue()


def test_dump_shows_threads_contexts_and_submitters():
    text = a_waiting_worker(dumped)
    worker = [part for part in text.split("\n\n") if part.startswith("Thread 'the worker'")]
    assert len(worker) == 1
    worker = worker[0]
    assert "in waits\n" in worker and "stop.wait(30)" in worker
    assert "  Variables of its context:\n" in worker
    assert "    request_id = 'r-17'\n" in worker
    assert "Loud object at 0x" in worker and "set of 2" in worker
    assert max(map(len, worker.splitlines())) < 400
    assert "  Its work was submitted by thread 'MainThread' here (most recent call last):\n" in worker
    assert "in submits" in worker
    assert "in dumped\n" in [part for part in text.split("\n\n") if part.startswith("Thread 'MainThread'")][0]
    assert "xctx/_dump.py" not in text


def test_dump_writes_to_standard_error(capsys):
    xctx.dump()
    assert "in test_dump_writes_to_standard_error" in capsys.readouterr().err


def test_dump_reads_contexts_that_are_changing():
    stop = threading.Event()

    def change():
        i = 0
        while not stop.is_set():
            i += 1
            xctx.copy_context().run(lambda: (ours.set(str(i)), foreign.set(i)))
            ours.set(i)

    xctx.set_default_capture("none")
    threads = [xctx.Thread(target=change) for _ in range(3)]
    try:
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 0.5
        while time.monotonic() < deadline:
            assert "in change" in dumped()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        xctx.set_default_capture()


def test_threads_come_and_go_while_dumping():
    stop = threading.Event()

    def spawn():
        while not stop.is_set():
            thread = xctx.Thread(target=len, args=((),))
            thread.start()
            thread.join()

    threads = [threading.Thread(target=spawn) for _ in range(3)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 0.5
    while time.monotonic() < deadline:
        dumped()
    stop.set()
    for thread in threads:
        thread.join()


# ---- on a signal ----


def wait_for(file, text):
    deadline = time.monotonic() + 20
    while text not in file.getvalue() and time.monotonic() < deadline:
        time.sleep(0.01)
    return file.getvalue()


def test_register_dump_dumps_on_the_signal_until_unregistered():
    before = []
    old = signal.signal(signal.SIGUSR1, lambda *args: before.append(args))
    file = io.StringIO()
    try:
        xctx.register_dump(signal.SIGUSR1, file=file)
        xctx.register_dump(signal.SIGUSR1, file=file)

        def kill():
            os.kill(os.getpid(), signal.SIGUSR1)
            return wait_for(file, "request_id = 'r-17'")

        assert "request_id = 'r-17'" in a_waiting_worker(kill)
        assert not before
        assert xctx.unregister_dump(signal.SIGUSR1)
        assert not xctx.unregister_dump(signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGUSR1)
        deadline = time.monotonic() + 10
        while not before and time.monotonic() < deadline:
            time.sleep(0.01)
        assert before  # what handled it before does again
    finally:
        xctx.unregister_dump(signal.SIGUSR1)
        signal.signal(signal.SIGUSR1, old)


@pytest.mark.parametrize("bad", [0, 100000, -1, signal.SIGKILL, signal.SIGSEGV, "USR1"])
def test_register_dump_refuses_signals_that_cannot_be_used(bad):
    with pytest.raises((ValueError, OSError)):
        xctx.register_dump(bad)


def test_register_dump_refuses_what_is_no_file():
    with pytest.raises(TypeError, match="write"):
        xctx.register_dump(signal.SIGUSR1, file=5)


def run(program):
    environment = dict(os.environ, PYTHONPATH=HERE)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env=environment,
        timeout=60,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def test_dump_while_the_main_thread_waits_in_c():
    text = run(
        """
        import ctypes, os, signal, sys, threading, time, xctx
        reader, writer = os.pipe()
        class File:
            def write(self, text):
                sys.stdout.write(text)
                os.write(writer, b"x")
        xctx.register_dump(signal.SIGUSR1, file=File())
        libc = ctypes.CDLL(None)
        buffer = ctypes.create_string_buffer(1)
        def signals():
            time.sleep(0.3)
            os.kill(os.getpid(), signal.SIGUSR1)
        def waits_in_c():
            # Not interrupted by the signal: a handler in Python would not run before there is something to read.
            libc.read(reader, buffer, 1)
        threading.Thread(target=signals).start()
        waits_in_c()
        """
    )
    assert "in waits_in_c" in text


@pytest.mark.not_under("asan", reason="a fork() while another thread starts may leave a lock of the allocator held")
def test_a_forked_child_dumps_itself():
    text = run(
        """
        import os, signal, sys, time, xctx
        reader, writer = os.pipe()
        class File:
            def write(self, text):
                os.write(1, text.encode())
                os.write(writer, b"dumped")
        xctx.register_dump(signal.SIGUSR1, file=File())
        child = os.fork()
        if child == 0:
            def in_the_child():
                os.write(writer, b"r")
                time.sleep(60)
            in_the_child()
        os.read(reader, 1)
        os.kill(child, signal.SIGUSR1)
        os.read(reader, 6)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        """
    )
    assert text.count("in in_the_child") == 1 and "waitpid" not in text


def test_descriptors_that_the_program_has_closed_are_left_alone():
    """Daemons close whatever is open. What has the pipe's numbers then is not written to, nor read, nor closed."""
    text = run(
        """
        import os, signal, sys, xctx
        before = len(os.listdir("/proc/self/fd"))
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        xctx.register_dump()
        os.closerange(3, 20)
        files = [os.memfd_create("file%d" % number) for number in range(17)]
        for file in files:
            os.write(file, b"1234")
            os.lseek(file, 0, os.SEEK_SET)

        def check(text):
            for file in files:
                assert os.fstat(file).st_size == 4 and os.lseek(file, 0, os.SEEK_CUR) == 0
            print(text, flush=True)

        os.kill(os.getpid(), signal.SIGUSR1)
        check("signal")
        if os.fork() == 0:
            check("child")
            os.kill(os.getpid(), signal.SIGUSR1)
            check("signal in the child")
            os._exit(0)
        assert os.wait()[1] == 0
        xctx.unregister_dump()
        check("unregistered")
        for file in files:
            os.close(file)
        assert len(os.listdir("/proc/self/fd")) == before
        """
    )
    assert text.splitlines() == ["signal", "child", "signal in the child", "unregistered"]


def test_the_program_ends_with_signals_registered():
    assert run("import xctx; xctx.register_dump(); print('end')") == "end\n"


@pytest.mark.parametrize("redact", [["*password*", "request_id"], lambda name, value: name in ("password", "request_id")])
def test_secrets_are_not_in_dumps(redact):
    before = xctx.get_default_capture()

    def submits(password):
        return xctx.copy_context()

    def body():
        ours.set("-".join(["s", "4711"]))
        file = io.StringIO()
        submits("".join(["ge", "heim"])).run(xctx.dump, file)
        return file.getvalue()

    xctx.set_default_capture("locals", redact=redact)
    try:
        text = contextvars.copy_context().run(body)
    finally:
        xctx.set_default_capture(**before)
    assert "s-4711" not in text and "geheim" not in text
    assert "request_id = <redacted>" in text and "password = <redacted>" in text
