# SPDX-License-Identifier: MIT
"""One variable, both languages: variables with a type, which C code reads without the GIL."""
import asyncio
import contextvars
import gc
import os
import random
import shlex
import subprocess
import sys
import sysconfig
import threading
import weakref
from contextlib import contextmanager

import pytest
import xctx
import xctx_extension as extension

TEXT = xctx.ContextVar('text', type=str)
OTHER = xctx.ContextVar('other', type=str)
READERS = [extension.read, extension.read_without_gil]


def isolated(function):
    """In a builtin context of its own, within the thread's."""
    def wrapper(*arguments, **keywords):
        return contextvars.copy_context().run(function, *arguments, **keywords)
    wrapper.__name__ = function.__name__
    return wrapper


@isolated
def test_c_reads_what_python_sets():
    number = xctx.ContextVar('number', type=int)
    real = xctx.ContextVar('real', type=float)
    data = xctx.ContextVar('data', type=bytes)
    thing = xctx.ContextVar('thing', type=object)
    flag = xctx.ContextVar('flag', type=bool)
    value = object()
    TEXT.set('grüße')
    number.set(-2**63)
    real.set(2)
    data.set(b'a\0b')
    thing.set(value)
    flag.set(True)
    for read in READERS:
        assert read(TEXT) == 'grüße'
    assert extension.read_int(number) == number.get() == -2**63
    assert extension.read_float(real) == real.get() == 2.0
    assert extension.read_bytes(data) == data.get() == b'a\0b'
    assert extension.read_object(thing) is thing.get() is value
    assert extension.read_int(flag) == 1 and flag.get() is True


def test_c_reads_defaults():
    assert extension.read(xctx.ContextVar('t', type=str, default='none')) == 'none'
    assert extension.read_int(xctx.ContextVar('n', type=int, default=7)) == 7
    assert extension.read_float(xctx.ContextVar('f', type=float, default=0.5)) == 0.5
    assert extension.read_bytes(xctx.ContextVar('b', type=bytes, default=b'x')) == b'x'
    default = []
    thing = xctx.ContextVar('o', type=object, default=default)
    assert extension.read_object(thing) is default and thing.get() is default
    assert extension.read(xctx.ContextVar('t', type=str)) is None


@isolated
def test_python_reads_what_c_sets():
    extension.set(TEXT, 'from C')
    assert TEXT.get() == 'from C'
    assert xctx.copy_context()[TEXT] == 'from C'
    request = extension.variable('request')
    assert request is extension.variable('request')
    assert request.name == 'request'
    extension.set(request, 'r1')
    assert request.get() == 'r1'
    token = request.set('r2')
    assert extension.read_without_gil(request) == 'r2'
    assert token.old_value == 'r1'
    request.reset(token)
    assert extension.read(request) == 'r1'


@isolated
def test_a_variable_that_borrows_its_values_is_set_by_c_alone():
    borrowed = extension.variable('borrowed')
    with pytest.raises(TypeError, match='set by C code alone'):
        borrowed.set('x')
    with pytest.raises(LookupError):
        borrowed.get()


def test_capsules_lead_both_ways():
    request = xctx.ContextVar.from_capsule(extension.capsule(), type=str)
    assert request is extension.variable('request')
    again = xctx.ContextVar.from_capsule(TEXT.capsule, type=str)
    assert again is TEXT
    assert xctx.ContextVar('untyped').capsule is None
    for wrong in (None, 1, xctx._xctx.capi):
        with pytest.raises(TypeError):
            xctx.ContextVar.from_capsule(wrong, type=str)
    with pytest.raises(TypeError):
        xctx.ContextVar.from_capsule(extension.capsule())


@isolated
def test_wrong_values_change_nothing():
    number = xctx.ContextVar('number', type=int)
    TEXT.set('kept')
    number.set(1)
    for variable, value, error in (
            (TEXT, 1, TypeError), (TEXT, b'b', TypeError), (TEXT, None, TypeError), (TEXT, 'a\0b', ValueError),
            (TEXT, '\ud800', UnicodeEncodeError), (number, 'x', TypeError), (number, 2**63, OverflowError),
            (number, 1.0, TypeError)):
        with pytest.raises(error):
            variable.set(value)
    assert TEXT.get() == 'kept' and number.get() == 1
    with pytest.raises(TypeError, match='type must be'):
        xctx.ContextVar('x', type=list)
    with pytest.raises(TypeError):
        xctx.ContextVar('x', type=int, default='not a number')
    with pytest.raises(TypeError, match='with a type was expected'):
        extension.read(xctx.ContextVar('untyped'))


