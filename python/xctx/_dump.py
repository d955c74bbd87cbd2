# SPDX-License-Identifier: MIT
"""dump() and register_dump(): what every thread does, in which context, and who submitted its work.

A dump takes no lock and calls no __repr__ but those of builtin types, as the program may be stuck in either. It is not
made in a signal handler: that only wakes a thread of ours (wake.c).
"""

import _thread
import atexit
import os
import reprlib
import signal
import sys
import threading

from xctx import _tracebacks
from xctx._xctx import _options, _thread_contexts, _wake_on_signal, get_default_capture

__all__ = ["dump", "register_dump", "unregister_dump"]

FRAMES_MOST = 200  # of one thread, the innermost ones
VARIABLES_MOST = 200  # of one context

_registered = {}  # signal number: _Waker
_lock = threading.Lock()


class _Repr(reprlib.Repr):
    """repr() that calls no code but that of builtin types."""

    known = (str, bytes, int, float, complex, bool, type(None), list, tuple, dict, set, frozenset)

    def __init__(self, is_secret):
        super().__init__()
        self.is_secret = is_secret
        self.maxstring = self.maxother = 100
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = self.maxfrozenset = 10

    def repr1(self, x, level):
        if type(x).__module__ == "xctx" and type(x).__name__ == "_Marker":
            return repr(x)  # in place of a local variable that is secret or gone
        if type(x) not in self.known:
            return object.__repr__(x)
        if type(x) in (set, frozenset):  # which reprlib sorts, and so compares
            return "%s of %d" % (type(x).__name__, len(x))
        if type(x) is int and x.bit_length() > 1000:
            return "<int of %d bits>" % x.bit_length()
        return super().repr1(x, level)

    def repr_dict(self, x, level):
        x = x.copy()  # which other threads do not change
        if any(type(key) is not str for key in x):
            return "dict of %d" % len(x)
        if x and level <= 0:
            return "{...}"
        pieces = []
        for key in sorted(x):
            item = x[key]
            if len(pieces) == self.maxdict:
                pieces.append("...")
                break
            text = "<redacted>" if self.is_secret(key, item) else self.repr1(item, level - 1)
            pieces.append("%s: %s" % (self.repr1(key, level - 1), text))
        return "{%s}" % ", ".join(pieces)


def _show(value, most=200):
    text = _Repr(_secrets()).repr(value)
    return text if len(text) <= most else text[: most - 3] + "..."


def _plain_frames(frame):
    """What format_frames() takes, of a frame of a running thread, the innermost first."""
    found = []
    while frame is not None and len(found) < FRAMES_MOST:
        found.append(_PlainFrame(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name))
        frame = frame.f_back
    return found


class _PlainFrame:
    __slots__ = ("filename", "lineno", "name")
    locals = None

    def __init__(self, filename, lineno, name):
        self.filename, self.lineno, self.name = filename, lineno, name


def _indent(lines):
    return ["  " + line for line in lines]


def _describe_thread(identifier, frames, context, origin, note):
    # Without the lock that threading.enumerate() takes.
    thread = getattr(threading, "_active", {}).get(identifier)
    title = "Thread %r" % thread.name if thread is not None else "Thread"
    native = getattr(thread, "native_id", None)
    title += ", identifier 0x%x" % identifier
    title += ", system's number %d" % native if native else ""
    title += ", daemon" if thread is not None and thread.daemon else ""
    lines = [title + note + " (most recent call last):\n"]
    lines += _tracebacks.format_frames(frames) or ["  no Python frames\n"]
    if context is not None:
        variables = _describe_variables(context)
        if variables:
            lines += ["  Variables of its context:\n"] + _indent(variables)
    if origin is not None:
        lines += _indent(_tracebacks.format_chain(origin, "Its work", _show))
    return lines


def _secrets():
    """Whether the value of that name is secret. A function of the program that says so is not called: then all are."""
    return (lambda name, value: True) if callable(get_default_capture()["redact"]) else _options().redacts


def _describe_variables(context):
    is_secret = _secrets()
    lines = []
    for count, (variable, value) in enumerate(context.items()):
        if count == VARIABLES_MOST:
            lines.append("  ...\n")
            break
        name = str.__str__(variable.name)  # also of a subclass of str
        lines.append("  %s = %s\n" % (name, "<redacted>" if is_secret(name, value) else _show(value)))
    return lines


def dump(file=None):
    """Print what all threads are doing, by default to sys.stderr.

    For each thread: its Python stack, the variables of its current context, and where its work was submitted, where
    that was submitted that submitted it, and so on. Other threads go on meanwhile, so the stacks are of nearly the
    same moment. Values are shown without calling the program's code: of types that are not builtin, only their names.
    What set_default_capture(redact=...) says is secret is not shown; if that is a function, which a dump does not call,
    no context variable's value is, nor what is in a dict under a str.
    """
    file = sys.stderr if file is None else file
    if file is None:
        return
    file.write("".join(_dump_lines()))
    flush = getattr(file, "flush", None)
    if flush is not None:
        flush()


