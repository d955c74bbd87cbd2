# SPDX-License-Identifier: MIT
"""What set_default_capture(redact=...) says is secret: what a callable is told, and where values could slip through."""

import contextvars
import io

import pytest

import xctx

HIDDEN = "hun" + "ter2"  # not in any line that a stack shows


@pytest.fixture(autouse=True)
def captures():
    before = xctx.get_default_capture()
    yield
    xctx.set_default_capture(**before)


class Asked:
    """A callable for redact that says no, and notes what it was told."""

    def __init__(self):
        self.told = []

    def __call__(self, name, value):
        self.told.append((name, value))
        return False


def in_a_copy(function):
    return contextvars.copy_context().run(function)


def test_a_callable_is_told_the_values_of_locals_at_the_copy():
    asked = Asked()
    thing = object()
    xctx.set_default_capture("locals", redact=asked)
    xctx.copy_context()
    assert ("thing", thing) in asked.told


def test_a_callable_is_told_the_values_of_context_variables_in_reports():
    asked = Asked()
    variable, value = xctx.ContextVar("variable"), [HIDDEN]
    number = xctx.ContextVar("number", type=int)

    def body():
        variable.set(value)
        number.set(7)
        return xctx.copy_context()

    for what in "none", "stack":
        xctx.set_default_capture(what, redact=asked)
        context = in_a_copy(body)
        for report in context.format, context._repr_html_:
            asked.told.clear()
            assert HIDDEN in report()
            assert [told is value for name, told in asked.told if name == "variable"] == [True]
            assert ("number", 7) in asked.told


def test_a_callable_that_goes_by_the_value_hides_it():
    variable = xctx.ContextVar("variable")

    def body():
        variable.set(HIDDEN)
        return xctx.copy_context()

    xctx.set_default_capture("locals", redact=lambda name, value: value == HIDDEN)
    context = in_a_copy(body)
    assert "variable = <redacted>" in context.format()
    assert HIDDEN not in context.format() and HIDDEN not in context._repr_html_()


def test_a_callable_is_told_items_of_dicts_in_reports():
    asked = Asked()
    settings = {"key": [HIDDEN], 3: "three"}
    xctx.set_default_capture("locals", redact=asked)
    context = xctx.copy_context()
    asked.told.clear()
    context.format()
    assert [value is settings["key"] for name, value in asked.told if name == "key"] == [True]
    assert 3 not in [name for name, value in asked.told]


def test_a_callable_is_told_the_text_of_native_locals():
    asked = Asked()
    xctx.set_default_capture("native", redact=asked)
    frames = xctx.copy_context().native_frames
    values = [local.value for frame in frames for local in frame.locals if local.name]
    if not values:
        pytest.skip("nothing in this process has debug information")
    assert {type(value) for name, value in asked.told} <= {str, type(None)}
    assert [value for name, value in asked.told] == values


REDACTS = [["key"], lambda name, value: name == "key"]


@pytest.mark.parametrize("redact", REDACTS)
@pytest.mark.parametrize("render", ["lazy", "eager"])
def test_items_of_dicts_are_hidden_however_values_are_rendered(redact, render):
    settings = {"key": HIDDEN, "user": ["me", {"key": HIDDEN}]}
    xctx.set_default_capture("locals", redact=redact, render=render)
    text = xctx.copy_context().format()
    assert HIDDEN not in text and settings["key"] == HIDDEN
    assert "settings = {'key': <redacted>, 'user': ['me', {'key': <redacted>}]}" in text


@pytest.mark.parametrize("redact", REDACTS)
def test_items_of_dicts_are_hidden_in_tracebacks(redact):
    def submits():
        settings = {"key": HIDDEN, "user": "me"}
        return xctx.bind(fails), settings

    def fails():
        raise ValueError

    xctx.set_default_capture("locals", redact=redact)
    bound, _ = submits()
    with pytest.raises(ValueError) as raised:
        bound()
    text = "".join(xctx.format_exception(raised.value))
    assert "settings = {'key': <redacted>, 'user': 'me'}" in text and HIDDEN not in text


def test_items_of_dicts_are_hidden_in_dumps():
    variable = xctx.ContextVar("variable")

    def submits():
        settings = {"key": HIDDEN, "user": "me", "more": {"key": HIDDEN}}
        variable.set(settings)
        return xctx.copy_context()

    def dump():
        file = io.StringIO()
        in_a_copy(submits).run(xctx.dump, file)
        return file.getvalue()

    shown = "{'key': <redacted>, 'more': {'key': <redacted>}, 'user': 'me'}"
    xctx.set_default_capture("locals", redact=["key"])
    text = dump()
    assert "settings = " + shown in text and "variable = " + shown in text and HIDDEN not in text
    # A function is not called by a dump.
    asked = Asked()
    xctx.set_default_capture("locals", redact=asked)
    context = in_a_copy(submits)
    asked.told.clear()
    file = io.StringIO()
    context.run(xctx.dump, file)
    assert HIDDEN not in file.getvalue() and "settings = {'key': <redacted>" in file.getvalue()
    assert asked.told == []