def test_tokens_are_of_one_context():
    contextvars.Context().run(tokens_are_of_one_context)


def tokens_are_of_one_context():
    token = TEXT.set('a')
    assert token.var is TEXT and token.old_value is xctx.Token.MISSING
    inner = contextvars.copy_context()
    with pytest.raises(ValueError, match='different Context'):
        inner.run(TEXT.reset, token)
    assert TEXT.get() == 'a'
    TEXT.reset(token)
    with pytest.raises(RuntimeError, match='already been used once'):
        TEXT.reset(token)
    with TEXT.set('block'):
        assert extension.read(TEXT) == 'block'
    other = xctx.ContextVar('other', type=str)
    with pytest.raises(ValueError, match='different ContextVar'):
        other.reset(TEXT.set('b'))


@isolated
def test_contexts_show_native_variables():
    TEXT.set('shown')
    context = xctx.copy_context()
    TEXT.set('later')
    assert context[TEXT] == 'shown' and TEXT in context and context.get(TEXT) == 'shown'
    assert (TEXT, 'shown') in list(context.items())
    assert len(list(context)) == len(context)
    assert context == context.copy() and context != xctx.copy_context()
    assert TEXT not in xctx.Context()
    assert contextvars.Context().run(extension.read, TEXT) is None
    assert xctx.Context().run(extension.read, TEXT) is None
    assert context.run(extension.read_without_gil, TEXT) == 'shown'
    assert extension.read(TEXT) == 'later'


@isolated
def test_generators_and_nested_runs():
    TEXT.set('outer')

    def generate():
        TEXT.set('generator')
        yield extension.read(TEXT)
        yield extension.read(TEXT)

    def nested(depth):
        TEXT.set('depth %d' % depth)
        if depth:
            contextvars.copy_context().run(nested, depth - 1)
        assert extension.read_without_gil(TEXT) == 'depth %d' % depth
        if depth == 3:
            raise KeyError(depth)

    with pytest.raises(KeyError):
        contextvars.copy_context().run(nested, 6)
    assert extension.read(TEXT) == 'outer'
    assert list(contextvars.copy_context().run(lambda: list(generate()))) == ['generator'] * 2
    assert extension.read(TEXT) == 'outer'


def loops():
    yield asyncio.new_event_loop
    try:
        import uvloop
    except ImportError:
        return
    yield uvloop.new_event_loop


@pytest.mark.parametrize('new_loop', loops())
def test_c_code_finds_the_values_of_the_task_that_calls_it(new_loop):
    async def task(number, depth):
        chosen = random.Random(number)
        own = 'task %d' % number
        extension.set(TEXT, own)
        extension.set_unknown(number)
        for _ in range(20):
            await asyncio.sleep(0)
            # C code is the first to look after the switch.
            assert chosen.choice(READERS)(TEXT) == own
            assert extension.read_unknown() == number
            if chosen.random() < 0.3:
                own += '.'
                chosen.choice([extension.set, lambda v, t: v.set(t)])(TEXT, own)
            if depth and chosen.random() < 0.1:
                await asyncio.get_running_loop().create_task(task(number * 100, depth - 1))
            if chosen.random() < 0.1:
                loop = asyncio.get_running_loop()
                assert await loop.run_in_executor(None, contextvars.copy_context().run,
                                                  extension.read_without_gil, TEXT) == own
            assert TEXT.get() == own

    async def main():
        TEXT.set('main')
        extension.set_unknown(-1)
        await asyncio.gather(*(task(i, 2) for i in range(1, 20)))
        assert extension.read(TEXT) == 'main' and extension.read_unknown() == -1

    loop = new_loop()
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()


def test_tokens_of_c_code_outlive_switches():
    async def task():
        extension.set(request, 'before')
        await asyncio.sleep(0)
        extension.scope_begin('scope')
        for _ in range(3):
            await asyncio.sleep(0)
            assert extension.read(request) == 'scope'
        extension.scope_end()
        assert request.get() == 'before'

    async def other():
        for i in range(8):
            request.set('other %d' % i)
            await asyncio.sleep(0)

    async def main():
        await asyncio.gather(task(), other(), other())

    request = extension.variable('request')
    asyncio.run(main())


