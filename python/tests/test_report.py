# SPDX-License-Identifier: MIT
"""Reports: text, HTML and dictionaries, whatever the values do."""

import html.parser
import io
import json
import re
import sys
import threading

import pytest

import xctx
from xctx import ContextVar, _report, copy_context, set_default_capture

pytestmark = pytest.mark.usefixtures("default_capture")

VARIABLE = ContextVar("variable")


class Raises:
    def __repr__(self):
        raise ValueError("no")


class RaisesExit:
    def __repr__(self):
        raise SystemExit(3)


class Recurses:
    def __repr__(self):
        return repr(self)


class Huge:
    def __repr__(self):
        return "<" + "x" * 10000000 + ">"


class NoText:
    def __repr__(self):
        return 5


class OwnText(str):
    def __getitem__(self, index):
        raise RuntimeError

    __len__ = __str__ = __format__ = __getitem__


class ReturnsOwnText:
    def __repr__(self):
        return OwnText("<own text>")


class Lines:
    def __repr__(self):
        return "array([[1],\n       [2]])\x1b[31m\ud800"


class OddMeta(type):
    @property
    def __name__(cls):
        raise RuntimeError


class Spy:
    calls = 0

    def __repr__(self):
        Spy.calls += 1
        return "<Spy>"


class Html:
    def __repr__(self):
        return "<script>alert('&\"')</script>"


