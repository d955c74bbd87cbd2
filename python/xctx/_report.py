# SPDX-License-Identifier: MIT
"""Reports of what a context holds: as text, as HTML, as a dictionary for JSON.

Imported when the first report is made. Everything that is shown is made into one tree of plain texts first
(to_dict()), so that the three ways show the same, and so that what is secret has one place to be left out.

repr() is anybody's code: it is called here, when the report is made, never at the copy (but with render='eager', which
calls render() from there). Whatever it does, a report comes out: see render().
"""

import datetime
import linecache
import os
import re
import sys
import unicodedata
from collections import namedtuple

__all__ = ["NativeFrame", "NativeLocal", "ThreadState"]

ITEMS_MOST = 40  # of a container that are shown
LEVELS_MOST = 5  # of containers in containers
LOCALS_MOST = 100  # of a frame
CHAIN_MOST = 32  # of parents
WIDTH_LEAST = 40


# ---- values ----


def _cut(text, most):
    # Also of a subclass of str, whose methods are somebody else's.
    text = str.__getitem__(text, slice(0, most + 1))
    return text if len(text) <= most else text[: most - 1] + "…"


def _one_line(text):
    """Text without line ends, control characters and lone surrogates: none of it reaches a terminal as it is."""
    if text.isprintable():
        return text
    text = re.sub(r"[ \t]*[\r\n]\s*", " ", text)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _foreign_repr(value, most):
    try:
        text = repr(value)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also SystemExit: a report is no place to end a program
        return "<repr raised %s>" % type(error).__name__
    return _one_line(_cut(text, most))


def _items(pieces, opening, closing, most, count):
    """'[1, 2, …]' of an iterator over texts, as many as `most` characters hold."""
    parts, room = [], most - len(opening) - len(closing)
    for index, piece in enumerate(pieces):
        if index >= ITEMS_MOST or room <= 0:
            parts.append("…")
            break
        parts.append(piece)
        room -= len(piece) + 2
    if opening == "(" and count == 1 and len(parts) == 1:
        closing = ",)"
    return opening + ", ".join(parts) + closing


def _render(value, most, level, redacts):
    kind = type(value)
    if kind is str:
        text = repr(value[:most])
        return text if len(value) <= most else text + "…"
    if kind is bytes or kind is bytearray:
        return repr(value[:most]) + ("…" if len(value) > most else "")
    if kind is int and value.bit_length() > 3 * most:
        return "<int of %d bits>" % value.bit_length()
    if kind not in (list, tuple, dict, set, frozenset):
        return _foreign_repr(value, most)
    if level <= 0:
        return "…"
    # A copy: repr() of an item may change the container.
    if kind is dict:
        pieces = (
            "%s: %s"
            % (
                _render(key, most, level - 1, redacts),
                "<redacted>" if type(key) is str and redacts(key) else _render(item, most, level - 1, redacts),
            )
            for key, item in list(value.items())[: ITEMS_MOST + 1]
        )
        return _items(pieces, "{", "}", most, len(value))
    pieces = (_render(item, most, level - 1, redacts) for item in list(value)[: ITEMS_MOST + 1])
    if kind is list:
        return _items(pieces, "[", "]", most, len(value))
    if kind is tuple:
        return _items(pieces, "(", ")", most, len(value))
    if not value:
        return repr(value)
    return _items(pieces, "{" if kind is set else "frozenset({", "}" if kind is set else "})", most, len(value))


def _nothing_secret(name):
    return False


def render(value, most, redacts=_nothing_secret):
    """repr(value) in one line of at most about `most` characters. Never raises but KeyboardInterrupt.

    Containers of the builtin types are gone through here, so that a large one costs no more than what is shown.
    """
    try:
        return _cut(_one_line(_render(value, most, LEVELS_MOST, redacts)), most)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # changed by another thread, no memory, too deep
        return "<repr raised %s>" % type(error).__name__


# ---- native frames and thread state ----

NativeLocal = namedtuple("NativeLocal", "name type value source parameter")
NativeLocal.__doc__ = """A parameter or local variable of a native frame.

value is a text as gdb prints it, None if there is none; source says where it came from or why there is none.
"""