def _dump_lines():
    own = threading.get_ident()
    wakers = {waker.identifier for waker in _registered.values()}
    frames = {key: _plain_frames(frame) for key, frame in sys._current_frames().items() if key not in wakers}
    contexts = _thread_contexts()
    lines = []
    for identifier in sorted(frames, key=lambda key: (key == threading.main_thread().ident, key == own)):
        context, origin = contexts.get(identifier, (None, None))
        note = ", where the dump is made" if identifier == own else ""
        try:
            described = _describe_thread(identifier, frames[identifier], context, origin, note)
        except Exception as error:
            described = ["Thread, identifier 0x%x: cannot be shown: %s\n" % (identifier, type(error).__name__)]
        lines += described + ["\n"]
    return lines


class _End:
    """An end of a pipe. Programs close descriptors that are not theirs; then the number may be somebody else's."""

    def __init__(self, number):
        self.number = number
        self.identity = self._now()

    def _now(self):
        status = os.fstat(self.number)
        return status.st_dev, status.st_ino

    def is_there(self):
        try:
            return self._now() == self.identity
        except OSError:
            return False

    def close(self):
        if self.is_there():
            os.close(self.number)


class _Waker:
    """A thread that dumps whenever it is woken by a signal, and the pipe by which it is."""

    def __init__(self, signum, file):
        self.signum, self.file = signum, file
        self.identifier = None
        self.stopped = False
        self.open()

    def open(self):
        self.reader, self.writer = map(_End, os.pipe())
        self.running = threading.Lock()
        self.identifier = None
        try:
            os.set_blocking(self.writer.number, False)
            # Not a thread of threading's: the program does not see it, nor wait for it.
            self.running.acquire()
            self.identifier = _thread.start_new_thread(self.run, (self.reader, self.running))
            _wake_on_signal(self.signum, self.writer.number)
        except BaseException:
            self.stopped = True
            self.writer.close()
            if self.identifier is None:
                self.reader.close()
            raise

    def run(self, reader, running):
        try:
            while reader.is_there() and os.read(reader.number, 4096) and not self.stopped:
                try:
                    dump(self.file)
                except Exception as error:
                    try:
                        sys.stderr.write("xctx: cannot dump: %s\n" % type(error).__name__)
                    except Exception:
                        pass
            reader.close()
        finally:
            running.release()

    def close(self):
        self.stopped = True
        if _wake_on_signal(self.signum, -1):
            self.writer.close()
        elif self.writer.is_there():  # it stays open: a handler may still write to it
            try:
                os.write(self.writer.number, b"\0")
            except BlockingIOError:
                pass

    def after_fork(self):
        # The parent's pipe would wake the parent. It is closed last: its numbers are not to be used again before.
        reader, writer = self.reader, self.writer
        try:
            self.open()
        finally:
            reader.close()
            writer.close()


def _after_fork_in_child():
    global _lock
    _lock = threading.Lock()
    for signum, waker in list(_registered.items()):
        try:
            waker.after_fork()
        except Exception:
            _wake_on_signal(signum, -1)
            del _registered[signum]


def _at_exit():
    """No thread of ours is left that would wake up while the interpreter is taken apart."""
    wakers = list(_registered.values())
    _registered.clear()
    for waker in wakers:
        waker.close()
    for waker in wakers:
        waker.running.acquire(timeout=2)


os.register_at_fork(after_in_child=_after_fork_in_child)
atexit.register(_at_exit)


def register_dump(signum=signal.SIGUSR1, *, file=None):
    """Have dump(file) made whenever the process gets a signal.

    A thread of its own makes the dump, so the main thread may be waiting in C code. What it needs is the interpreter's
    lock: while C code runs that does not release it, nothing is dumped; faulthandler.register() works then, too.
    Whatever handled the signal before is put back by unregister_dump(). Children made by fork() dump themselves.
    """
    signum = signal.Signals(signum)
    if signum.name in ("SIGKILL", "SIGSTOP", "SIGSEGV", "SIGFPE", "SIGABRT", "SIGBUS", "SIGILL"):
        raise ValueError("%s cannot be used for dumps" % signum.name)
    if file is not None and not hasattr(file, "write"):
        raise TypeError("file must have a method write()")
    with _lock:
        if signum in _registered:
            _registered[signum].file = file
        else:
            _registered[signum] = _Waker(signum, file)


def unregister_dump(signum=signal.SIGUSR1):
    """Handle the signal as before register_dump(). Returns whether that had been called."""
    signum = signal.Signals(signum)
    with _lock:
        waker = _registered.pop(signum, None)
        if waker is not None:
            waker.close()
    return waker is not None