@isolated
def test_scoped_bindings_and_contexts_of_c_code():
    request = extension.variable('request')
    request.set('outer')

    def nested():
        assert contextvars.copy_context().run(request.get) == request.get()
        return request.get()

    assert extension.let('bound', request.get) == 'bound'
    assert extension.read(request) == 'outer'
    assert extension.entered('entered', request.get) == 'entered'
    assert extension.entered('entered', lambda: contextvars.copy_context().run(int)) == 0
    inside = extension.entered('entered', xctx.copy_context)
    assert inside[request] == 'entered' and inside.run(extension.read, request) == 'entered'
    assert contextvars.copy_context().run(request.get) == 'outer'
    assert request.get() == 'outer'
    with pytest.raises(ZeroDivisionError):
        extension.entered('entered', lambda: 1 / 0)
    assert request.get() == 'outer'


def test_settings_of_a_thread_are_applied_where_a_context_runs():
    def upward():
        extension.set_rounding(True)
        return xctx.copy_context()

    context = contextvars.copy_context().run(upward)
    assert extension.rounding() == 'nearest'
    assert context.run(extension.rounding) == 'upward'
    assert extension.rounding() == 'nearest'
    with pytest.raises(ZeroDivisionError):
        context.run(lambda: 1 / 0)
    assert extension.rounding() == 'nearest'
    assert contextvars.Context().run(context.run, extension.rounding) == 'upward'


@isolated
def test_what_is_set_without_the_gil_is_published():
    TEXT.set('a')
    extension.set_without_gil(TEXT, 'b')
    assert extension.read_without_gil(TEXT) == 'b'
    extension.publish()
    assert contextvars.copy_context().run(extension.read, TEXT) == 'b'
    extension.set_without_gil(TEXT, 'c')
    assert xctx.copy_context()[TEXT] == 'c'
    extension.set_without_gil(TEXT, 'd')
    assert TEXT.get() == 'd'
    assert contextvars.copy_context().run(TEXT.get) == 'd'


@isolated
def test_native_threads_run_in_the_context():
    untyped = xctx.ContextVar('untyped', default='none')
    builtin = contextvars.ContextVar('builtin', default='none')
    TEXT.set('text')
    untyped.set('value')
    builtin.set('value')

    def python():
        seen = TEXT.get(), untyped.get(), builtin.get(), extension.read(TEXT)
        TEXT.set('changed')
        untyped.set('changed')
        assert extension.read_without_gil(TEXT) == 'changed' == untyped.get()
        return seen

    expected = ('text', ('text', 'value', 'value', 'text'))
    assert extension.on_bound_thread(TEXT, python) == expected
    assert extension.on_new_thread(TEXT, python) == expected
    assert (TEXT.get(), untyped.get()) == ('text', 'value')
    context = xctx.copy_context()
    TEXT.set('later')
    untyped.set('later')
    assert extension.on_thread_in_context(TEXT, python, context) == expected
    # Without the GIL, native variables go along alone.
    assert extension.on_thread_made_without_gil(TEXT, lambda: TEXT.get()) == ('later', 'later')
    with pytest.raises(TypeError):
        extension.on_thread_in_context(TEXT, python, contextvars.copy_context())


@isolated
def test_native_threads_without_the_package_see_their_context_from_enter_on():
    builtin = contextvars.ContextVar('builtin', default='none')
    TEXT.set('text')
    builtin.set('value')

    def look():
        return extension.read_without_gil(TEXT), builtin.get()

    def copied():
        context = contextvars.copy_context()
        found = []
        thread = threading.Thread(target=lambda: found.append(context.run(look)))
        thread.start()
        thread.join()
        return look(), context.run(look), *found

    def entered():
        extension.enter()
        return copied()

    assert extension.on_bound_thread(None, entered)[1] == (('text', 'value'),) * 3
    # Native variables are the thread's own; a copy for another one is without.
    assert extension.on_bound_thread(None, copied)[1] == (('text', 'none'), ('text', 'none'), (None, 'none'))