class NativeFrame:
    """A frame of the native call stack. What is not known is None.

    function, name   its name; file, line; module; pc: the address; offset: of pc in the function, in bytes, where only
                     symbols are known; inlined: this call was inlined into the next frame
    locals           a tuple of NativeLocal, decoded when they are first asked for: for all frames of the stack at once
    """

    __slots__ = ("function", "file", "line", "module", "pc", "offset", "inlined", "_index", "_decoder")

    def __init__(self, fields, index, decoder):
        self.function, self.file, self.line, self.module, self.pc, self.offset, self.inlined = fields[:7]
        self._index = index
        self._decoder = decoder

    @property
    def name(self):
        return self.function

    @property
    def locals(self):
        return self._decoder.locals_of(self._index)

    def __repr__(self):
        return "<xctx.NativeFrame %s>" % _native_place(self)


class _Decoder:
    """Decodes the locals of a native stack. Holds no Python object of the snapshot, but what it says of secrets."""

    def __init__(self, capsule, options):
        self.capsule = capsule
        self.options = options
        self.all = None

    def locals_of(self, index):
        if self.all is None:
            from xctx import _inspect

            frames, _ = _inspect.frames(self.capsule, True)
            self.all = [tuple(map(self._local, frame[-1])) for frame in frames]
        return self.all[index] if index < len(self.all) else ()

    def _local(self, fields):
        local = NativeLocal(*fields)
        secret = local.name and self.options.redacts(local.name)
        return local._replace(value=None, source="redacted") if secret else local


class NativeFrames(tuple):
    """Native frames, the innermost first, and notes: texts on what is missing and why."""

    notes = ()


def _native_place(frame):
    name = frame.function or "0x%x" % frame.pc
    if frame.offset:
        name += "+%d" % frame.offset
    if frame.file:
        return "%s at %s:%s" % (name, frame.file, frame.line or "?")
    return "%s from %s" % (name, frame.module) if frame.module else name


def native_frames(snapshot):
    """What Snapshot.native_frames is."""
    try:
        from xctx import _inspect
    except ImportError as error:
        raise ImportError(
            "native call stacks cannot be decoded here: xctx was built without libdw (elfutils), "
            "or it is not installed (%s)" % error
        ) from None
    capsule = snapshot._native()
    if capsule is None:
        return ()
    decoder = _Decoder(capsule, snapshot._options)
    found, notes = _inspect.frames(capsule, False)
    frames = NativeFrames(NativeFrame(fields, index, decoder) for index, fields in enumerate(found))
    frames.notes = notes
    return frames


_ROUNDING = {
    "x86_64": {0: "to-nearest", 0x400: "downward", 0x800: "upward", 0xC00: "toward-zero"},
    "aarch64": {0: "to-nearest", 0x800000: "downward", 0x400000: "upward", 0xC00000: "toward-zero"},
}
_EXCEPTIONS = {
    "x86_64": {1: "invalid", 4: "divide-by-zero", 8: "overflow", 16: "underflow", 32: "inexact"},
    "aarch64": {1: "invalid", 2: "divide-by-zero", 4: "overflow", 8: "underflow", 16: "inexact"},
}
_POLICIES = ("other", "fifo", "rr", "batch", "iso", "idle", "deadline", "ext")


def _signal(number):
    import signal

    try:
        return signal.Signals(number)
    except ValueError:
        return number


