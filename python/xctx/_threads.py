# SPDX-License-Identifier: MIT
"""bind(), Thread, ThreadPoolExecutor: work that is run in the context of those who gave it to others."""

import concurrent.futures
import functools
import inspect
import threading
import types

from xctx._xctx import Bound, _bind, _copy_here, _mark, _origin

__all__ = ["bind", "Thread", "ThreadPoolExecutor"]

_DEFAULT_CAPTURE = -1  # what copy_context() captures


def bind(function, /, *, context=None):
    """Return a callable that calls the function in a copy of the current context.

    The context is copied now, as copy_context() does, or a context is given that is copied. Each call gets a copy of
    that copy, so calls can overlap, and what one of them sets the next does not see. The callable has the function's
    name, signature and documentation. It can be used as a decorator, also for methods.

    A coroutine function, a generator function or an asynchronous generator function gives one of the same kind, all of
    whose steps are run in the context, whoever awaits it.

    >>> import xctx
    >>> user = xctx.ContextVar('user', default='nobody')
    >>> token = user.set('alice')
    >>> @xctx.bind
    ... def who():
    ...     "Who asked for this."
    ...     return user.get()
    >>> user.reset(token)
    >>> who(), user.get()
    ('alice', 'nobody')
    """
    if not callable(function):
        raise TypeError("bind() needs a callable, not %r" % type(function).__name__)
    if context is not None and not hasattr(context, "run"):
        raise TypeError("bind() needs a Context, not %r" % type(context).__name__)
    inner = _copy_here(_DEFAULT_CAPTURE) if context is None else context.copy().run(_copy_here, 0)
    if inspect.iscoroutinefunction(function):
        return _bind_coroutine(function, inner)
    if inspect.isasyncgenfunction(function):
        return _bind_async_generator(function, inner)
    if inspect.isgeneratorfunction(function):
        return _bind_generator(function, inner)
    updated = () if isinstance(function, type) else functools.WRAPPER_UPDATES
    return functools.update_wrapper(_bind(function, _DEFAULT_CAPTURE, inner), function, updated=updated)


def _mark_raised(exception, context):
    """Remember with an exception that left the context where that was copied."""
    origin = context.run(_origin)
    if origin is not None:
        _mark(exception, origin)


def _steps(context, work):
    """Run a generator or coroutine to its end, each of its steps in the context. Passes on what it yields."""
    step, argument = work.send, None
    while True:
        try:
            yielded = context.run(step, argument)
        except StopIteration as stop:
            return stop.value
        except BaseException as exception:
            _mark_raised(exception, context)
            raise
        try:
            argument = yield yielded
            step = work.send
        except GeneratorExit:
            context.run(work.close)
            raise
        except BaseException as exception:
            step, argument = work.throw, exception


_await_steps = types.coroutine(_steps)


def _bind_coroutine(function, inner):
    @functools.wraps(function)
    async def bound(*args, **kwargs):
        context = inner.copy()
        return await _await_steps(context, context.run(function, *args, **kwargs))

    return bound


def _bind_generator(function, inner):
    @functools.wraps(function)
    def bound(*args, **kwargs):
        context = inner.copy()
        return (yield from _steps(context, context.run(function, *args, **kwargs)))

    return bound


def _bind_async_generator(function, inner):
    @functools.wraps(function)
    async def bound(*args, **kwargs):
        context = inner.copy()
        work = context.run(function, *args, **kwargs)
        step, argument = work.asend, None
        try:
            while True:
                try:
                    yielded = await _await_steps(context, context.run(step, argument))
                except StopAsyncIteration:
                    return
                try:
                    argument = yield yielded
                    step = work.asend
                except GeneratorExit:
                    raise
                except BaseException as exception:
                    step, argument = work.athrow, exception
        finally:
            await _await_steps(context, context.run(work.aclose))

    return bound


def bind_work(function):
    """The function bound to a copy of the current context. What is bound already stays as it is."""
    return function if type(function) is Bound else _bind(function)


def _run_in(thread, context, run):
    del thread.run
    try:
        context.run(run)
    except BaseException as exception:
        _mark_raised(exception, context)
        raise


class Thread(threading.Thread):
    """A threading.Thread that runs in a context.

    As in CPython 3.14: without the argument context, that is a copy of the context in which start() is called. A
    context that is given is entered itself, not copied: what the thread sets is in it afterwards.

    >>> import xctx
    >>> user = xctx.ContextVar('user')
    >>> context = xctx.Context()
    >>> thread = xctx.Thread(target=user.set, args=('ada',), context=context)
    >>> thread.start()
    >>> thread.join()
    >>> context[user]
    'ada'
    """

    _xctx_given = None

    def __init__(self, group=None, target=None, name=None, args=(), kwargs=None, *, daemon=None, context=None):
        if context is not None and not hasattr(context, "run"):
            raise TypeError("a thread's context must be a Context, not %r" % type(context).__name__)
        super().__init__(group, target, name, args, kwargs, daemon=daemon)
        self._xctx_given = context

    def start(self):
        """Start the thread, in a copy of the current context if it was given none."""
        given = self._xctx_given
        if given is None:
            # Everything that the thread does is in the context: also what reports its exceptions.
            name, work = "_bootstrap", _bind(self._bootstrap, _DEFAULT_CAPTURE, None, True)
        else:
            name, work = "run", functools.partial(_run_in, self, given, self.run)
        if name in self.__dict__:
            return super().start()  # which complains, or finds what somebody else put there
        self.__dict__[name] = work
        try:
            super().start()
        except BaseException:
            self.__dict__.pop(name, None)
            raise
        self._xctx_given = None
        if given is None:
            del self.__dict__[name]


class ThreadPoolExecutor(concurrent.futures.ThreadPoolExecutor):
    """A concurrent.futures.ThreadPoolExecutor whose work runs in the contexts of those who submit it.

    submit() and map() copy the current context for each piece of work. The initializer, if there is one, runs in copies
    of the context in which the executor was made, which it keeps. Threads without work hold no context.

    >>> import xctx
    >>> user = xctx.ContextVar('user', default='nobody')
    >>> with xctx.ThreadPoolExecutor() as pool, user.set('ada'):
    ...     pool.submit(user.get).result()
    'ada'
    """

    def __init__(self, max_workers=None, thread_name_prefix="", initializer=None, initargs=(), **others):
        if callable(initializer):
            initializer = bind_work(initializer)
        super().__init__(max_workers, thread_name_prefix, initializer, initargs, **others)

    def submit(self, fn, /, *args, **kwargs):
        """Have fn(*args, **kwargs) called by a thread, in a copy of the current context. Returns a Future."""
        return super().submit(bind_work(fn), *args, **kwargs)
