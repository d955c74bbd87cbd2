# SPDX-License-Identifier: MIT
"""The type stubs: mypy accepts uses of every name, and refuses wrong ones."""

import os
import subprocess
import sys

import pytest

import xctx

ACCEPTED = '''
import asyncio
import contextvars
import signal
import sys
from typing import Any, Awaitable, Callable, Dict, Iterator, List, Optional, Tuple

import xctx
from xctx import (Context, ContextVar, Frame, NativeFrame, NativeLocal, Snapshot, Thread, ThreadPoolExecutor,
                  ThreadState, Token, bind, copy_context, dump, format_exception, get_default_capture, get_include,
                  install, print_exception, register_dump, set_default_capture, uninstall, unregister_dump)

user: ContextVar[str] = ContextVar("user")
number: ContextVar[int] = ContextVar("number", default=1, type=int)
plain: "contextvars.ContextVar[int]" = contextvars.ContextVar("plain")
maybe: ContextVar[Optional[str]] = ContextVar("maybe", default=None)
inferred = ContextVar("inferred", default=3)
typed = ContextVar("typed", type=str)
a: str = user.get()
b: Optional[str] = user.get(None)
c: int = number.get(2)
t: Token[str] = user.set("x")
user.reset(t)
with user.set("y") as token:
    v: ContextVar[str] = token.var
    o: Any = token.old_value
    if token.old_value is Token.MISSING:
        pass
context: Context = copy_context()
d: str = context[user]
e: int = context[plain]
f: Optional[str] = context.get(user)
g: str = context.get(user, "z")
h: bool = user in context
n: int = len(context)
for key in context:
    print(key.name)
for key, value in context.items():
    print(key.name, value)
values: List[Any] = list(context.values())
keys = list(context.keys())
copy: Context = context.copy()
def work(x: int, *, y: str = "") -> Dict[str, int]:
    return {y: x}
r: Dict[str, int] = context.run(work, 1, y="a")
snapshot: Optional[Snapshot] = context.snapshot
if snapshot is not None:
    captured: Tuple[str, ...] = snapshot.captured
    frame: Frame = snapshot.frames[0]
    print(frame.name, frame.qualname, frame.filename, frame.lineno, frame.lasti, frame.code.co_name, frame.locals)
    native: NativeFrame = snapshot.native_frames[0]
    local: NativeLocal = native.locals[0]
    print(local.name, local.type, local.value, local.source, local.parameter)
    print(native.function, native.name, native.file, native.line, native.module, native.pc, native.offset, native.inlined)
    state: Optional[ThreadState] = snapshot.thread_state
    parent: Optional[Snapshot] = snapshot.parent
    text: str = snapshot.format(color=True, locals=False, native=False, chain=False, interpreter=True, width=70)
    tree: Dict[str, Any] = snapshot.to_dict()
    print(snapshot.more_frames, snapshot.task_name, snapshot.thread_id, snapshot.thread_name, snapshot.time, snapshot.trimmed)
    html: str = snapshot._repr_html_()
print(context.frames, context.native_frames, context.thread_state, context.parent, context.format(), context._repr_html_())
set_default_capture("stack,locals", max_frames=3, depth=2, max_repr=100, redact=["a"], render="eager", max_kept=3)
set_default_capture(["stack"], redact=lambda name, value: name == "x")
set_default_capture(redact="password")
set_default_capture(**get_default_capture())
include: str = get_include()
bound: Callable[..., Dict[str, int]] = bind(work)
s: Dict[str, int] = bind(work)(1, y="q")
s2: Dict[str, int] = bind(work, context=context)(1)
thread = Thread(target=work, args=(1,), name="n", daemon=True)
thread.start()
with ThreadPoolExecutor(2) as pool:
    future = pool.submit(work, 1, y="b")
    s = future.result()
install()
uninstall()
try:
    raise ValueError
except ValueError as error:
    lines: List[str] = format_exception(error, limit=3, chain=False)
    print_exception(error, file=sys.stderr)
    print_exception()
dump()
dump(file=sys.stderr)
register_dump(signal.SIGUSR1, file=sys.stderr)
register_dump()
was: bool = unregister_dump()
version: str = xctx.__version__
var2: ContextVar[str] = ContextVar.from_capsule(user.capsule, type=str, default="a")
Alias = ContextVar[int]
T2 = Token[int]
'''

REFUSED = '''
from xctx import ContextVar, Thread, bind, copy_context, set_default_capture

user: ContextVar[str] = ContextVar("user")
user.set(1)
number: int = user.get()
ContextVar("typed", type=int).set("text")
context = copy_context()
context.run(user.set, 1)
context[1]
context[user] = "text"
set_default_capture(1)
set_default_capture(redact=lambda name: True)
bind(1)

class Mine(ContextVar[str]):
    pass
'''


def mypy(text, folder):
    if subprocess.run([sys.executable, "-c", "import mypy"], stderr=subprocess.DEVNULL).returncode != 0:
        pytest.skip("no mypy")
    (folder / "use.py").write_text(text)
    environment = dict(os.environ, MYPYPATH=os.path.dirname(os.path.dirname(os.path.abspath(xctx.__file__))))
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "use.py"],
        cwd=str(folder),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        timeout=300,
    )
    return done.stdout


def test_every_name_is_used():
    assert [name for name in xctx.__all__ if name not in ACCEPTED] == []


def test_uses_of_every_name_are_accepted(tmp_path):
    assert mypy(ACCEPTED, tmp_path) == ""


def test_wrong_uses_are_refused(tmp_path):
    lines = REFUSED.splitlines()
    wrong = range(lines.index("user.set(1)") + 1, len(lines))
    expected = {number for number in wrong if lines[number - 1] and "    " not in lines[number - 1]}
    expected.remove(lines.index("context = copy_context()") + 1)
    found = {int(line.split(":")[1]) for line in mypy(REFUSED, tmp_path).splitlines() if ": error:" in line}
    assert found == expected