class ThreadState:
    """A thread's settings when a context was copied. What was not captured is None.

    tid, pid, name
    signal_mask, pending_signals   sets of signal.Signals
    rounding_mode                  'to-nearest', 'upward', 'downward', 'toward-zero'
    fp_exceptions                  what floating-point arithmetic has flagged: a tuple of words
    locale                         the thread's LC_ALL, as setlocale() writes it
    affinity                       the processors that it may run on: a set
    policy, priority, nice
    errno, cpu
    time, cpu_time                 in seconds
    stack                          (low, high) addresses of its stack
    """

    __slots__ = (
        "tid",
        "pid",
        "name",
        "signal_mask",
        "pending_signals",
        "rounding_mode",
        "fp_exceptions",
        "locale",
        "affinity",
        "policy",
        "priority",
        "nice",
        "errno",
        "cpu",
        "time",
        "cpu_time",
        "stack",
    )

    def __init__(self, state):
        machine = os.uname().machine
        for name in self.__slots__:
            setattr(self, name, state.get(name))
        if "blocked" in state:
            self.signal_mask = frozenset(map(_signal, state["blocked"]))
            self.pending_signals = frozenset(map(_signal, state["pending"]))
        if self.rounding_mode is not None:
            self.rounding_mode = _ROUNDING.get(machine, {}).get(self.rounding_mode, self.rounding_mode)
        if self.fp_exceptions is not None:
            flags = self.fp_exceptions
            self.fp_exceptions = tuple(word for bit, word in _EXCEPTIONS.get(machine, {}).items() if flags & bit)
        if self.affinity is not None:
            self.affinity = frozenset(self.affinity)
        if self.policy is not None and 0 <= self.policy < len(_POLICIES):
            self.policy = _POLICIES[self.policy]
        if "stack_low" in state:
            self.stack = (state["stack_low"], state["stack_high"])

    def __repr__(self):
        known = ((name, getattr(self, name)) for name in self.__slots__)
        return "ThreadState(%s)" % ", ".join("%s=%r" % pair for pair in known if pair[1] is not None)

    def __eq__(self, other):
        if type(other) is not ThreadState:
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    __hash__ = None


def thread_state(snapshot):
    """What Snapshot.thread_state is."""
    return ThreadState(snapshot._state())


def _ranges(numbers):
    """{0, 1, 2, 5} as '0-2,5'."""
    parts = []
    for number in sorted(numbers):
        if parts and parts[-1][1] == number - 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(str(low) if low == high else "%d-%d" % (low, high) for low, high in parts)


def _signals(numbers):
    return " ".join(getattr(n, "name", None) or "SIG%d" % n for n in sorted(numbers)) or "none"


def _errno_text(number):
    import errno

    name = errno.errorcode.get(number)
    return "%d %s: %s" % (number, name, os.strerror(number)) if name else str(number)


def _locale_text(text):
    """'LC_CTYPE=C.UTF-8;LC_NUMERIC=C;LC_TIME=C' as 'C, but LC_CTYPE=C.UTF-8'."""
    parts = [part.partition("=") for part in text.split(";")]
    values = [value for _, equals, value in parts if equals]
    if not values:
        return text
    common = max(values, key=values.count)
    others = ["%s=%s" % (name, value) for name, _, value in parts if value != common]
    return common + (", but " + ", ".join(others) if others else "")