class Parser(html.parser.HTMLParser):
    """Every tag is closed where it has to be; collects the tags and the texts."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.texts = [], [], []

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def parsed(text):
    parser = Parser()
    parser.feed(text)
    parser.close()
    assert parser.open == []
    return parser


# ---- values ----


@pytest.mark.parametrize(
    "value, expected",
    [
        (1, "1"),
        (True, "True"),
        (None, "None"),
        ("text", "'text'"),
        (b"bytes", "b'bytes'"),
        ([], "[]"),
        ((1,), "(1,)"),
        ((1, 2), "(1, 2)"),
        ({}, "{}"),
        (set(), "set()"),
        ({1}, "{1}"),
        (frozenset(), "frozenset()"),
        (frozenset({1}), "frozenset({1})"),
        ({"a": [1, (2,)]}, "{'a': [1, (2,)]}"),
        ("a\nb\x1b", r"'a\nb\x1b'"),
        (Raises(), "<repr raised ValueError>"),
        ([Raises(), 1], "[<repr raised ValueError>, 1]"),
        ({Raises: Raises()}, "{%r: <repr raised ValueError>}" % Raises),
        (RaisesExit(), "<repr raised SystemExit>"),
        (Recurses(), "<repr raised RecursionError>"),
        (NoText(), "<repr raised TypeError>"),
        (ReturnsOwnText(), "<own text>"),
        (Lines(), r"array([[1], [2]])\x1b[31m\ud800"),
    ],
)
def test_render(value, expected):
    assert _report.render(value, 200) == expected


def test_render_of_a_huge_number_says_how_huge():
    assert _report.render(1 << 100000, 200) == "<int of 100001 bits>"


def test_render_is_bounded():
    loop = []
    loop.append(loop)
    wide = {i: {j: {k: list(range(100)) for k in range(20)} for j in range(20)} for i in range(20)}
    for value in ("x" * 10**7, b"x" * 10**7, [0] * 10**6, Huge(), loop, wide, {"k" * 1000: "v" * 1000}, range(10**9)):
        for most in (16, 200):
            assert len(_report.render(value, most)) <= most
    assert _report.render("x" * 300, 20) == "'" + "x" * 18 + "…"
    assert _report.render([1] * 100, 20) == "[1, 1, 1, 1, 1, 1, …"[:19] + "…"


def test_keyboard_interrupt_in_repr_interrupts():
    class Interrupted:
        def __repr__(self):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _report.render([Interrupted()], 200)


def test_container_that_repr_changes():
    values = []

    class Clears:
        def __repr__(self):
            values.clear()
            return "cleared"

    values.extend([Clears(), 1, 2])
    assert _report.render(values, 200) == "[cleared, 1, 2]"


# ---- text ----


def make(name="worker-1", **locals_of_submitter):
    result = []

    def submit(argument="x"):
        return copy_context()

    def work():
        step = [1, 2]
        result.append(copy_context())

    context = submit()
    thread = threading.Thread(target=context.run, args=(work,), name=name)
    thread.start()
    thread.join()
    return result[0]


def test_format_has_everything_in_order():
    token = VARIABLE.set("value")
    try:
        text = make().format()
    finally:
        VARIABLE.reset(token)
    parts = [
        "Context copied by thread 'worker-1', ",
        "Captured: stack, locals, native, state",
        "Variables:",
        "    variable = 'value'",
        "Python stack (most recent call last):",
        'in work',
        "    result.append(copy_context())",
        "        step = [1, 2]",
        "Native stack (most recent call first):",
        "Thread state:",
        "    name ",
        "    thread id ",
        "    rounding          to-nearest",
        "Copied by thread 'MainThread' here, ",
        "in submit",
        "    return copy_context()",
        "        argument = 'x'",
    ]
    at = 0
    for part in parts:
        assert part in text[at:], part
        at = text.index(part, at) + len(part)
    assert text.endswith("\n") and not text.endswith("\n\n")


def test_frames_read_as_a_traceback():
    line = sys._getframe().f_lineno + 1
    text = copy_context().format()
    assert '  File "%s", line %d, in test_frames_read_as_a_traceback\n' % (__file__, line) in text or len(__file__) > 30
    assert "    text = copy_context().format()\n" in text


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("color", [False, True])
def test_lines_fit(width, color):
    long_words = "x" * 150
    wide = "漢字" * 60
    several = list(range(100))
    token = VARIABLE.set(["word"] * 50)
    try:
        text = copy_context().format(width=width, color=color)
    finally:
        VARIABLE.reset(token)
    assert ("\033[" in text) == color
    for line in re.sub("\033\\[[0-9;]*m", "", text).splitlines():
        columns = len(line) + sum(c in "漢字" for c in line)
        assert columns <= width or re.match(r' +(File )?"?[^ ]*/|.* at [^ ]*/', line) or "/" in line, line
        assert line == line.rstrip()


def test_parts_can_be_left_out():
    context = make()
    assert "step" not in context.format(locals=False).replace("step = [1, 2]\n    ", "")
    assert "Native stack" not in context.format(native=False)
    assert "Copied by thread 'MainThread'" not in context.format(chain=False)
    with pytest.raises(TypeError):
        context.format(unknown=1)


def test_interpreter_frames_are_folded():
    context = copy_context()
    if not any(context.native_frames):
        pytest.skip("no native frames")
    folded, full = context.format(), context.format(interpreter=True)
    assert re.search(r"… \d+ frames of the Python interpreter", folded)
    assert "_PyEval_EvalFrameDefault" not in folded and "_PyEval_EvalFrameDefault" in full
    assert "frames of the Python interpreter" not in full


def test_native_stacks_begin_with_no_frame_of_the_package():
    context = copy_context()
    if not any(context.native_frames):
        pytest.skip("no native frames")
    own = [frame for frame in context.native_frames if (frame.module or "").rpartition("/")[2].startswith("_xctx.")]
    assert own and context.native_frames[0] is own[0]
    for text in context.format(), context._repr_html_():
        native = text[text.index("Native stack") :]
        assert re.search(r"… \d+ frames of the Python interpreter and of xctx", native)
        assert not any(re.search(r"\b%s\b" % frame.function, native) for frame in own)
    full = context.format(interpreter=True)
    assert all(frame.function in full for frame in own)


def test_snapshot_formats_as_well():
    snapshot = make().snapshot
    text = snapshot.format()
    assert text.startswith("Snapshot copied by thread 'worker-1'") and "Variables" not in text
    assert "step = [1, 2]" in text and "submit" in text


def test_context_without_capture():
    set_default_capture("none")
    token = VARIABLE.set(1)
    try:
        text = copy_context().format()
    finally:
        VARIABLE.reset(token)
    assert text.startswith("Context (nothing was captured") and "variable = 1" in text
    assert "stack" not in text
    assert "none" in xctx.Context().format()
    parsed(xctx.Context()._repr_html_())


def test_report_shows_values_as_they_are_when_it_is_made():
    value = [1]
    context = copy_context()
    value.append(2)
    assert "value = [1, 2]" in context.format()
    set_default_capture(render="eager")
    context = copy_context()
    value.append(3)
    assert "value = [1, 2]" in context.format()


def test_no_repr_is_called_at_the_copy():
    spy = Spy()
    token = VARIABLE.set(spy)
    try:
        before = Spy.calls
        context = copy_context()
        assert Spy.calls == before
        context.format()
        assert Spy.calls > before
    finally:
        VARIABLE.reset(token)


def test_values_that_misbehave():
    a, b, c, d, e, f = Raises(), RaisesExit(), Recurses(), Huge(), NoText(), Lines()
    g = OddMeta("Odd", (), {"__repr__": lambda self: 1 / 0})()
    context = copy_context()
    text = context.format()
    for line in ("a = <repr raised ValueError>", "c = <repr raised RecursionError>", "e = <repr raised TypeError>"):
        assert line in text
    assert "\x1b" not in text and "\ud800" not in text
    text.encode("utf-8")
    parsed(context._repr_html_())
    json.dumps(context.snapshot.to_dict())


def test_source_that_is_gone():
    namespace = {"copy_context": copy_context, "__name__": "gone"}
    exec(compile("def function():\n    return copy_context()\n", "/no/such/file.py", "exec"), namespace)
    text = namespace["function"]().format()
    assert 'File "/no/such/file.py", line 2, in function' in text


def test_many_locals_are_cut():
    namespace = {"copy_context": copy_context}
    names = "".join("    name%d = %d\n" % (i, i) for i in range(150))
    exec("def function():\n%s    return copy_context()\n" % names, namespace)
    text = namespace["function"]().format()
    assert "name99 = 99" in text and "name100 = " not in text and "… 50 more" in text


def test_names_of_threads_that_are_odd():
    text = make(name="a\n\x1b[31m<b>").format()
    assert "\x1b" not in text and r"thread 'a\n\x1b[31m<b>'" in text


def test_repr_that_makes_a_report_of_itself_ends():
    class Reports:
        calls = 0

        def __repr__(self):
            Reports.calls += 1
            return "report of %d" % len(copy_context().format(native=False))

    variable, value, again = ContextVar("variable"), Reports(), []
    again.append(value)
    token = variable.set(value)
    try:
        text = copy_context().format(native=False)
    finally:
        variable.reset(token)
    assert "variable = report of" in text and Reports.calls < 1000


# ---- secrets ----


def test_redacted_nowhere():
    secret = ContextVar("password")
    set_default_capture(redact=["*password*", "key"])
    token = secret.set("hunter2-variable")
    try:

        def function(password="hunter2-local"):
            settings = {"key": "hunter2-item", "user": "me"}
            return copy_context()

        context = function()
        inner = context.run(copy_context)
    finally:
        secret.reset(token)
    for each in (context, inner):
        texts = [each.format(), each._repr_html_(), each.snapshot.format(), json.dumps(each.snapshot.to_dict())]
        texts.append(json.dumps(_report.context_to_dict(each)))
        for text in texts:
            assert "hunter2" not in text
            assert "redacted" in text or text is texts[2]
    assert "'user': 'me'" in context.format()


def test_redacted_variables_of_contexts_without_capture():
    secret = ContextVar("password")
    set_default_capture("none", redact="password")
    token = secret.set("hunter2")
    try:
        context = copy_context()
    finally:
        secret.reset(token)
    assert "hunter2" not in context.format() and "hunter2" not in context._repr_html_()
    assert "password = <redacted>" in context.format()


def test_redacted_when_rendered_early():
    password, open_ = "hunter2", "open"
    set_default_capture(redact="password", render="eager")
    text = copy_context().format()
    assert "hunter2" not in text.replace('password, open_ = "hunter2"', "")
    assert "password = <redacted>" in text


# ---- HTML and dictionaries ----


def test_html_is_well_formed_and_escaped():
    token = VARIABLE.set(Html())
    try:
        value = Html()
        text = make("<b>&'\"")._repr_html_()
        own = copy_context()._repr_html_()
    finally:
        VARIABLE.reset(token)
    for each in (text, own):
        tags = {tag for tag, _ in parsed(each).tags}
        assert tags <= set("div style h3 h4 p details summary span table tbody tr th td code".split())
        assert "http" not in each and "url(" not in each, "needs nothing else"
        for _, attributes in parsed(each).tags:
            assert set(attributes) <= {"class", "open", "scope"}
    assert "<script>alert('&\"')</script>" in parsed(own).texts


def test_html_style_stays_inside():
    text = copy_context()._repr_html_()
    style = re.search("<style>(.*?)</style>", text, re.S).group(1)
    for selector in re.findall(r"([^{}]+)\{", re.sub(r"@media[^{]*\{", "", style)):
        for part in selector.strip().split(","):
            assert part.startswith(".xctx"), part


def test_dictionary_is_what_json_has():
    tree = make().snapshot.to_dict()
    assert json.loads(json.dumps(tree)) == tree
    assert tree["thread_name"] == "worker-1" and tree["frames"][0]["name"] == "work"
    assert tree["frames"][0]["locals"]["step"] == "[1, 2]"
    assert tree["parent"]["thread_name"] == "MainThread" and tree["parent"]["parent"] is None


def test_format_origin():
    snapshot = make().snapshot
    text = _report.format_origin(snapshot)
    assert text.strip().startswith("Copied by thread 'worker-1' here") and "Copied by thread 'MainThread' here" in text
    assert "step = " not in text.replace("step = [1, 2]", "", 0) or "        step" not in text


def test_report_in_several_threads_at_once():
    context = make()
    texts = []
    threads = [threading.Thread(target=lambda: texts.append(context.format())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(texts) == 8 and len({re.sub("0x[0-9a-f]+|stopped|started", "", text) for text in texts}) <= 2


def test_variables_whose_names_do_not_say_their_text():
    class Name(str):
        def __str__(self):
            raise ValueError("no text")

        __repr__ = __str__

    variable = xctx.ContextVar(Name("odd"))

    def report():
        variable.set(17)
        dumped = io.StringIO()
        xctx.dump(dumped)
        return dumped.getvalue(), xctx.copy_context().format(locals=False)

    for text in xctx.Context().run(report):
        assert text.count("odd = 17") == 1
