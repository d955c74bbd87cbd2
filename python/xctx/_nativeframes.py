# SPDX-License-Identifier: MIT
"""Native call stacks, as xctx._inspect decodes them."""

from collections import namedtuple

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
        secret = local.name and self.options.redacts(local.name, local.value)
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
