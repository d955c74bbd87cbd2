# SPDX-License-Identifier: MIT
"""python -m xctx runs programs as python does."""
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
import zipfile

import pytest

import xctx

HERE = os.path.dirname(os.path.dirname(os.path.abspath(xctx.__file__)))

FACTS = """
import sys, __main__
print(__name__, sys.argv, sys.path[0] if sys.path else None, __package__)
print(sorted(globals()), __file__, type(__loader__).__name__, type(__spec__).__name__, __doc__)
print(__main__.__dict__ is globals())
class Thing: pass
import pickle
print(type(pickle.loads(pickle.dumps(Thing()))) is Thing)
"""


def python(*arguments, cwd, stdin=b"", **environment):
    environment = dict(os.environ, PYTHONPATH=HERE, PYTHONDONTWRITEBYTECODE="1", **environment)
    environment.pop("XCTX_PYTHON_CAPTURE", None)
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=str(cwd),
        env=environment,
        input=stdin,
        timeout=60,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def same(*arguments, cwd, stdin=b"", options=(), **environment):
    """Runs a program without and with us: it cannot tell, but for where the work was submitted."""
    plain = python(*arguments, cwd=cwd, stdin=stdin, **environment)
    ours = python("-m", "xctx", *options, *arguments, cwd=cwd, stdin=stdin, **environment)
    assert ours.stdout.decode() == plain.stdout.decode()
    added = ours.stderr.decode().partition("The work was submitted")
    assert added[0] == plain.stderr.decode()
    assert ours.returncode == plain.returncode
    return ours


@pytest.fixture
def script(tmp_path):
    def write(text, name="script.py"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(textwrap.dedent(text))
        return name

    write.path = tmp_path
    return write


# ---- as the interpreter ----


def test_a_script_sees_what_it_sees_without(script):
    done = same(script("'''Its doc.'''" + FACTS), "a", "-b", "--locals", cwd=script.path)
    assert "['script.py', 'a', '-b', '--locals']" in done.stdout.decode()
    script("import beside; print(beside.x)", "folder/s.py")
    script("x = 5", "folder/beside.py")
    assert same("folder/s.py", cwd=script.path).stdout == b"5\n"


def test_a_link_to_a_script(script):
    script("import beside; print(beside.x)", "folder/s.py")
    script("x = 5", "folder/beside.py")
    os.symlink("folder/s.py", str(script.path / "link.py"))
    assert same("link.py", cwd=script.path).stdout == b"5\n"


def test_a_module(script):
    script("x = 5", "package/__init__.py")
    script(FACTS + "from . import x; print(x)", "package/program.py")
    script(FACTS, "package/__main__.py")
    same("-m", "package.program", "a", "-b", cwd=script.path)
    same("-m", "package", "--help", cwd=script.path)
    done = python("-m", "xctx", "-mpackage", "x", cwd=script.path)
    assert done.returncode == 0 and b"__main__" in done.stdout


def test_a_folder_and_a_zip_file(script):
    script(FACTS.replace("__spec__", "None") + "import beside", "app/__main__.py")
    script("print('beside')", "app/beside.py")
    same("app", "a", cwd=script.path)
    with zipfile.ZipFile(str(script.path / "app.zip"), "w") as file:
        for name in ("__main__.py", "beside.py"):
            file.write(str(script.path / "app" / name), name)
    same("app.zip", "a", cwd=script.path)


def test_standard_input(script):
    done = python("-m", "xctx", "-", "a", cwd=script.path, stdin=b"import sys; print(__name__, sys.argv)")
    assert done.stdout == b"__main__ ['-', 'a']\n"


def test_byte_code(script):
    import py_compile

    py_compile.compile(str(script.path / script("print('compiled')")), cfile=str(script.path / "script.pyc"))
    assert same("script.pyc", cwd=script.path).stdout == b"compiled\n"


def test_encodings(script):
    (script.path / "latin.py").write_bytes(b"# -*- coding: latin-1 -*-\nprint(ascii('\xe4'))\n")
    assert b"xe4" in same("latin.py", cwd=script.path).stdout


@pytest.mark.parametrize(
    "end",
    [
        "raise SystemExit",
        "raise SystemExit(7)",
        "raise SystemExit('a message')",
        "import sys; sys.exit(3)",
        "import os; os._exit(4)",
        "raise ValueError('boom')",
        "def f():\n    1 / 0\nf()",
        "import nothing_like_this",
        "try:\n    {}['x']\nexcept KeyError:\n    raise RuntimeError",
        "def broken(:",
        "raise KeyboardInterrupt",
        "import os, signal, time; os.kill(os.getpid(), signal.SIGINT); time.sleep(5)",
        "import sys\ndef hook(*args): print('hook', args[0], args[2].tb_lineno)\nsys.excepthook = hook\n1 / 0",
        "import atexit\natexit.register(print, 'at the end')\n1 / 0",
        "import threading, time\nthreading.Thread(target=lambda: (time.sleep(.1), print('thread'))).start()\n1 / 0",
    ],
)
def test_ends_as_without(end, script):
    same(script(end), cwd=script.path)


def test_a_hook_that_fails(script):
    name = script("import sys\ndef hook(*args): 1 / 0\nsys.excepthook = hook\nraise ValueError")
    done = python("-m", "xctx", name, cwd=script.path)
    assert done.returncode == 1
    assert b"Error in sys.excepthook" in done.stderr and b"ValueError" in done.stderr


def test_what_cannot_be_run(script):
    for arguments in (["missing.py"], ["-m", "missing_module"], ["empty_folder"], ["-m", "missing.module"]):
        (script.path / "empty_folder").mkdir(exist_ok=True)
        plain = python(*arguments, cwd=script.path)
        ours = python("-m", "xctx", *arguments, cwd=script.path)
        assert ours.returncode == plain.returncode
        assert len(ours.stderr.splitlines()) == 1 and ours.stderr.split(b": ", 1)[0] == plain.stderr.split(b": ", 1)[0]


def test_a_script_without_permission(script):
    if os.getuid() == 0:
        pytest.skip("root may read everything")
    name = script("print(1)")
    (script.path / name).chmod(0)
    same(name, cwd=script.path)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="safe paths are new in 3.11")