def _state_rows(state):
    """(label, text) for what is known of a ThreadState."""
    if state.name is not None:
        yield "name", _one_line(state.name)
    if state.tid is not None:
        yield "thread id", "%d of process %d" % (state.tid, state.pid)
    if state.signal_mask is not None:
        yield "blocked signals", _signals(state.signal_mask)
        yield "pending signals", _signals(state.pending_signals)
    if state.rounding_mode is not None:
        yield "rounding", str(state.rounding_mode)
        yield "floating point", ", ".join(state.fp_exceptions) or "no exceptions"
    if state.locale is not None:
        yield "locale", _locale_text(_one_line(state.locale))
    if state.affinity is not None:
        yield "affinity", _ranges(state.affinity) or "none"
    if state.policy is not None:
        text = "%s, nice %d" % (state.policy, state.nice)
        yield "scheduling", text if not state.priority else "%s, priority %d" % (text, state.priority)
    if state.errno is not None:
        yield "errno", _errno_text(state.errno)
    if state.cpu is not None:
        yield "cpu", str(state.cpu)
    if state.cpu_time is not None:
        yield "cpu time", "%.6f s" % state.cpu_time
    if state.stack is not None:
        yield "stack", "0x%x to 0x%x, %d KiB" % (state.stack + ((state.stack[1] - state.stack[0]) // 1024,))


# ---- the tree ----


def _source_line(frame):
    if not frame.lineno:
        return None
    return _one_line(linecache.getline(frame.filename, frame.lineno).strip()) or None


def _frame_dict(frame, most, redacts, with_locals):
    variables = frame.locals if with_locals else None
    return {
        "name": frame.name,
        "qualname": frame.qualname,
        "filename": frame.filename,
        "lineno": frame.lineno,
        "line": _source_line(frame),
        "locals": variables and {name: render(value, most, redacts) for name, value in variables.items()},
    }


def _is_interpreter(frame):
    if not frame.module:
        return False
    name = os.path.basename(frame.module)
    return re.match(r"(lib)?python[\d.]", name) is not None or frame.module == os.path.realpath(sys.executable)


def _is_common(frame):
    """Frames whose locals nobody asks for: of the interpreter, of this package, of the start of threads."""
    name = os.path.basename(frame.module or "")
    return _is_interpreter(frame) or name.startswith(("_xctx.", "libxctx.", "libc.so", "libc-", "libpthread"))


def _native_dict(frame):
    return {
        "function": frame.function,
        "file": frame.file,
        "line": frame.line,
        "module": frame.module,
        "pc": frame.pc,
        "offset": frame.offset,
        "inlined": frame.inlined,
        "interpreter": _is_interpreter(frame),
        "locals": None if _is_common(frame) else [dict(local._asdict()) for local in frame.locals],
    }


def _native_part(snapshot, tree):
    if "native" not in snapshot.captured:
        return
    try:
        frames = snapshot.native_frames
        tree["native_frames"] = [_native_dict(frame) for frame in frames]
        tree["native_notes"] = [_one_line(note) for note in getattr(frames, "notes", ())]
    except (ImportError, OSError) as error:
        tree["native_error"] = _one_line(str(error))


def _snapshot_tree(snapshot, locals=True, native=True):
    most, redacts = snapshot._options.max_repr, snapshot._options.redacts
    with_locals = locals and "locals" in snapshot.captured
    tree = {
        "captured": list(snapshot.captured),
        "time": snapshot.time,
        "thread_name": snapshot.thread_name,
        "thread_id": snapshot.thread_id,
        "task_name": snapshot.task_name,
        "frames": [_frame_dict(frame, most, redacts, with_locals) for frame in snapshot.frames],
        "more_frames": snapshot.more_frames,
        "trimmed": snapshot.trimmed,
        "native_frames": None,
        "native_notes": [],
        "native_error": None,
        "thread_state": None,
        "parent": None,
    }
    if native:
        _native_part(snapshot, tree)
    if snapshot.thread_state is not None:
        tree["thread_state"] = dict(_state_rows(snapshot.thread_state))
    return tree


def _chain(snapshot, locals=True, native=True):
    """The tree of a snapshot with its parents, of which Python frames are told."""
    top = tree = _snapshot_tree(snapshot, locals, native)
    for _ in range(CHAIN_MOST):
        snapshot = snapshot.parent
        if snapshot is None:
            break
        tree["parent"] = _snapshot_tree(snapshot, locals, False)
        tree = tree["parent"]
    return top


def _variables(context):
    """(name, text) of a context's variables, by name: the order in a context is that of hashes."""
    from xctx import _xctx

    snapshot = context.snapshot
    options = snapshot._options if snapshot is not None else _xctx._options()
    redacts, most = options.redacts, options.max_repr
    pairs = []
    for variable, value in context.items():
        name = _one_line(str(getattr(variable, "name", variable)))
        pairs.append((name, "<redacted>" if redacts(name) else render(value, most, redacts)))
    return sorted(pairs)


def to_dict(snapshot):
    """A snapshot and its parents as what JSON can have."""
    return _chain(snapshot)


def context_to_dict(context):
    """A context as what JSON can have."""
    snapshot = context.snapshot
    return {"variables": dict(_variables(context)), "snapshot": None if snapshot is None else _chain(snapshot)}


# ---- text ----

_STYLES = {
    "heading": "\033[1m",
    "function": "\033[33m",
    "name": "\033[36m",
    "place": "\033[32m",
    "faint": "\033[2m",
}


def _columns(text):
    """How many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text
    )


class _Pen:
    """Lines of words, wrapped at `width` columns; longer words are broken, and places in files are not."""

    def __init__(self, color, width):
        self.color = color
        self.width = max(width, WIDTH_LEAST)
        self.lines = []

    def blank(self):
        self.lines.append("")

    def _styled(self, text, style):
        return _STYLES[style] + text + "\033[0m" if self.color and style else text

    def put(self, indent, *pieces, hang=4):
        """A line of pieces, each a text or (text, style), the lines that follow indented by `hang` more."""
        start = " " * indent
        line, used, empty = start, indent, True
        for piece in pieces:
            text, style = piece if isinstance(piece, tuple) else (piece, None)
            for word in re.findall(r" +|[^ ]+", text):
                size = _columns(word)
                # A word that fits into no line begins where it is.
                fits_alone = size <= self.width - indent - hang or style == "place"
                if used + size > self.width and not empty and (fits_alone or used + 2 > self.width):
                    self.lines.append(line.rstrip(" "))
                    line, used, empty = " " * (indent + hang), indent + hang, True
                    if word[0] == " ":
                        continue
                while size > self.width - used and style != "place":
                    head = self._fitting(word, self.width - used)
                    self.lines.append(line + self._styled(head, style))
                    word = word[len(head) :]
                    size = _columns(word)
                    line, used = " " * (indent + hang), indent + hang
                line += word if word[0] == " " else self._styled(word, style)
                used += size
                empty = False
        self.lines.append(line.rstrip(" "))

    @staticmethod
    def _fitting(word, room):
        count = 1
        while count < len(word) and _columns(word[: count + 1]) <= room:
            count += 1
        return word[:count]

    def text(self):
        return "\n".join(self.lines) + "\n"


def _time_text(seconds):
    when = datetime.datetime.fromtimestamp(seconds).astimezone()
    return when.isoformat(sep=" ", timespec="milliseconds")


def _who(tree):
    """'thread 'MainThread', task 'Task-1''"""
    name = tree["thread_name"]
    text = "thread " + (_one_line(repr(name)) if name else str(tree["thread_id"]))
    if tree["task_name"]:
        text += ", task " + _one_line(repr(tree["task_name"]))
    return text


def _notes(tree):
    if tree["more_frames"]:
        yield "… older frames were not captured (max_frames)"
    if tree["trimmed"]:
        yield "… locals were given back since: more than max_kept snapshots were alive"


def _put_frames(pen, tree):
    for note in _notes(tree):
        pen.put(2, (note, "faint"))
    for frame in reversed(tree["frames"]):
        pen.put(
            2,
            "File ",
            ('"%s"' % _one_line(frame["filename"]), "place"),
            ", line %s, in " % (frame["lineno"] if frame["lineno"] else "?"),
            (frame["name"], "function"),
        )
        if frame["line"]:
            pen.put(4, _cut(frame["line"], pen.width - 4))
        for index, (name, text) in enumerate((frame["locals"] or {}).items()):
            if index >= LOCALS_MOST:
                pen.put(8, ("… %d more" % (len(frame["locals"]) - LOCALS_MOST), "faint"))
                break
            pen.put(8, (name, "name"), " = ", text)


def _folded(frames, interpreter):
    """(index, frame), or (None, count) for frames of the interpreter in a row."""
    count = 0
    for index, frame in enumerate(frames):
        if frame["interpreter"] and not interpreter:
            count += 1
            continue
        if count:
            yield None, count
            count = 0
        yield index, frame
    if count:
        yield None, count


def _folded_text(count):
    return "… %d frame%s of the Python interpreter" % (count, "" if count == 1 else "s")


def _put_native_locals(pen, variables):
    for local in variables or ():
        value = local["value"] if local["value"] is not None else "<%s>" % local["source"]
        pen.put(8, (local["type"] + " ", "faint"), (local["name"] or "(no name)", "name"), " = ", _cut(value, 400))


def _put_native(pen, tree, interpreter):
    if tree["native_error"]:
        pen.put(2, (tree["native_error"], "faint"))
        return
    for index, frame in _folded(tree["native_frames"], interpreter):
        if index is None:
            pen.put(6, (_folded_text(frame), "faint"))
            continue
        name = frame["function"] or "0x%x" % frame["pc"]
        pieces = ["#%-3d" % index, (_one_line(name), "function")]
        if frame["file"]:
            pieces += [" at ", ("%s:%s" % (_one_line(frame["file"]), frame["line"] or "?"), "place")]
        elif frame["module"]:
            pieces += [" from ", (_one_line(frame["module"]), "place")]
        if frame["inlined"]:
            pieces.append((" [inlined]", "faint"))
        pen.put(2, *pieces)
        _put_native_locals(pen, frame["locals"])
    for note in tree["native_notes"]:
        pen.put(2, (note, "faint"))


def _put_state(pen, rows):
    for label, text in rows.items():
        pen.put(4, ("%-18s" % label, "name"), text, hang=18)


def _put_parents(pen, tree):
    while tree["parent"]:
        tree = tree["parent"]
        pen.blank()
        pen.put(0, ("Copied by %s here, %s:" % (_who(tree), _time_text(tree["time"])), "heading"))
        if tree["frames"]:
            _put_frames(pen, tree)
        else:
            pen.put(2, ("no Python frames were captured", "faint"))


def _put_snapshot(pen, tree, interpreter):
    if "stack" in tree["captured"]:
        pen.blank()
        pen.put(0, ("Python stack (most recent call last):", "heading"))
        _put_frames(pen, tree)
    if tree["native_frames"] is not None or tree["native_error"]:
        pen.blank()
        pen.put(0, ("Native stack (most recent call first):", "heading"))
        _put_native(pen, tree, interpreter)
    if tree["thread_state"]:
        pen.blank()
        pen.put(0, ("Thread state:", "heading"))
        _put_state(pen, tree["thread_state"])
    _put_parents(pen, tree)


def _put_heading(pen, what, tree):
    pen.put(0, ("%s copied by %s" % (what, _who(tree)), "heading"), ", %s" % _time_text(tree["time"]))
    pen.put(0, ("Captured: %s" % (", ".join(tree["captured"]) or "nothing"), "faint"))


def format(snapshot, *, color=False, locals=True, native=True, interpreter=False, chain=True, width=80):
    """Snapshot.format()."""
    pen = _Pen(color, width)
    make = _chain if chain else _snapshot_tree
    tree = make(snapshot, locals=locals, native=native)
    _put_heading(pen, "Snapshot", tree)
    _put_snapshot(pen, tree, interpreter)
    return pen.text()


def format_context(context, *, color=False, locals=True, native=True, interpreter=False, chain=True, width=80):
    """Context.format(): variables, then what was captured."""
    pen = _Pen(color, width)
    snapshot = context.snapshot
    tree = None
    if snapshot is not None:
        tree = (_chain if chain else _snapshot_tree)(snapshot, locals=locals, native=native)
        _put_heading(pen, "Context", tree)
    else:
        pen.put(0, ("Context", "heading"), (" (nothing was captured when it was made)", "faint"))
    pen.blank()
    pen.put(0, ("Variables:", "heading"))
    variables = _variables(context)
    for name, text in variables:
        pen.put(4, (name, "name"), " = ", text)
    if not variables:
        pen.put(4, ("none", "faint"))
    if tree:
        _put_snapshot(pen, tree, interpreter)
    return pen.text()


def html(snapshot):
    """Snapshot._repr_html_()."""
    from xctx import _html

    return _html.page_part("Snapshot", _chain(snapshot), None)


def html_context(context):
    """Context._repr_html_()."""
    from xctx import _html

    snapshot = context.snapshot
    return _html.page_part("Context", None if snapshot is None else _chain(snapshot), _variables(context))


def format_origin(snapshot, *, color=False, locals=False, width=80):
    """Where work came from, for the end of a traceback: the frames of a snapshot and of its parents."""
    pen = _Pen(color, width)
    tree = {"parent": _chain(snapshot, locals=locals, native=False)}
    _put_parents(pen, tree)
    return pen.text()
