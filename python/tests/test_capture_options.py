# SPDX-License-Identifier: MIT
"""What is captured and how, as set_default_capture() says; secrets; and the types of what is captured."""
import os
import subprocess
import sys
import threading
import weakref

import pytest

import xctx
from support import LOCALS, Thing, capture, here, needs_inspect
from xctx import copy_context, set_default_capture

pytestmark = pytest.mark.usefixtures("default_capture")


# ---- options ----


def test_defaults():
    assert xctx.get_default_capture() == {
        "what": "stack,locals,native,state",
        "max_frames": 64,
        "depth": 1,
        "max_repr": 200,
        "redact": None,
        "render": "lazy",
        "max_kept": 1000,
    }


@pytest.mark.parametrize(
    "what, expected",
    [
        ("all", ("stack", "locals", "native", "state")),
        ("none", ()),
        ("", ()),
        ((), ()),
        ("stack", ("stack",)),
        ("locals", ("stack", "locals")),
        (" native , state", ("native", "state")),
        (["stack", "native"], ("stack", "native")),
        ({"state"}, ("state",)),
    ],
)
def test_what(what, expected):
    set_default_capture(what)
    snapshot = copy_context().snapshot
    assert (snapshot.captured if snapshot else ()) == expected


def test_setting_again_what_was_said():
    set_default_capture("stack", max_frames=7, depth=3, max_repr=99, redact=["x*"], render="eager", max_kept=5)
    said = xctx.get_default_capture()
    set_default_capture()
    set_default_capture(**said)
    assert xctx.get_default_capture() == said and said["redact"] == ("x*",)


@pytest.mark.parametrize(
    "error, args, kwargs",
    [
        (ValueError, ("everything",), {}),
        (ValueError, (["stack", "x"],), {}),
        (TypeError, (1,), {}),
        (TypeError, ([1],), {}),
        (TypeError, (None,), {}),
        (ValueError, (), {"max_frames": 0}),
        (ValueError, (), {"max_frames": 100000}),
        (TypeError, (), {"max_frames": "1"}),
        (ValueError, (), {"depth": 0}),
        (ValueError, (), {"depth": 17}),
        (ValueError, (), {"max_repr": 15}),
        (ValueError, (), {"max_kept": 0}),
        (OverflowError, (), {"max_kept": 1 << 100}),
        (ValueError, (), {"render": "now"}),
        (TypeError, (), {"redact": 1}),
        (TypeError, (), {"redact": [1]}),
        (TypeError, ("all", 5), {}),
        (TypeError, (), {"unknown": 5}),
    ],
)
def test_bad_options_change_nothing(error, args, kwargs):
    set_default_capture("stack", max_frames=5)
    before = xctx.get_default_capture()
    with pytest.raises(error):
        set_default_capture(*args, **kwargs)
    assert xctx.get_default_capture() == before


