# SPDX-License-Identifier: MIT
"""ContextVar, Context and Token: what CPython's own tests leave out, and what xctx adds."""
import collections.abc
import contextvars
import decimal
import doctest
import gc
import os
import re
import subprocess
import sys
import threading
import weakref

import pytest

import xctx
from support import Thing

# Captured local variables would keep the tests' objects alive.
pytestmark = pytest.mark.usefixtures('no_capture')


def run_script(text, *arguments, **options):
    return subprocess.run([sys.executable, '-c', text, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          universal_newlines=True, timeout=120, **options)


# What a context shows.

def test_context_shows_builtin_variables_too():
    ours, builtin = xctx.ContextVar('ours'), contextvars.ContextVar('builtin')
    context = xctx.Context()
    context.run(ours.set, 1)
    context.run(builtin.set, 2)
    assert dict(context.items()) == {ours: 1, builtin: 2}
    assert set(context) == set(context.keys()) == {ours, builtin}
    assert sorted(context.values()) == [1, 2]
    assert len(context) == 2 and context[builtin] == 2 and builtin in context and context.get(ours) == 1


def test_context_carries_what_libraries_set():
    def three_digits():
        with decimal.localcontext() as here:
            here.prec = 3
            return xctx.copy_context()
    context = three_digits()
    assert context.run(lambda: str(decimal.Decimal(1) / 3)) == '0.333'
    assert len(str(decimal.Decimal(1) / 3)) > 5


def test_captured_copy_shows_no_hidden_variable():
    xctx.set_default_capture('stack')
    variable = xctx.ContextVar('variable')
    context = xctx.Context()

    def inside():
        variable.set(1)
        return xctx.copy_context(), contextvars.copy_context()
    ours, builtin = context.run(inside)
    assert list(ours.items()) == [(variable, 1)] and len(ours) == 1
    again = ours.run(xctx.copy_context)
    assert again.snapshot is not ours.snapshot and again == ours == context
    hidden = [key for key in ours.run(contextvars.copy_context) if key not in builtin]
    assert hidden and not any(key in ours for key in hidden)
    with pytest.raises(KeyError):
        ours[hidden[0]]
    assert ours.get(hidden[0], 'none') == 'none'


def test_context_is_a_mapping():
    assert isinstance(xctx.Context(), collections.abc.Mapping)


def test_copy_has_the_snapshot_of_the_original():
    xctx.set_default_capture('stack')
    context = xctx.copy_context()
    assert context.copy().snapshot is context.snapshot


def test_comparison_ignores_the_order_of_setting():
    variables = [xctx.ContextVar(str(number)) for number in range(50)]
    a, b = xctx.Context(), xctx.Context()
    for variable in variables:
        a.run(variable.set, variable.name)
    for variable in reversed(variables):
        b.run(variable.set, variable.name)
    assert a == b
    b.run(variables[7].set, 0)
    assert a != b


def test_iterator_goes_on_while_the_context_changes():
    variables = [xctx.ContextVar(str(number)) for number in range(40)]
    context = xctx.Context()
    for variable in variables:
        context.run(variable.set, 0)
    seen = 0
    for variable in context:
        context.run(variable.set, 1)
        context.run(xctx.ContextVar('other').set, 1)
        seen += 1
    assert seen == 40


# Variables whose ContextVar is gone, while a context has their value.

def test_value_outlives_its_variable():
    context = xctx.Context()
    context.run(xctx.ContextVar('gone', default=[5]).set, 1)
    (variable, value), = context.items()
    assert type(variable) is xctx.ContextVar and variable.name == 'gone' and value == 1
    assert type(variable.name) is str
    assert variable.get() == [5] and context[variable] == 1 and context.run(variable.get) == 1
    assert next(iter(context)) is variable
    context.run(lambda: variable.reset(variable.set(2)))
    assert context[variable] == 1


def test_variable_is_freed_at_once_and_can_be_referred_to_weakly():
    gone = []
    for default in 1, Thing():
        variable = xctx.ContextVar('variable', default=default)
        xctx.Context().run(variable.set, Thing())
        reference = weakref.ref(variable, gone.append)
        del variable
        assert gone.pop() is reference


# Garbage.

def cycle_by_value():
    thing, context, variable = Thing(), xctx.Context(), xctx.ContextVar('variable')
    thing.context = context
    context.run(variable.set, thing)
    return thing


def cycle_by_default():
    thing = Thing()
    thing.variable = xctx.ContextVar('variable', default=thing)
    return thing


def cycle_by_default_in_a_context():
    thing = Thing()
    thing.variable, thing.context = xctx.ContextVar('variable', default=thing), xctx.Context()
    thing.context.run(thing.variable.set, 1)
    return thing


def cycle_by_name():
    class Name(str):
        pass
    name = Name('name')
    name.variable, name.thing = xctx.ContextVar(name), Thing()
    return name.thing


def cycle_by_token():
    thing, context, variable = Thing(), xctx.Context(), xctx.ContextVar('variable')
    context.run(variable.set, thing)
    thing.token = context.run(variable.set, 1)
    thing.again = context.run(variable.set, thing)
    return thing


def cycle_by_weak_reference_callback():
    thing, context = Thing(), xctx.Context()
    thing.reference = weakref.ref(context, thing.__init__)
    context.run(xctx.ContextVar('variable').set, thing)
    thing.context = context
    return thing


@pytest.mark.parametrize('cycle', [cycle_by_value, cycle_by_default, cycle_by_default_in_a_context, cycle_by_name,
                                   cycle_by_token, cycle_by_weak_reference_callback])
def test_cycle_is_collected(cycle):
    gc.disable()
    try:
        reference = weakref.ref(cycle())
        assert reference() is not None
        gc.collect()
        assert reference() is None
    finally:
        gc.enable()


def test_finalizer_uses_what_is_being_collected():
    said = []

    class Last:
        def __del__(self):
            said.append((repr(self.variable), self.variable.get(None), list(self.context.items()), len(self.context),
                         self.token.var, self.token.old_value, repr(self.token)))
            self.context.run(self.variable.set, 3)

    def make():
        last = Last()
        last.variable = xctx.ContextVar('variable', default=last)
        last.context = xctx.Context()
        last.token = last.context.run(last.variable.set, last)
    make()
    gc.collect()
    assert len(said) == 1 and 'variable' in said[0][0]


def leaks(function):
    """Whether calls leave something behind: references where this interpreter counts them, else memory blocks."""
    count = getattr(sys, 'gettotalrefcount', sys.getallocatedblocks)

    def measure():
        for _ in range(2000):
            function()
        gc.collect()
        return count()
    measure()
    # Python's own caches grow at first, and now and then.
    counts = [measure() for _ in range(5)]
    return min(after - before for before, after in zip(counts, counts[1:])) > 200


def everything_once():
    variable, other = xctx.ContextVar('a', default=Thing()), contextvars.ContextVar('b')
    context = xctx.Context()

    def inside():
        token = variable.set(1)
        other.set(2)
        with variable.set(3):
            variable.get()
        variable.reset(token)
        for wrong in (lambda: variable.reset(token), lambda: variable.reset(1), lambda: variable.reset(outside),
                      lambda: context.run(list), lambda: context['a'], lambda: context[other, 1],
                      lambda: xctx.ContextVar('c').get(), lambda: xctx.ContextVar(1), lambda: xctx.Context(1),
                      lambda: context[xctx.ContextVar('c')], lambda: xctx.copy_context().run(lambda: 1 / 0),
                      lambda: other.get(1, 2)):
            with pytest.raises(Exception):
                wrong()
        repr((variable, token, context))
        variable.set(4)
        return xctx.copy_context()
    outside = variable.set(0)
    copy = context.run(inside)
    variable.reset(outside)
    assert copy == context and variable in copy and len(copy) == 2
    list(copy), dict(copy.items()), list(copy.values()), copy.copy(), copy.get(other), copy[variable]
    copy.run(everything_with_a_variable_gone)


def everything_with_a_variable_gone():
    xctx.ContextVar('gone', default=[]).set(1)
    list(xctx.copy_context().items())


@pytest.mark.not_under('asan', 'valgrind', reason="counts the blocks of Python's own allocator, which is off there")
def test_nothing_leaks():
    assert not leaks(everything_once)


# What people read.

def test_examples_in_the_documentation_of_the_package():
    xctx.set_default_capture('all')
    # Not in the package's own namespace: frames of the package are left out of captures.
    result = doctest.testmod(xctx, globs={})
    assert result.attempted > 0 and result.failed == 0


def test_everything_has_documentation():
    for name in xctx.__all__:
        thing = getattr(xctx, name)
        assert thing.__doc__, name
        for member in vars(thing) if isinstance(thing, type) and thing.__module__ == 'xctx' else ():
            assert member.startswith('_') or member == 'MISSING' or getattr(thing, member).__doc__, (name, member)


@pytest.mark.not_under('asan', 'valgrind', reason='long, and nearly all of it is mypy')
def test_stubs_say_what_there_is():
    if subprocess.run([sys.executable, '-c', 'import mypy.stubtest']).returncode != 0:
        pytest.skip('no mypy')
    package = os.path.dirname(xctx.__file__)
    done = subprocess.run([sys.executable, '-m', 'mypy.stubtest', 'xctx', '--ignore-missing-stub'], cwd=os.path.dirname(package),
                          env=dict(os.environ, MYPYPATH=os.path.dirname(package)), stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, universal_newlines=True, timeout=300)
    assert done.returncode == 0, done.stdout


# Errors in the middle.

def test_exceptions_of_values_pass_through():
    class Bad:
        def __repr__(self):
            raise ZeroDivisionError('repr')

        def __eq__(self, other):
            raise ZeroDivisionError('eq')
    variable = xctx.ContextVar('variable', default=Bad())
    with pytest.raises(ZeroDivisionError, match='repr'):
        repr(variable)
    token = variable.set(1)
    with pytest.raises(ZeroDivisionError, match='repr'):
        repr(token)
    # Older versions raise what was to be raised, without a text.
    with pytest.raises((ZeroDivisionError, ValueError)):
        xctx.ContextVar('other').reset(token)
    variable.reset(token)
    with pytest.raises((ZeroDivisionError, RuntimeError)):
        variable.reset(token)
    a, b = xctx.Context(), xctx.Context()
    a.run(variable.set, Bad())
    b.run(variable.set, Bad())
    with pytest.raises(ZeroDivisionError, match='eq'):
        a == b
    assert a == a.copy()


def test_finalizer_resets_again():
    variable = xctx.ContextVar('variable')
    errors = []

    class Value:
        def __del__(self):
            try:
                variable.reset(token)
            except RuntimeError as error:
                errors.append(str(error))
    variable.set(0)
    token = variable.set(Value())
    variable.reset(token)
    assert errors == ['%r has already been used once' % token] and variable.get() == 0


def test_token_of_another_context_can_be_used_where_it_belongs():
    variable, context = xctx.ContextVar('variable'), xctx.Context()
    token = context.run(variable.set, 1)
    with pytest.raises(ValueError, match='^<Token var=<ContextVar .* was created in a different Context$'):
        variable.reset(token)
    context.run(variable.reset, token)
    assert variable not in context


def test_run_leaves_the_context_on_exceptions():
    variable, context = xctx.ContextVar('variable', default=0), xctx.Context()

    def fail():
        variable.set(1)
        raise KeyboardInterrupt
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            context.run(fail)
    assert variable.get() == 0 and context[variable] == 1


def test_recursion_is_an_error_and_leaves_all_contexts():
    variable = xctx.ContextVar('variable', default=0)

    def deeper():
        variable.set(variable.get() + 1)
        xctx.copy_context().run(deeper)
    with pytest.raises(RecursionError):
        xctx.Context().run(deeper)
    assert variable.get() == 0


def test_repr_of_a_variable_in_its_own_default():
    default = []
    variable = xctx.ContextVar('variable', default=default)
    default.append(variable)
    assert '[...]' in repr(variable)


def test_context_is_refused_while_another_thread_has_it_entered():
    context, entered, leave = xctx.Context(), threading.Event(), threading.Event()
    thread = threading.Thread(target=context.run, args=(lambda: (entered.set(), leave.wait()),))
    thread.start()
    entered.wait()
    try:
        with pytest.raises(RuntimeError, match='^cannot enter context: <xctx.Context object at .*> is already entered$'):
            context.run(list)
    finally:
        leave.set()
        thread.join()
    assert context.run(list) == []


def test_generator_keeps_to_the_context_that_runs_it():
    variable = xctx.ContextVar('variable', default=0)

    def count():
        while True:
            variable.set(variable.get() + 1)
            yield variable.get()
    generator, contexts = count(), [xctx.Context(), xctx.Context()]
    assert [contexts[turn % 2].run(next, generator) for turn in range(6)] == [1, 1, 2, 2, 3, 3]
    assert variable.get() == 0


# Token as a context manager, as in Python 3.14.

def test_leaving_a_token_resets():
    variable = xctx.ContextVar('variable', default=0)
    with variable.set(1) as token:
        assert isinstance(token, xctx.Token) and variable.get() == 1
    assert variable.get() == 0 and repr(token).startswith('<Token used')
    with pytest.raises(ZeroDivisionError):
        with variable.set(2):
            1 / 0
    assert variable.get() == 0


def test_leaving_a_used_token_is_an_error():
    variable = xctx.ContextVar('variable', default=0)
    with pytest.raises(RuntimeError, match='has already been used once'):
        with variable.set(1) as token:
            variable.reset(token)
    with pytest.raises(ValueError, match='was created in a different Context'):
        with xctx.Context().run(variable.set, 1):
            pass


# Processes and interpreters.

@pytest.mark.skipif(sys.version_info >= (3, 12) and threading.active_count() > 1, reason='fork with threads')
def test_fork_keeps_values():
    variable = xctx.ContextVar('variable')
    variable.set('parent')
    child = os.fork()
    if child == 0:
        good = variable.get() == 'parent' and xctx.copy_context().run(variable.get) == 'parent'
        variable.set('child')
        os._exit(0 if good and variable.get() == 'child' else 1)
    assert os.waitpid(child, 0)[1] == 0 and variable.get() == 'parent'


SUBINTERPRETER = '''
import sys
try:
    import _interpreters as interpreters
except ImportError:
    try:
        import _xxsubinterpreters as interpreters
    except ImportError:
        sys.exit(77)
if sys.argv[1] == 'main first':
    import xctx
text = """
import sys
sys.path = %r
try:
    import xctx
except ImportError as error:
    print('refused:', error)
""" % sys.path
for _ in range(3):
    here = interpreters.create(*sys.argv[2:])
    error = interpreters.run_string(here, text)
    if error is not None:
        print(error)
    interpreters.destroy(here)
import xctx
variable = xctx.ContextVar('a')
variable.set(1)
print(variable.get())
'''


@pytest.mark.parametrize('order', ['main first', 'main last'])
@pytest.mark.parametrize('kind', ['', 'isolated', 'legacy'])
def test_subinterpreter_is_refused(order, kind):
    if kind and sys.version_info < (3, 13):
        pytest.skip('there is one kind before Python 3.13')
    done = run_script(SUBINTERPRETER, order, *filter(None, [kind]))
    if done.returncode == 77:
        pytest.skip('this Python has no module that makes subinterpreters')
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and len(lines) == 4 and lines[-1] == '1', done.stdout
    for line in lines[:-1]:
        assert line.startswith('refused:') and ('subinterpreters' in line), line


def test_module_can_be_imported_again():
    done = run_script('''
import sys, xctx
variable = xctx.ContextVar('a')
variable.set(1)
Context = xctx.Context
for name in [name for name in sys.modules if name.startswith('xctx')]:
    del sys.modules[name]
import xctx
assert xctx.Context is Context and xctx.copy_context()[variable] == 1 and len(xctx.copy_context()) == 1
''')
    assert done.returncode == 0, done.stdout


def test_finalizers_at_the_end_of_the_interpreter():
    done = run_script('''
import xctx
class Last:
    def __del__(self):
        if variable is not None and copy_context is not None:
            token = variable.set(2)
            context = copy_context()
            print(context.run(variable.get), variable.get(), repr(token)[:6])
variable = xctx.ContextVar('a')
copy_context = xctx.copy_context
variable.set(Last())
xctx.kept = [Last(), xctx.copy_context()]
last = Last()
''')
    assert done.returncode == 0 and 'Traceback' not in done.stdout, done.stdout


# Every allocation that fails.

NO_MEMORY = '''
import faulthandler, sys
faulthandler.enable()
from _testcapi import remove_mem_hooks, set_nomemory
import contextvars, xctx
xctx.set_default_capture('none')

variable, other = xctx.ContextVar('a', default=0), contextvars.ContextVar('b')
context = xctx.Context()
others = [xctx.ContextVar(str(number)) for number in range(40)]
for each in others:
    context.run(each.set, 0)
context.run(other.set, 1)
gone = xctx.Context()
gone.run(xctx.ContextVar('gone', default=1).set, 1)
kept = [context.run(variable.set, number) for number in range(300)] + [xctx.Context() for _ in range(600)]
inside = context.run
used = context.run(variable.set, 299)
context.run(variable.reset, used)
equal = context.copy()

def new():
    return xctx.ContextVar('new', default=[])
def set_value():
    return inside(variable.set, 5)
def reset():
    return inside(variable.reset, inside(variable.set, 1))
def with_token():
    with inside(variable.set, 1):
        pass
def get():
    return inside(variable.get)
# Many, as freed ones are kept for later.
def copy():
    return [inside(xctx.copy_context) for _ in range(400)]
def copy_method():
    return [context.copy() for _ in range(400)]
def empty():
    return [xctx.Context() for _ in range(400)]
def look():
    return list(context), list(context.items()), list(context.values()), len(context), context == equal
def look_at_gone():
    return list(gone.items())
def one():
    return context[variable], context.get(other), other in context
def texts():
    return repr(variable), repr(kept[0]), repr(context)
def wrong_token():
    try:
        variable.reset(used)
    except RuntimeError as error:
        return str(error)
def wrong_context():
    try:
        variable.reset(kept[-601])
    except ValueError as error:
        return str(error)

for function in (new, set_value, reset, with_token, get, copy, copy_method, empty, look, look_at_gone, one, texts, wrong_token,
                 wrong_context):
    failed = 0
    for start in range(150):
        try:
            try:
                set_nomemory(start, start + 1)
                function()
            finally:
                remove_mem_hooks()
        except MemoryError:
            failed += 1
        except ValueError:
            assert function is with_token
        except RuntimeError:
            # As with contextvars: a token whose reset fails for lack of memory is used.
            assert function is reset
        assert context.run(other.get) == 1 and variable.get() == 0 and isinstance(context[variable], int)
        assert len(context) == 42 and context.copy() == context
    print(function.__name__, failed)
'''


def test_memory_error_at_every_allocation():
    pytest.importorskip('_testcapi')
    done = run_script(NO_MEMORY)
    assert done.returncode == 0, done.stdout
    # A collection that runs into it cannot raise: the interpreter writes what it says in between.
    counts = dict(re.findall(r'^(\w+) (\d+)$', done.stdout, re.MULTILINE))
    assert len(counts) == 14, done.stdout
    # Those that need memory in any version.
    for name in 'new', 'set_value', 'reset', 'copy', 'copy_method', 'empty', 'look', 'look_at_gone', 'texts':
        assert int(counts[name]) > 0, done.stdout