@isolated
def test_copies_of_a_native_threads_own_context_hold_its_variables_wherever_they_are_entered():
    TEXT.set('text')

    def python():
        own, other = contextvars.copy_context(), contextvars.copy_context()

        def within():
            extension.set_without_gil(OTHER, 'x')
            OTHER.set('y')
            return own.run(extension.read_without_gil, TEXT), own.run(extension.read_without_gil, OTHER)

        return other.run(within)

    assert extension.on_bound_thread(None, python)[1] == ('text', None)


@isolated
def test_tasks_of_a_native_thread_start_in_its_context():
    TEXT.set('bound')
    untyped = xctx.ContextVar('untyped')
    untyped.set('bound')

    async def task(i):
        assert extension.read(TEXT) == 'bound'
        TEXT.set(str(i))
        await asyncio.sleep(0)
        assert extension.read_without_gil(TEXT) == str(i)
        return untyped.get()

    async def main():
        return await asyncio.gather(*(task(i) for i in range(3)))

    def python():
        return untyped.get(), asyncio.run(main())

    assert extension.on_bound_thread(TEXT, python) == ('bound', ('bound', ['bound'] * 3))


class Value:
    pass


@isolated
def test_objects_are_released_where_the_gil_is_not():
    thing = xctx.ContextVar('thing', type=object)

    def body():
        value = Value()
        reference = weakref.ref(value)
        thing.set(value)
        extension.keep()
        return reference

    reference = contextvars.copy_context().run(body)
    gc.collect()
    assert reference() is not None
    extension.drop()
    for _ in range(100):
        thing.get(None)
        if reference() is None:
            break
    gc.collect()
    assert reference() is None


def test_the_last_release_may_come_while_the_interpreter_ends():
    code = '''if 1:
        import xctx, xctx_extension
        class Value:
            def __del__(self): pass
        thing = xctx.ContextVar('thing', type=object)
        untyped = xctx.ContextVar('untyped')
        thing.set(Value()); untyped.set(Value())
        xctx_extension.keep()
        xctx_extension.drop_at_exit()
        '''
    done = subprocess.run([sys.executable, '-X', 'dev', '-c', code], capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b'')


@pytest.mark.parametrize('registered', [True, False])
def test_daemon_thread_that_looks_after_python_has_ended(registered):
    code = '''if 1:
        import contextvars, threading, time, xctx, xctx_extension
        text = xctx.ContextVar('text', type=str)
        def work():
            if %r:
                text.set('daemon')
            xctx_extension.look_at_exit()
        threading.Thread(target=contextvars.Context().run, args=(work,), daemon=True).start()
        while not xctx_extension.looks():
            time.sleep(0.01)
        ''' % registered
    done = subprocess.run([sys.executable, '-X', 'dev', '-c', code], capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b'')