def test_environment():
    def run(value):
        environment = dict(os.environ, XCTX_PYTHON_CAPTURE=value)
        code = "import xctx; print(xctx.get_default_capture()['what'])"
        return subprocess.run(
            [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=True
        )

    assert run("stack,state").stdout == b"stack,state\n"
    assert run("none").stdout == run("").stdout == b"none\n"
    result = run("stack,wrong")
    assert result.stdout == b"stack\n" and b"'wrong'" in result.stderr


def test_depth_copies_containers():
    inner = [1]
    value = {"list": inner, "tuple": (inner,), "set": {1}}
    set_default_capture(depth=2)
    two = capture()
    set_default_capture(depth=3)
    three = capture()
    set_default_capture(depth=4)
    four = capture()
    value["new"] = 1
    inner.append(2)
    assert two.frames[0].locals["value"] == {"list": [1, 2], "tuple": ([1, 2],), "set": {1}}
    assert two.frames[0].locals["value"]["list"] is inner
    assert two.frames[0].locals["inner"] == [1]
    assert three.frames[0].locals["value"] == {"list": [1], "tuple": ([1, 2],), "set": {1}}
    assert four.frames[0].locals["value"] == {"list": [1], "tuple": ([1],), "set": {1}}


def test_depth_of_what_contains_itself_ends():
    loop = []
    loop.append(loop)
    set_default_capture(depth=16)
    copy = capture().frames[0].locals["loop"]
    for _ in range(20):
        copy = copy[0]
    assert copy is loop


def test_depth_is_bounded_by_items():
    large = list(range(20000))
    wide = [[0] * 100 for _ in range(500)]
    set_default_capture(depth=3)
    locals_ = capture().frames[0].locals
    assert locals_["large"] is large
    assert sum(copy is not row for copy, row in zip(locals_["wide"], wide)) <= 100


def test_eager_rendering_keeps_texts_alone():
    def function():
        thing = Thing()
        number = [1, "a"]
        return weakref.ref(thing), capture(), number

    set_default_capture(render="eager")
    reference, snapshot, number = function()
    assert reference() is None
    number.append(2)
    locals_ = snapshot.frames[0].locals
    assert repr(locals_["number"]) == "[1, 'a']"
    assert repr(locals_["thing"]).startswith("<support.Thing object")


def test_eager_repr_may_capture():
    class Capturing:
        def __repr__(self):
            me = self
            return "captured %d" % len(copy_context().frames[0].locals)

    set_default_capture(render="eager")
    value = Capturing()
    assert repr(capture().frames[0].locals["value"]) == "captured 2"


# ---- secrets ----


@pytest.mark.parametrize(
    "redact", ["password", ["password"], "*word", ["x", "PASS*"], lambda name, value: name == "password"]
)
def test_redacted_values_are_not_kept(redact):
    def function():
        password = Thing()
        user = Thing()
        references = weakref.ref(password), weakref.ref(user)
        return references, copy_context()

    set_default_capture(redact=redact)
    (password, user), context = function()
    assert password() is None and user() is not None
    assert repr(context.frames[0].locals["password"]) == "<redacted>"


def test_redacted_in_modules_cells_and_generators():
    set_default_capture(redact=["key"])
    namespace = {"capture": capture, "key": "module"}
    exec("result = capture()", namespace)

    def outer():
        key = "cell"

        def inner():
            return capture(), key

        return inner()[0]

    def generator(key):
        yield capture()

    for snapshot in (namespace["result"], outer(), next(generator("g"))):
        assert repr(snapshot.frames[0].locals["key"]) == "<redacted>"
    assert repr(outer().frames[1].locals["key"]) == "<redacted>"


def test_redact_that_raises_hides(monkeypatch):
    raised = []
    monkeypatch.setattr(sys, "unraisablehook", raised.append)

    def redact(name, value):
        raise RuntimeError(name)

    set_default_capture(redact=redact)
    x = 1
    locals_ = capture().frames[0].locals
    assert repr(locals_["x"]) == "<redacted>"
    assert raised and raised[0].exc_type is RuntimeError


def test_redact_is_asked_with_the_value_and_may_capture():
    def redact(name, value):
        set_default_capture("stack")
        capture(LOCALS)
        return value == "secret"

    set_default_capture(redact=redact)
    a, b = "secret", "open"
    locals_ = capture().frames[0].locals
    assert repr(locals_["a"]) == "<redacted>" and locals_["b"] == "open"


@needs_inspect
def test_redacted_names_of_native_variables():
    set_default_capture(redact=["flags"])
    frames = [f for f in copy_context().native_frames if f.function == "xctx_capture"]
    local = [v for v in frames[0].locals if v.name == "flags"][0]
    assert local.value is None and local.source == "redacted"


# ---- types ----


def test_types_cannot_be_made_or_subclassed():
    for kind in (xctx.Snapshot, xctx.Frame):
        with pytest.raises(TypeError):
            kind()
        with pytest.raises(TypeError, match="not an acceptable base type"):
            type("Sub", (kind,), {})
        with pytest.raises((AttributeError, TypeError)):
            kind.new_attribute = 1


def test_frames_and_snapshots_compare_by_what_they_show():
    a, b = capture(), capture()
    assert a.frames == a.frames and a.frames[0] != b.frames[0] and a != b and a != 1
    assert len({a, b, a}) == 2 and len(set(a.frames + a.frames)) == len(a.frames)
    with pytest.raises(AttributeError):
        a.frames = ()


def test_repr():
    context, line = copy_context(), here()
    assert repr(context.frames[0]) == "<xctx.Frame test_repr at %s:%d>" % (__file__, line)
    assert repr(context.snapshot) == "<xctx.Snapshot of test_repr at %s:%d>" % (__file__, line)
    assert repr(capture(0)) == "<xctx.Snapshot of thread %d>" % threading.get_ident()
