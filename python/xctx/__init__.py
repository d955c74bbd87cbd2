# SPDX-License-Identifier: MIT
"""Context variables, and what people think that a copied context holds.

ContextVar, Context, Token and copy_context() are those of contextvars (PEP 567). A copy of a context also has the call
stacks of Python and native code, their local variables and the thread's state at the copy, as far as
set_default_capture() says; format() shows it.

>>> from xctx import ContextVar, copy_context
>>> user = ContextVar('user', default='nobody')
>>> with user.set('ada'):
...     context = copy_context()
>>> user.get(), context.run(user.get)
('nobody', 'ada')
>>> context.frames[0].name
'<module>'
"""
import collections.abc

from xctx._xctx import *
from xctx._xctx import Context, __version__

collections.abc.Mapping.register(Context)

# Imported when they are first used: most programs need few of them, and some import asyncio.
_LATER = {
    "bind": "_threads",
    "Thread": "_threads",
    "ThreadPoolExecutor": "_threads",
    "NativeFrame": "_nativeframes",
    "NativeLocal": "_nativeframes",
    "ThreadState": "_threadstate",
    "install": "_install",
    "uninstall": "_install",
    "format_exception": "_tracebacks",
    "print_exception": "_tracebacks",
    "dump": "_dump",
    "register_dump": "_dump",
    "unregister_dump": "_dump",
}

__all__ = [
    "Context",
    "ContextVar",
    "Frame",
    "Snapshot",
    "Token",
    "copy_context",
    "get_default_capture",
    "get_include",
    "set_default_capture",
    *_LATER,
]


def get_include():
    """The folder with the headers (xctx/python.h, xctx/xctx.h, …), for compilers of extension modules.

    The library to link with, libxctx.so.0, is in the folder above.
    """
    import os

    return os.path.join(os.path.dirname(os.path.abspath(__file__)), "include")


def __getattr__(name):
    module = _LATER.get(name)
    if module is None:
        raise AttributeError("module %r has no attribute %r" % (__name__, name))
    import importlib

    value = getattr(importlib.import_module("xctx." + module), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted(set(globals()) | set(_LATER))
