# SPDX-License-Identifier: MIT
"""Reports of what a context holds: as text, as HTML, as a dictionary for JSON.

Imported when the first report is made. Everything that is shown is made into one tree of plain texts first
(to_dict()), so that the three ways show the same, and so that what is secret has one place to be left out.

repr() is anybody's code: it is called here, when the report is made, never at the copy (but with render='eager', which
calls render() from there). Whatever it does, a report comes out: see _values.render().
"""

import datetime
import linecache
import os
import re
import sys
import unicodedata

from xctx._nativeframes import native_frames  # noqa: F401, asked for by Snapshot.native_frames
from xctx._threadstate import state_rows, thread_state  # noqa: F401, asked for by Snapshot.thread_state
from xctx._values import cut, one_line, render

LOCALS_MOST = 100  # of a frame
CHAIN_MOST = 32  # of parents
WIDTH_LEAST = 40


# ---- the tree ----


def _source_line(frame):
    if not frame.lineno:
        return None
    return one_line(linecache.getline(frame.filename, frame.lineno).strip()) or None


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


def _is_package(frame):
    return os.path.basename(frame.module or "").startswith(("_xctx.", "libxctx."))


def _is_start(frame):
    """Of the C library: where threads and programs begin."""
    return os.path.basename(frame.module or "").startswith(("libc.so", "libc-", "libpthread"))


def _native_dict(frame):
    interpreter, package = _is_interpreter(frame), _is_package(frame)
    # Nobody asks for those of the others.
    with_locals = not (interpreter or package or _is_start(frame))
    return {
        "function": frame.function,
        "file": frame.file,
        "line": frame.line,
        "module": frame.module,
        "pc": frame.pc,
        "offset": frame.offset,
        "inlined": frame.inlined,
        "interpreter": interpreter,
        "package": package,
        "locals": [dict(local._asdict()) for local in frame.locals] if with_locals else None,
    }


def _native_part(snapshot, tree):
    if "native" not in snapshot.captured:
        return
    try:
        frames = snapshot.native_frames
        tree["native_frames"] = [_native_dict(frame) for frame in frames]
        tree["native_notes"] = [one_line(note) for note in getattr(frames, "notes", ())]
    except (ImportError, OSError) as error:
        tree["native_error"] = one_line(str(error))


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
        tree["thread_state"] = dict(state_rows(snapshot.thread_state))
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
        name = one_line(str.__str__(variable.name))  # also of a subclass of str
        pairs.append((name, "<redacted>" if redacts(name, value) else render(value, most, redacts)))
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
    text = "thread " + (one_line(repr(name)) if name else str(tree["thread_id"]))
    if tree["task_name"]:
        text += ", task " + one_line(repr(tree["task_name"]))
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
            ('"%s"' % one_line(frame["filename"]), "place"),
            ", line %s, in " % (frame["lineno"] if frame["lineno"] else "?"),
            (frame["name"], "function"),
        )
        if frame["line"]:
            pen.put(4, cut(frame["line"], pen.width - 4))
        for index, (name, text) in enumerate((frame["locals"] or {}).items()):
            if index >= LOCALS_MOST:
                pen.put(8, ("… %d more" % (len(frame["locals"]) - LOCALS_MOST), "faint"))
                break
            pen.put(8, (name, "name"), " = ", text)


def _folded(frames, interpreter):
    """(index, frame), or (None, text) for frames in a row of the interpreter and of this package."""
    row = []
    for index, frame in enumerate(frames):
        if (frame["interpreter"] or frame["package"]) and not interpreter:
            row.append(frame)
            continue
        if row:
            yield None, _folded_text(row)
            row = []
        yield index, frame
    if row:
        yield None, _folded_text(row)


def _folded_text(row):
    whose = ["the Python interpreter"] if any(frame["interpreter"] for frame in row) else []
    whose += ["xctx"] if any(frame["package"] for frame in row) else []
    return "… %d frame%s of %s" % (len(row), "" if len(row) == 1 else "s", " and of ".join(whose))


def _put_native_locals(pen, variables):
    for local in variables or ():
        value = local["value"] if local["value"] is not None else "<%s>" % local["source"]
        pen.put(8, (local["type"] + " ", "faint"), (local["name"] or "(no name)", "name"), " = ", cut(value, 400))


def _put_native(pen, tree, interpreter):
    if tree["native_error"]:
        pen.put(2, (tree["native_error"], "faint"))
        return
    for index, frame in _folded(tree["native_frames"], interpreter):
        if index is None:
            pen.put(6, (frame, "faint"))
            continue
        name = frame["function"] or "0x%x" % frame["pc"]
        pieces = ["#%-3d" % index, (one_line(name), "function")]
        if frame["file"]:
            pieces += [" at ", ("%s:%s" % (one_line(frame["file"]), frame["line"] or "?"), "place")]
        elif frame["module"]:
            pieces += [" from ", (one_line(frame["module"]), "place")]
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
