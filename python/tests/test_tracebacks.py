# SPDX-License-Identifier: MIT
"""Tracebacks that go on where the work was submitted: what programs print, and format_exception()."""
import io
import os
import re
import subprocess
import sys
import textwrap
import traceback

import pytest

import xctx

HERE = os.path.dirname(os.path.dirname(os.path.abspath(xctx.__file__)))


def run(program, *options, tmp_path, status=0):
    """What a program writes to its standard error."""
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(program))
    environment = dict(os.environ, PYTHONPATH=HERE, PYTHONDONTWRITEBYTECODE="1")
    environment.pop("XCTX_PYTHON_CAPTURE", None)
    command = [sys.executable, *options, str(path)]
    done = subprocess.run(command, env=environment, timeout=60, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == status, done.stderr.decode()
    return done.stderr.decode()


def after_traceback(text, exception):
    """The lines after that of the exception."""
    before, found, after = text.partition("\n%s\n" % exception)
    assert found, text
    assert before.count("Traceback (most recent call last):") == 1
    return after


# ---- what programs print ----


def test_a_threads_traceback_goes_on(tmp_path):
    text = run(
        """
        import threading, xctx
        xctx.install()
        def work():
            raise ValueError("boom")
        def submits():
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        submits()
        """,
        tmp_path=tmp_path,
    )
    after = after_traceback(text, "ValueError: boom").splitlines()
    path = str(tmp_path / "program.py")
    assert after == [
        "The work was submitted by thread 'MainThread' here (most recent call last):",
        '  File "%s", line 10, in <module>' % path,
        "    submits()",
        '  File "%s", line 8, in submits' % path,
        "    thread.start()",
    ]


def test_a_chain_of_threads_is_followed(tmp_path):
    text = run(
        """
        import threading, xctx
        xctx.install()
        def run(function, name):
            thread = threading.Thread(target=function, name=name)
            thread.start()
            thread.join()
        def third():
            raise ValueError("boom")
        def second():
            run(third, "three")
        def first():
            run(second, "two")
        run(first, "one")
        """,
        tmp_path=tmp_path,
    )
    after = after_traceback(text, "ValueError: boom")
    assert re.findall(r"(.*) was submitted by (.*) here", after) == [
        ("The work", "thread 'two'"),
        ("That", "thread 'one'"),
        ("That", "thread 'MainThread'"),
    ]
    assert re.findall(r"in (first|second|third|<module>)\n", after) == ["second", "first", "<module>"]


def test_chains_are_bounded(tmp_path):
    text = run(
        """
        import threading, xctx
        xctx.install()
        def work(n):
            if n == 0:
                raise ValueError("boom")
            thread = threading.Thread(target=work, args=(n - 1,))
            thread.start()
            thread.join()
        work(100)
        """,
        tmp_path=tmp_path,
    )
    assert 10 < text.count("was submitted by") <= 17


def test_an_executors_exception_goes_on_when_the_waiter_fails(tmp_path):
    text = run(
        """
        import concurrent.futures, xctx
        xctx.install()
        def work():
            raise ValueError("boom")
        def submits(executor):
            return executor.submit(work)
        def waits(future):
            return future.result()
        executor = concurrent.futures.ThreadPoolExecutor(1)
        waits(submits(executor))
        """,
        tmp_path=tmp_path,
        status=1,
    )
    after = after_traceback(text, "ValueError: boom")
    assert "The work was submitted by thread 'MainThread' here" in after
    assert "in submits\n" in after and "in waits" not in after


def test_locals_are_shown_if_wanted(tmp_path):
    program = """
        import threading, xctx
        xctx.install(%s)
        class Bad:
            def __repr__(self):
                raise RuntimeError("no repr")
        def work():
            raise ValueError("boom")
        def submits(number, bad):
            long = "x" * 5000
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        submits(42, Bad())
    """
    with_them = run(program % "locals=True", tmp_path=tmp_path)
    assert "    number = 42\n" in with_them
    assert "    bad = <repr raised RuntimeError>\n" in with_them
    assert max(map(len, with_them.splitlines())) < 400
    assert "number" not in after_traceback(run(program % "", tmp_path=tmp_path), "ValueError: boom").replace(
        "submits(number", ""
    )


def test_asyncios_report_goes_on(tmp_path):
    text = run(
        """
        import asyncio, gc, xctx
        xctx.install()
        async def work():
            raise ValueError("boom")
        def submits():
            asyncio.ensure_future(work())
        async def main():
            submits()
            await asyncio.sleep(0.01)
            gc.collect()
        asyncio.run(main())
        """,
        tmp_path=tmp_path,
    )
    assert text.startswith("Task exception was never retrieved")
    after = after_traceback(text, "ValueError: boom")
    assert after.startswith("The work was submitted by task 'Task-1' in thread 'MainThread' here")
    assert "in submits\n" in after


def test_a_tasks_exception_goes_on_when_the_program_ends_by_it(tmp_path):
    text = run(
        """
        import asyncio, xctx
        xctx.install()
        async def work():
            raise ValueError("boom")
        def submits():
            return asyncio.ensure_future(work())
        async def main():
            await submits()
        asyncio.run(main())
        """,
        tmp_path=tmp_path,
        status=1,
    )
    assert "in submits\n" in after_traceback(text, "ValueError: boom")


@pytest.mark.skipif(sys.version_info < (3, 11), reason="groups of exceptions are new in 3.11")
def test_the_members_of_a_group_are_named(tmp_path):
    text = run(
        """
        import asyncio, xctx
        xctx.install()
        async def one():
            raise ValueError("first")
        async def two():
            raise KeyError("second")
        async def main():
            async with asyncio.TaskGroup() as group:
                group.create_task(one())
                group.create_task(two())
        asyncio.run(main())
        """,
        tmp_path=tmp_path,
        status=1,
    )
    assert "The work that raised ValueError: first was submitted by task 'Task-1'" in text
    assert "The work that raised KeyError: 'second' was submitted by task 'Task-1'" in text


def test_causes_are_named(tmp_path):
    text = run(
        """
        import concurrent.futures, xctx
        xctx.install()
        def work():
            raise ValueError("boom")
        try:
            concurrent.futures.ThreadPoolExecutor(1).submit(work).result()
        except ValueError as error:
            raise RuntimeError("outer") from error
        """,
        tmp_path=tmp_path,
        status=1,
    )
    assert "The work that raised ValueError: boom was submitted by thread 'MainThread' here" in text


@pytest.mark.parametrize("which", ["sys", "threading"])
def test_a_hook_of_the_program_is_called_and_is_in_charge(which, tmp_path):
    text = run(
        """
        import concurrent.futures, sys, threading, xctx
        def hook(*args):
            error = args[1] if len(args) == 3 else args[0].exc_value
            sys.stderr.write("mine: %%r\\n" %% error)
        %s.excepthook = hook
        xctx.install()
        def work():
            raise ValueError("boom")
        if "%s" == "threading":
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
            sys.exit(1)
        concurrent.futures.ThreadPoolExecutor(1).submit(work).result()
        """
        % (which, which),
        tmp_path=tmp_path,
        status=1,
    )
    assert text == "mine: ValueError('boom')\n"


def test_what_is_left_of_a_hook_after_uninstall_adds_nothing(tmp_path):
    text = run(
        """
        import sys, threading, xctx
        xctx.install()
        before_threads, before = threading.excepthook, sys.excepthook
        threading.excepthook = lambda args: before_threads(args)
        sys.excepthook = lambda *args: before(*args)
        xctx.uninstall()
        def work():
            raise ValueError("boom")
        thread = xctx.Thread(target=work)
        thread.start()
        thread.join()
        xctx.bind(work)()
        """,
        tmp_path=tmp_path,
        status=1,
    )
    assert text.count("ValueError: boom\n") == 2 and "submitted" not in text


def test_nothing_is_added_where_nothing_is_known(tmp_path):
    text = run(
        """
        import threading, xctx
        xctx.install()
        xctx.uninstall()
        def work():
            raise ValueError("boom")
        threading.Thread(target=work).start()
        """,
        tmp_path=tmp_path,
    )
    assert text.endswith("ValueError: boom\n")
    text = run("import xctx; xctx.install(); raise ValueError('boom')", tmp_path=tmp_path, status=1)
    assert text.endswith("ValueError: boom\n")


def test_a_failing_report_does_not_hide_the_original(tmp_path):
    text = run(
        """
        import threading, xctx, xctx._tracebacks
        xctx.install()
        def fail(*args):
            raise MemoryError
        xctx._tracebacks.format_chain = fail
        def work():
            raise ValueError("boom")
        threading.Thread(target=work).start()
        """,
        tmp_path=tmp_path,
    )
    assert text.endswith("ValueError: boom\nxctx: cannot say where the work was submitted: MemoryError\n")


def test_system_exit_and_interrupts_stay_what_they_are(tmp_path):
    text = run(
        """
        import concurrent.futures, sys, threading, xctx
        xctx.install()
        thread = threading.Thread(target=sys.exit, args=(5,))
        thread.start()
        thread.join()
        try:
            concurrent.futures.ThreadPoolExecutor(1).submit(sys.exit, 3).result()
        except SystemExit as error:
            sys.exit(error.code)
        """,
        tmp_path=tmp_path,
        status=3,
    )
    assert text == ""


def test_an_interrupt_ends_the_program(tmp_path):
    import signal

    text = run(
        """
        import os, signal, threading, time, xctx
        signal.signal(signal.SIGINT, signal.default_int_handler)  # who started the tests may ignore it
        xctx.install()
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(10)
        """,
        tmp_path=tmp_path,
        status=-signal.SIGINT,
    )
    assert text.endswith("KeyboardInterrupt\n")


def test_daemon_threads_at_the_end_of_the_program(tmp_path):
    for _ in range(5):
        text = run(
            """
            import concurrent.futures, threading, time, xctx
            xctx.install()
            def work():
                while True:
                    threading.Thread(target=time.sleep, args=(0.001,), daemon=True).start()
            for _ in range(3):
                threading.Thread(target=work, daemon=True).start()
            time.sleep(0.1)
            """,
            tmp_path=tmp_path,
        )
        assert "Fatal" not in text and "Segmentation" not in text


def test_no_standard_error(tmp_path):
    run(
        """
        import sys, threading, xctx
        xctx.install()
        sys.stderr = None
        thread = threading.Thread(target=divmod, args=(1, 0))
        thread.start()
        thread.join()
        """,
        tmp_path=tmp_path,
    )


# ---- format_exception() ----


def caught_in_a_worker(report):
    found = []

    def work():
        try:
            raise ValueError("boom")
        except ValueError:
            found.append(report())

    def submits():
        thread = xctx.Thread(target=work, name="worker")
        thread.start()
        thread.join()

    submits()
    return found[0]


def test_format_exception_in_a_worker_goes_on():
    lines = caught_in_a_worker(xctx.format_exception)
    assert all(line.endswith("\n") for line in lines)
    text = "".join(lines)
    assert text.startswith("Traceback (most recent call last):")
    assert "ValueError: boom\nThe work was submitted by thread 'MainThread' here (most recent call last):\n" in text
    assert "in submits\n" in text


def test_print_exception_prints_that():
    file = io.StringIO()
    caught_in_a_worker(lambda: xctx.print_exception(file=file))
    assert "ValueError: boom\nThe work was submitted" in file.getvalue()


def test_format_exception_is_tracebacks_where_nothing_is_known():
    try:
        raise ValueError("boom")
    except ValueError as error:
        expected = traceback.format_exception(type(error), error, error.__traceback__)
        assert xctx.format_exception() == expected == xctx.format_exception(error)
        limited = xctx.format_exception(error, limit=0)
        assert limited == traceback.format_exception(type(error), error, error.__traceback__, 0)
    assert xctx.format_exception() == ["NoneType: None\n"]
    with pytest.raises(TypeError, match="exception"):
        xctx.format_exception(5)


def test_format_exception_survives_cycles_and_strange_exceptions():
    class Strange(Exception):
        exceptions = 5

        def __str__(self):
            raise RuntimeError

    first, second = Strange(), Strange()
    first.__cause__, second.__cause__ = second, first

    def fail():
        raise first

    with pytest.raises(Strange):
        xctx.bind(fail)()
    assert "The work was submitted" in "".join(xctx.format_exception(first))
    assert "The work that raised" in "".join(xctx.format_exception(second))


def test_repeated_frames_are_not_repeated():
    def deep(n):
        return xctx.bind(divmod) if n == 0 else deep(n - 1)

    with pytest.raises(ZeroDivisionError) as info:
        deep(40)(1, 0)
    text = "".join(xctx.format_exception(info.value))
    assert "Previous line repeated" in text
    assert text.count("in deep") < 10
