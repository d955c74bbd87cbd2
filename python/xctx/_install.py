# SPDX-License-Identifier: MIT
"""install() and uninstall(): contexts for all threads, executors and tasks of the process.

What is patched, each thing by a Hook (hook.c), so that no frame of ours is in call stacks:

    threading.Thread.start            the thread runs in a copy of its starter's context
    ThreadPoolExecutor.submit         each piece of work runs in a copy of its submitter's context. This is also where
                                      loop.run_in_executor() and asyncio.to_thread() end up
    event loops: create_task,         asyncio copies contexts itself; the copies get an origin: where it was called
      call_soon, call_later, ...
    asyncio.threads.contextvars       to_thread() copies the context; the copy gets an origin
    event loops: the handlers of      tracebacks go on where the work was submitted
      exceptions; sys.excepthook;
      threading.excepthook

Event loops are the classes under asyncio.AbstractEventLoop, those that there are and those that will be made: so uvloop
may be imported later. A class whose parent has the hook is left alone, as it calls that.

uninstall() puts back each attribute exactly as it was. An attribute that somebody else has changed meanwhile is left to
them: what is under it of ours passes calls on unchanged from then on, and stays that way.
"""

import functools
import sys
import threading
import types

from xctx import _tracebacks
from xctx._xctx import Hook, _copy_here, _mark, _origin, _parse_capture

__all__ = ["install", "uninstall"]

# Threads of these modules work for many: what their starters had must not stay with them.
SERVICES = frozenset(
    ["concurrent.futures.thread", "concurrent.futures.process", "multiprocessing.pool", "multiprocessing.queues"]
)

# Methods of event loops, and what kind of hook they need.
LOOP_METHODS = {
    "call_soon": "context",
    "call_soon_threadsafe": "context",
    "call_later": "context",
    "call_at": "context",
    "add_reader": "origin",
    "add_writer": "origin",
    "add_signal_handler": "origin",
    "create_task": "task",
}

_lock = threading.RLock()
_current = None  # the _Installation, or None


def _is_service(thread):
    try:
        target = getattr(thread, "_target", None)
        return type(thread).__module__ in SERVICES or getattr(target, "__module__", None) in SERVICES
    except Exception:  # of a target that answers for itself: it is the program's
        return False


class _Patch:
    """An attribute with another value, and how to take that out again."""

    __slots__ = ("owner", "name", "there", "before", "value")

    def __init__(self, owner, name, value):
        self.owner, self.name, self.value = owner, name, value
        self.there = name in vars(owner)
        self.before = vars(owner).get(name)
        setattr(owner, name, value)

    def undo(self):
        """True if the attribute is as it was before; False if it is somebody else's now."""
        if vars(self.owner).get(self.name) is not self.value:
            return False
        if self.there:
            setattr(self.owner, self.name, self.before)
        else:
            delattr(self.owner, self.name)
        return True


class _Contextvars(types.ModuleType):
    """The module contextvars as asyncio.threads sees it: copies have an origin."""

    def __init__(self, module, flags):
        super().__init__(module.__name__, module.__doc__)
        self.__dict__.update(vars(module))
        self.flags = flags
        self.copy_context = lambda: _copy_here(self.flags)


class _Installation:
    def __init__(self, flags):
        self.flags = flags
        self.active = True
        self.patches = []
        self.hooks = []

    def put(self, owner, name, value):
        self.patches.append(_Patch(owner, name, value))

    def hook(self, owner, name, kind, leave=None):
        original = getattr(owner, name)
        hook = functools.update_wrapper(Hook(original, kind, self.flags, leave), original)
        self.put(owner, name, hook)
        self.hooks.append(hook)
        hook.active = True

    def install(self):
        import asyncio
        import concurrent.futures.thread

        self.hook(threading.Thread, "start", "start", _is_service)
        self.hook(concurrent.futures.thread.ThreadPoolExecutor, "submit", "submit")
        if "contextvars" in vars(sys.modules.get("asyncio.threads", types)):
            self.contextvars = _Contextvars(asyncio.threads.contextvars, self.flags)
            self.put(asyncio.threads, "contextvars", self.contextvars)
        self.loops(asyncio.AbstractEventLoop)
        self.put(sys, "excepthook", _sys_hook(self, sys.excepthook))
        self.put(threading, "excepthook", _threading_hook(self, threading.excepthook))

    def loops(self, base):
        """Put hooks into all classes of event loops."""
        waiting = base.__subclasses__()
        while waiting:
            loop_class = waiting.pop(0)
            self.loop(base, loop_class)
            waiting += loop_class.__subclasses__()

        installation = self
        before = vars(base).get("__init_subclass__")

        @classmethod
        def __init_subclass__(cls, **kwargs):
            if before is None:
                super(base, cls).__init_subclass__(**kwargs)
            else:
                before.__get__(None, cls)(**kwargs)
            if installation.active:
                installation.loop(base, cls)

        self.put(base, "__init_subclass__", __init_subclass__)

    def loop(self, base, loop_class):
        for name, kind in LOOP_METHODS.items():
            if self.is_to_hook(base, loop_class, name):
                self.hook(loop_class, name, kind)
        for name, make in (("call_exception_handler", _marking_handler), ("default_exception_handler", _loop_handler)):
            if self.is_to_hook(base, loop_class, name):
                self.put(loop_class, name, make(self, getattr(loop_class, name)))

    def is_to_hook(self, base, loop_class, name):
        """Whether the class has the method in which all of that kind end up: its own, or a builtin class's."""
        if any(patch.owner is loop_class and patch.name == name for patch in self.patches):
            return False
        for parent in loop_class.__mro__[1:]:
            if name in vars(parent):
                if any(patch.owner is parent and patch.name == name for patch in self.patches):
                    return False
                if name not in vars(loop_class) and issubclass(parent, base):
                    return False  # it has the abstract one
                break
        else:
            return name in vars(loop_class)
        return True

    def set_flags(self, flags):
        self.flags = flags
        for hook in self.hooks:
            hook.flags = flags
        contextvars = getattr(self, "contextvars", None)
        if contextvars is not None:
            contextvars.flags = flags

    def uninstall(self):
        self.active = False
        for hook in self.hooks:
            hook.active = False
        if hasattr(self, "contextvars"):
            self.contextvars.flags = 0
        while self.patches:
            self.patches.pop().undo()


