# SPDX-License-Identifier: MIT
"""Tracebacks that go on where the work was submitted.

An exception that leaves bound work carries an attribute __xctx_origin__ (bound.c), and work that is running finds in
its context where it comes from. Nothing else about an exception changes: neither its type nor its traceback nor its
notes.
"""

import linecache
import os
import sys
import traceback

from xctx._values import render
from xctx._xctx import _origin

__all__ = ["format_exception", "print_exception"]

_HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_MAIN = _HERE + "__main__.py"

CHAIN_MOST = 16  # submissions that are shown of one chain
ORIGINS_MOST = 16  # exceptions of one report whose work is shown
EXCEPTIONS_MOST = 1000  # that are looked at
VALUE_MOST = 200  # characters of a value
REPEATS_MOST = 3  # equal lines in a row, as the traceback module has it


def format_frames(frames, show=None):
    """Lines for a Snapshot's frames, the most recent last, as the traceback module writes them.

    show: what makes text of a value; for frames that have locals.
    """
    frames = [frame for frame in reversed(frames)]
    for index in range(len(frames) - 1, -1, -1):
        if frames[index].filename == _MAIN:  # python -m xctx is not part of the program
            del frames[: index + 1]
            break
    lines = []
    last, repeats = None, 0
    for frame in frames:
        if frame.filename.startswith(_HERE):
            continue
        place = (frame.filename, frame.lineno, frame.name)
        repeats = repeats + 1 if place == last else 0
        last = place
        if repeats >= REPEATS_MOST:
            if repeats > REPEATS_MOST:
                lines.pop()
            hidden = repeats - REPEATS_MOST + 1
            lines.append("  [Previous line repeated %d more time%s]\n" % (hidden, "s" * (hidden > 1)))
            continue
        lines.append('  File "%s", line %s, in %s\n' % place)
        source = linecache.getline(frame.filename, frame.lineno or 0).strip()
        if source:
            lines.append("    %s\n" % source)
        for name, value in sorted((frame.locals or {}).items()):
            lines.append("    %s = %s\n" % (name, show(value)))
    return lines


def _shower(snapshot):
    """What makes text of its values, without what was said to be secret when it was taken."""
    redacts = snapshot._options.redacts
    return lambda value: render(value, VALUE_MOST, redacts)


def _submitter(snapshot):
    thread = "thread %r" % (snapshot.thread_name or "identifier %d" % snapshot.thread_id)
    return "task %r in %s" % (snapshot.task_name, thread) if snapshot.task_name else thread


def format_chain(snapshot, what="The work", show=None):
    """Lines that say where work was submitted, where that was submitted that submitted it, and so on."""
    lines = []
    for depth in range(CHAIN_MOST):
        if snapshot is None:
            break
        if depth:
            what = "That"
        frames = format_frames(snapshot.frames, show or _shower(snapshot))
        if frames:
            lines.append("%s was submitted by %s here (most recent call last):\n" % (what, _submitter(snapshot)))
            if getattr(snapshot, "more_frames", False):
                lines.append("  ...\n")
            lines += frames
        else:
            lines.append("%s was submitted by %s.\n" % (what, _submitter(snapshot)))
        snapshot = snapshot.parent
    if snapshot is not None:
        lines.append("...\n")
    return lines


def _origin_of(exception):
    holder = getattr(exception, "__dict__", {}).get("__xctx_origin__")
    return getattr(holder, "snapshot", None)


def _related(exception):
    """The exception, its causes, contexts and members, each once."""
    found, waiting = [], [exception]
    seen = set()
    while waiting and len(found) < EXCEPTIONS_MOST:
        exception = waiting.pop(0)
        if not isinstance(exception, BaseException) or id(exception) in seen:
            continue
        seen.add(id(exception))
        found.append(exception)
        members = getattr(exception, "exceptions", ())
        if isinstance(members, (tuple, list)):
            waiting += members
        waiting.append(exception.__cause__)
        if not exception.__suppress_context__:
            waiting.append(exception.__context__)
    return found


def _name_of(exception):
    kind = type(exception)
    module = "" if kind.__module__ in ("builtins", "__main__") else "%s." % kind.__module__
    name = module + kind.__qualname__
    try:
        text = (str(exception).splitlines() or [""])[0]
    except Exception:
        text = "<exception str() failed>"
    text = name + ": " + text if text else name
    return text if len(text) <= 100 else text[:97] + "..."


def format_origin(exception, current=None):
    """Lines that say where the work was submitted that raised the exception; none if that is not known.

    current: where the work was submitted that is running, if the exception is reported from inside of it.
    """
    lines = []
    shown = []
    for related in _related(exception):
        snapshot = _origin_of(related)
        if related is exception and snapshot is None:
            snapshot = current
        if snapshot is None or any(snapshot is other for other in shown):
            continue
        if len(shown) == ORIGINS_MOST:
            lines.append("...\n")
            break
        shown.append(snapshot)
        if related is exception:
            lines += format_chain(snapshot)
        else:
            lines += format_chain(snapshot, "The work that raised %s" % _name_of(related))
    return lines


def format_exception(exception=None, *, limit=None, chain=True):
    """Format an exception as traceback.format_exception() does, and go on where the work was submitted.

    exception: by default the one that is being handled.
    limit, chain: as traceback.format_exception() has them; they are about the exception's own traceback.

    Returns a list of strings that each end with a newline. It tells more than traceback.format_exception() if the
    exception was raised in work that xctx carried (bind(), Thread, ThreadPoolExecutor, install()), and if what was
    captured there has frames.

    >>> import xctx
    >>> try:
    ...     xctx.bind(int)('no number')
    ... except ValueError as error:
    ...     text = ''.join(xctx.format_exception(error))
    >>> 'The work was submitted by thread' in text
    True
    """
    if exception is None:
        exception = sys.exc_info()[1]
        if exception is None:
            return ["NoneType: None\n"]
    if not isinstance(exception, BaseException):
        raise TypeError("an exception was expected, not %r" % type(exception).__name__)
    lines = traceback.format_exception(type(exception), exception, exception.__traceback__, limit, chain)
    return lines + format_origin(exception, _origin())


def print_exception(exception=None, *, limit=None, file=None, chain=True):
    """Print what format_exception() returns, by default to sys.stderr."""
    text = "".join(format_exception(exception, limit=limit, chain=chain))
    file = sys.stderr if file is None else file
    if file is not None:
        file.write(text)