def test_objects_with_contexts_in_their_finalizers_go_while_others_are_published():
    thing = xctx.ContextVar('thing', type=object)
    done = []

    class Value:
        def __del__(self):
            nest(40)

    def nest(depth):
        done.append(TEXT.get(None))
        if depth > 0:
            contextvars.Context().run(nest, depth - 1)

    def body():
        thing.set(Value())
        extension.set_without_gil(thing, None)  # now what has been published alone has it
        assert thing.get() is None

    threads = [threading.Thread(target=body) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    contextvars.copy_context().run(body)
    assert done == [None] * 41 * 4


def test_a_variable_does_not_keep_a_capsule_of_its_own():
    variable = extension.variable('borrowed')
    assert xctx.ContextVar.from_capsule(variable.capsule, type=str) is variable
    reference = weakref.ref(variable)
    del variable
    gc.collect()
    assert reference() is None


@isolated
def test_a_variable_made_while_the_one_before_goes_is_found():
    made = []
    variable = extension.variable('borrowed')
    reference = weakref.ref(variable, lambda _: made.append(extension.variable('borrowed')))
    del variable
    gc.collect()
    assert reference() is None and extension.variable('borrowed') is made[0]


def test_variables_come_and_go():
    for i in range(1000):
        variable = xctx.ContextVar('v', type=(str, object)[i % 2], default='d')
        contextvars.copy_context().run(variable.set, 'x')
        assert variable.get() == 'd'
    capsule = variable.capsule
    reference = weakref.ref(variable)
    del variable
    assert reference() is not None
    del capsule
    gc.collect()
    assert reference() is None


def test_threads_have_variables_of_their_own():
    problems = []

    def work(number):
        try:
            assert TEXT.get(None) is None
            for i in range(200):
                TEXT.set('%d %d' % (number, i))
                assert extension.read_without_gil(TEXT) == '%d %d' % (number, i)
                contextvars.copy_context().run(TEXT.set, 'nested')
                assert extension.read(TEXT) == '%d %d' % (number, i)
        except BaseException as problem:  # pylint: disable=broad-except
            problems.append(problem)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems


NO_MEMORY = '''
import _testcapi, contextvars, xctx
text = xctx.ContextVar('text', type=str)
thing = xctx.ContextVar('thing', type=object)
number = xctx.ContextVar('number', type=int)

def body():
    token = text.set('abc')
    thing.set([1])
    number.set(5)
    assert (text.get(), thing.get(), number.get()) == ('abc', [1], 5)
    contextvars.copy_context().run(text.set, 'x')
    context = xctx._xctx._copy_context(0)
    assert dict(context)[text] == 'abc' and context == context.copy()
    text.reset(token)
    xctx.ContextVar('new', type=str, default='q')

def without_memory(n):
    _testcapi.set_nomemory(n, n + 1)
    try:
        body()
    finally:
        _testcapi.remove_mem_hooks()

failed = 0
for n in range(1, 400):
    try:
        contextvars.copy_context().run(without_memory, n)
    except MemoryError:
        failed += 1
    contextvars.copy_context().run(body)
assert 10 < failed < 399, failed
'''


def test_memory_errors_lose_nothing():
    pytest.importorskip('_testcapi')
    done = subprocess.run([sys.executable, '-X', 'dev', '-c', NO_MEMORY], capture_output=True, timeout=100, text=True)
    assert (done.returncode, done.stderr) == (0, '')


def test_a_forked_child_has_the_variables():
    code = '''if 1:
        import contextvars, os, threading, warnings, xctx, xctx_extension
        warnings.simplefilter('ignore')
        text = xctx.ContextVar('text', type=str)
        thing = xctx.ContextVar('thing', type=object)
        stop = threading.Event()
        def other():
            text.set('other'); thing.set([])
            stop.wait()
        thread = threading.Thread(target=other)
        thread.start()
        text.set('parent'); thing.set([1])
        child = os.fork()
        if not child:
            assert xctx_extension.read_without_gil(text) == 'parent' and thing.get() == [1]
            text.set('child')
            assert contextvars.copy_context().run(text.get) == 'child'
            assert xctx_extension.on_bound_thread(text, text.get) == ('child', 'child')
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        assert text.get() == 'parent'
        stop.set(); thread.join()
        raise SystemExit(status)
        '''
    done = subprocess.run([sys.executable, '-X', 'dev', '-c', code], capture_output=True, timeout=60, text=True)
    assert (done.returncode, done.stderr) == (0, '')


def test_threads_that_the_interpreter_forgets_are_followed_again():
    """A thread of C's calls Python time and again; each time Python makes another thread state for it."""
    @isolated
    def once(i):
        TEXT.set(str(i))
        return extension.on_bound_thread(TEXT, lambda: contextvars.copy_context().run(extension.read, TEXT))

    for i in range(100):
        assert once(i) == (str(i), str(i))


def test_a_thread_may_read_without_the_gil_before_anything_else():
    TEXT.set('main')
    results = []
    thread = threading.Thread(target=lambda: results.append(extension.read_unknown()))
    thread.start()
    thread.join()
    assert results == [0]


class SetsElsewhere:
    """Sets a variable in a context of its own as it goes."""

    def __init__(self, context, variable):
        self.context, self.variable, self.gone = context, variable, []

    def __del__(self):
        self.context.run(self.variable.set, 77)
        self.gone.append(1)


@isolated
def test_finalizers_that_a_switch_runs_stay_in_their_context():
    number = xctx.ContextVar('number', type=int, default=0)
    thing = xctx.ContextVar('thing', type=object)
    elsewhere, context = xctx.Context(), xctx.Context()
    number.set(1)
    value = SetsElsewhere(elsewhere, number)
    gone = value.gone
    context.run(thing.set, value)
    del value, context
    for _ in range(3):
        assert number.get() == 1
    assert gone == [1] and elsewhere[number] == 77 and xctx.copy_context()[number] == 1


@contextmanager
def collections_that_call(function):
    """Calls it at each garbage collection; until Python 3.11 those start wherever an object is made."""
    running = []

    def callback(phase, info):
        if phase == 'start' and not running:
            running.append(1)
            function()
            running.clear()

    before = gc.get_threshold()
    gc.callbacks.append(callback)
    gc.set_threshold(1)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(callback)


@isolated
def test_collections_while_variables_are_set():
    number = xctx.ContextVar('number', type=int)
    elsewhere = xctx.Context()
    with collections_that_call(lambda: elsewhere.run(number.set, -1)):
        for i in range(500):
            number.set(i)
            assert number.get() == i and xctx.copy_context()[number] == i
    assert gc.isenabled()


GOING_THROUGH = """
import gc, xctx

variables = [xctx.ContextVar('v%d' % i, type=str) for i in range(30)]
context, count = xctx.Context(), [0]

def change(phase, info):
    if phase == 'start':
        gc.callbacks.clear()
        count[0] += 1
        for i in range(3):
            variables[(count[0] + i) % len(variables)].set('x' * 50 + str(count[0]))
        gc.callbacks.append(change)

def go_through():
    for variable in variables:
        variable.set('s' * 40)
    gc.callbacks.append(change)
    gc.set_threshold(1)
    for _ in range(300):
        assert len(context) == len(variables)

context.run(go_through)
gc.set_threshold(0)
"""


def test_collections_that_set_variables_while_those_are_gone_through():
    subprocess.run([sys.executable, '-c', GOING_THROUGH], check=True, timeout=60)


@isolated
def test_adopted_context_goes_with_its_thread_state():
    TEXT.set('bound')
    adopted = []

    def first():
        adopted.append(TEXT.get())

    def second():
        extension.publish()  # the thread follows, and adopts nothing
        contexts = [xctx.Context() for _ in range(1000)]  # one of them where the adopted one was
        return {context.run(extension.read, TEXT) for context in contexts}

    assert extension.on_bound_thread(TEXT, second, first) == ('bound', {None})
    assert adopted == ['bound']


# ---- the package's headers ----

NUMBER = """
#include <xctx/python.h>
#include <xctx/xctx.h>

static XCTX_VAR_DEFINE(number);

static PyObject *read_number(PyObject *self, PyObject *unused)
{
    return PyLong_FromVoidPtr(xctx_var_get(&number));
}

static PyMethodDef functions[] = {{"read", read_number, METH_NOARGS, NULL}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "number", .m_size = -1, .m_methods = functions};

PyMODINIT_FUNC PyInit_number(void)
{
    if (xctx_python_import())
        return NULL;
    PyObject *module = PyModule_Create(&definition);
    PyObject *variable = module ? xctx_python_variable(&number, (PyObject *)&PyLong_Type, NULL) : NULL;
    if (!variable || PyModule_AddObject(module, "number", variable))
        return NULL;
    return module;
}
"""


def test_extension_is_built_against_the_package_alone(tmp_path):
    include = xctx.get_include()
    assert os.path.isabs(include)
    copy = os.path.dirname(include)
    (tmp_path / 'number.c').write_text(NUMBER)
    # Installed beside the package, and found without LD_LIBRARY_PATH, also where it is imported first.
    os.symlink(copy, str(tmp_path / 'xctx'))
    command = ['cc', '-shared', '-fPIC', 'number.c', '-o', 'number' + sysconfig.get_config_var('EXT_SUFFIX'),
               '-I', include, '-isystem' + sysconfig.get_path('include'), '-isystem' + sysconfig.get_path('platinclude'),
               os.path.join(include, '..', 'libxctx.so.0'), '-Wl,-rpath,$ORIGIN/xctx']
    built = subprocess.run(command, cwd=str(tmp_path), stderr=subprocess.PIPE, universal_newlines=True)
    assert built.returncode == 0, ' '.join(map(shlex.quote, command)) + '\n' + built.stderr
    code = ('import number, xctx\n'
            'xctx.Context().run(lambda: (number.number.set(17), print(number.read())))\n'
            'print(number.read())\n'
            'with open("/proc/self/maps") as maps:\n'
            '    print(len({line.split()[-1] for line in maps if "/libxctx.so" in line}))\n')
    done = subprocess.run([sys.executable, '-c', code], cwd=str(tmp_path), env=dict(os.environ, PYTHONPATH=str(tmp_path)),
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
    assert (done.returncode, done.stdout.split()) == (0, ['17', '0', '1']), done.stdout