# ---- exceptions ----


def _complain(what, error):
    """Say that a hook has failed. What it was called for has been done before."""
    try:
        sys.stderr.write("xctx: %s: %s\n" % (what, type(error).__name__))
    except Exception:
        pass


def _sys_hook(installation, before):
    def excepthook(type, value, traceback):
        before(type, value, traceback)
        # A hook of the program's own is in charge, and may use format_exception().
        if not installation.active or before is not sys.__excepthook__ or sys.stderr is None:
            return
        try:
            text = "".join(_tracebacks.format_origin(value, _origin())) if value is not None else ""
            if text:
                sys.stderr.write(text)
                sys.stderr.flush()
        except Exception as error:
            _complain("cannot say where the work was submitted", error)

    return excepthook


def _threading_hook(installation, before):
    builtin = getattr(threading, "__excepthook__", None) or sys.modules["_thread"]._excepthook

    def excepthook(args, /):
        before(args)
        if not installation.active or before is not builtin or args.exc_type is SystemExit or sys.stderr is None:
            return
        try:
            # The whole thread is in its context, this hook too.
            text = "".join(_tracebacks.format_origin(args.exc_value, _origin())) if args.exc_value is not None else ""
            if text:
                sys.stderr.write(text)
                sys.stderr.flush()
        except Exception as error:
            _complain("cannot say where the work was submitted", error)

    return excepthook


def _marking_handler(installation, original):
    """loop.call_exception_handler(): a callback's exception is told where the callback was passed on."""

    @functools.wraps(original)
    def call_exception_handler(self, context):
        if installation.active:
            try:
                exception, handle = context.get("exception"), context.get("handle")
                if handle is not None and isinstance(exception, BaseException):
                    # asyncio has left the callback's context here, uvloop has not.
                    inner = getattr(handle, "_context", None)
                    origin = inner.copy().run(_origin) if inner is not None else _origin()
                    if origin is not None:
                        _mark(exception, origin)
            except Exception:
                pass
        return original(self, context)

    return call_exception_handler


def _loop_handler(installation, original):
    """loop.default_exception_handler(): a second record in asyncio's log says where the work was submitted."""

    @functools.wraps(original)
    def default_exception_handler(self, context):
        original(self, context)
        if not installation.active:
            return
        try:
            exception = context.get("exception")
            lines = _tracebacks.format_origin(exception) if isinstance(exception, BaseException) else []
            if lines:
                from asyncio.log import logger

                logger.error("%s", "".join(lines).rstrip("\n"))
        except Exception as error:
            _complain("cannot say where the work was submitted", error)

    return default_exception_handler


# ---- the functions ----


def install(*, capture="stack", locals=False):
    """Give every thread, executor and asyncio task of the process the context of whoever submitted the work.

    capture: what is captured where work is submitted, as in set_default_capture(): 'stack', 'locals', 'native',
        'state', 'all', 'none'. The first is what tracebacks need that go on where the work was submitted.
    locals: True captures local variables as well, and tracebacks show them.

    From now on threading.Thread (and Timer), ThreadPoolExecutor, loop.run_in_executor() and asyncio.to_thread() run
    work in a copy of the current context. asyncio does so by itself for tasks and callbacks. All of these
    copies know where the work was submitted. An exception that is not handled is printed with its traceback first, and
    then with where its work was submitted, and so on: by sys.excepthook, threading.excepthook and the handlers of event
    loops, unless the program has set its own; those can use format_exception().

    Called again, install() changes what is captured and nothing else; one uninstall() is enough for any number of
    calls.

    Not reached are threads started by _thread.start_new_thread() or by C code, work for multiprocessing.pool.ThreadPool
    and for processes, and asyncio.Task() called directly. For such work there is bind().

    >>> import concurrent.futures, xctx
    >>> user = xctx.ContextVar('user', default='nobody')
    >>> xctx.install()
    >>> with concurrent.futures.ThreadPoolExecutor() as pool, user.set('ada'):
    ...     pool.submit(user.get).result()
    'ada'
    >>> xctx.uninstall()
    """
    global _current
    flags = _parse_capture(capture) | (_parse_capture("locals") if locals else 0)
    with _lock:
        if _current is not None:
            _current.set_flags(flags)
            return
        installation = _Installation(flags)
        try:
            installation.install()
        except BaseException:
            installation.uninstall()
            raise
        _current = installation


def uninstall():
    """Take out what install() has put in. Does nothing if that has not been called.

    Each attribute is again exactly what it was before. One that somebody else has changed meanwhile is left to them.
    Work that has been submitted already keeps its context.
    """
    global _current
    with _lock:
        installation, _current = _current, None
        if installation is not None:
            installation.uninstall()


def is_installed():
    """Whether install() has been called, and uninstall() not since."""
    return _current is not None