def test_safe_paths(script):
    name = script("import sys; print(sys.path)")
    same(name, cwd=script.path, PYTHONSAFEPATH="1")


def test_processes_started_by_the_program(script):
    name = script(
        """
        import multiprocessing
        def work(n):
            return n * n
        if __name__ == "__main__":
            for method in ("spawn", "fork"):
                with multiprocessing.get_context(method).Pool(1) as pool:
                    print(pool.map(work, [1, 2, 3]))
        """
    )
    assert same(name, cwd=script.path).stdout == b"[1, 4, 9]\n[1, 4, 9]\n"


# ---- what it adds ----

PROGRAM = """
import concurrent.futures, contextvars
variable = contextvars.ContextVar("variable", default=None)
def work():
    raise ValueError(variable.get())
def submits(number):
    variable.set("carried")
    return concurrent.futures.ThreadPoolExecutor(1).submit(work).result()
submits(42)
"""


def test_work_gets_the_context_and_tracebacks_go_on(script):
    done = python("-m", "xctx", script(PROGRAM), cwd=script.path)
    text = done.stderr.decode()
    assert done.returncode == 1
    assert "ValueError: carried\nThe work was submitted by thread 'MainThread' here (most recent call last):\n" in text
    after = text.split("most recent call last):\n")[-1]
    # The first frame is the program's.
    first = r'  File ".*script.py", line 9, in <module>\n    submits\(42\)\n'
    assert re.match(first + r'  File ".*", line 8, in submits\n', after)
    assert "runpy" not in text and "__main__.py" not in text
    assert "number = 42" not in text


@pytest.mark.parametrize("options", [["--locals"], ["--capture=locals"], ["--capture", "stack,locals"]])
def test_locals(options, script):
    done = python("-m", "xctx", *options, script(PROGRAM), cwd=script.path)
    assert b"number = 42" in done.stderr


def test_capture_none(script):
    done = python("-m", "xctx", "--capture=none", script(PROGRAM), cwd=script.path)
    assert done.stderr.decode().endswith("ValueError: carried\n")


def test_dump_on_a_signal(script):
    name = script(
        """
        import time
        print("ready", flush=True)
        def waits():
            time.sleep(20)
        waits()
        """
    )
    environment = dict(os.environ, PYTHONPATH=HERE)
    process = subprocess.Popen(
        [sys.executable, "-m", "xctx", "--dump-on=usr1", name],
        cwd=str(script.path),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert process.stdout.readline() == b"ready\n"
        time.sleep(0.1)
        process.send_signal(signal.SIGUSR1)
        lines = [process.stderr.readline().decode() for _ in range(5)]
    finally:
        process.kill()
        process.communicate()
    assert lines[0].startswith("Thread 'MainThread'") and "in <module>" in lines[1] and "in waits" in lines[3]


# ---- its own options ----


def test_help_and_version(script):
    for option in ("-h", "--help"):
        done = python("-m", "xctx", option, cwd=script.path)
        assert done.returncode == 0 and done.stdout.startswith(b"usage: python -m xctx") and not done.stderr
        assert max(map(len, done.stdout.splitlines())) <= 80
    done = python("-m", "xctx", "--version", cwd=script.path)
    assert done.returncode == 0 and done.stdout.decode() == "xctx %s\n" % xctx.__version__


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["-m"],
        ["--"],
        ["--nothing", "x.py"],
        ["--capture"],
        ["--capture=everything", "x.py"],
        ["--dump-on=NOTHING", "x.py"],
        ["--dump-on=KILL", "x.py"],
        ["-x", "x.py"],
    ],
)
def test_wrong_usage(arguments, script):
    done = python("-m", "xctx", *arguments, cwd=script.path)
    assert done.returncode == 2 and not done.stdout
    assert done.stderr.startswith(b"python -m xctx: ") and len(done.stderr.splitlines()) == 1
