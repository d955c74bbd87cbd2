# SPDX-License-Identifier: MIT
"""xctx behaves as contextvars of the running Python does: each program runs with both, and has to say the same.

A program is given `m`, the module; what it says is its value's repr, or the exception with its text and its context.
Addresses, and the modules' names in those of types, are left out of the comparison.
"""
import contextvars
import re
import sys

import pytest

import xctx

PROGRAMS = '''
m.ContextVar()
m.ContextVar(1)
m.ContextVar(None)
m.ContextVar(b'a')
m.ContextVar('a', 1)
m.ContextVar('a', defaults=1)
m.ContextVar(name='a')
m.ContextVar('a')
m.ContextVar('a', default=123)
m.ContextVar('é "q"', default=[1])
m.ContextVar(type('S', (str,), {})('s'))
m.ContextVar('a').name
m.ContextVar('a').get()
m.ContextVar('a').get(1)
m.ContextVar('a').get(1, 2)
m.ContextVar('a').get(default=1)
m.ContextVar('a', default=7).get()
m.ContextVar('a', default=7).get(8)
m.ContextVar('a', default=None).get()
m.ContextVar('a').set(1)
m.ContextVar('a').set(1).old_value
m.ContextVar('a').set(1).var
m.ContextVar('a').set()
m.ContextVar('a').set(1, 2)
m.ContextVar('a').set(value=1)
m.ContextVar('a').reset(None)
m.ContextVar('a').reset()
m.ContextVar('a').reset(m.ContextVar('b').set(1))
(lambda v: (v.set(1), v.set(2).old_value, v.get()))(m.ContextVar('a'))
(lambda v: (lambda t: (v.reset(t), t))(v.set(1)))(m.ContextVar('a'))
(lambda v: (lambda t: (v.reset(t), v.reset(t)))(v.set(1)))(m.ContextVar('a'))
(lambda v: v.reset(m.Context().run(v.set, 1)))(m.ContextVar('a'))
(lambda v: m.ContextVar('b').reset(m.Context().run(v.set, 1)))(m.ContextVar('a'))
setattr(m.ContextVar('a'), 'name', 'b')
setattr(m.ContextVar('a'), 'other', 'b')
setattr(m.ContextVar('a').set(1), 'var', 'b')
delattr(m.ContextVar('a'), 'name')
m.ContextVar('a') == m.ContextVar('a')
m.ContextVar('a') < m.ContextVar('a')
isinstance(hash(m.ContextVar('a')), int)
m.ContextVar[int]
m.ContextVar[int, str]
m.Token[int]
m.Context[int]
type('V', (m.ContextVar,), {})
type('T', (m.Token,), {})
type('C', (m.Context,), {})
m.Token()
m.Token(1)
m.Token.MISSING
m.Token.MISSING is contextvars.Token.MISSING
m.Token.MISSING.__class__()
hash(m.ContextVar('a').set(1))
{m.ContextVar('a').set(1)}
(lambda v: v.set(1) == v.set(1))(m.ContextVar('a'))
m.Context()
m.Context(1)
m.Context(a=1)
m.Context(*[], **{})
hash(m.Context())
m.Context() == m.Context()
m.Context() != m.Context()
m.Context() == {}
m.Context() == 1
m.Context() < m.Context()
len(m.Context())
bool(m.Context())
list(m.Context())
list(m.Context().items())
list(m.Context().keys())
list(m.Context().values())
next(iter(m.Context()))
len(m.Context().keys())
m.Context()['a']
m.Context()[m.ContextVar('a')]
m.Context()[1, 2]
m.Context().__setitem__(m.ContextVar('a'), 1)
m.Context().__delitem__(m.ContextVar('a'))
'a' in m.Context()
m.ContextVar('a', default=1) in m.Context()
m.Context().get('a')
m.Context().get()
m.Context().get(m.ContextVar('a'))
m.Context().get(m.ContextVar('a'), 2)
m.Context().get(m.ContextVar('a'), 2, 3)
m.Context().get(m.ContextVar('a'), default=2)
m.Context().get(m.ContextVar('a', default=3))
m.Context().copy()
m.Context().copy(1)
m.Context().run()
m.Context().run(None)
m.Context().run(1, 2)
m.Context().run(lambda: 1 / 0)
m.Context().run(lambda *a, **k: (a, k), 1, 2, b=3, self=4)
m.Context().run(callable=lambda: 1)
m.Context().run(dict, callable=1)
(lambda c: c.run(c.run, lambda: 1))(m.Context())
(lambda c: (c.run(m.copy_context) == c, len(c)))(m.Context())
(lambda c, v: (c.run(v.set, 5), c[v], c.get(v), v in c, len(c), list(c.items()), c))(m.Context(), m.ContextVar('a'))
(lambda c, v: (c.run(v.set, 5), c.copy() == c, c.copy().run(v.set, 6), c[v]))(m.Context(), m.ContextVar('a'))
(lambda c, d, v: (c.run(v.set, 5), d.run(v.set, 5.0), c == d, c != d))(m.Context(), m.Context(), m.ContextVar('a'))
(lambda c, d, v: (c.run(v.set, [1]), d.run(v.set, [2]), c == d, c != d))(m.Context(), m.Context(), m.ContextVar('a'))
(lambda c, v: c.run(lambda: (v.set(v), v.get(), list(m.copy_context().values()))))(m.Context(), m.ContextVar('a'))
(lambda c, v: c.run(lambda t: (v.reset(t), len(m.copy_context())), c.run(v.set, 1)))(m.Context(), m.ContextVar('a'))
m.copy_context(1)
m.copy_context(a=1)
__import__('copy').copy(m.Context())
__import__('copy').copy(m.ContextVar('a'))
__import__('copy').deepcopy(m.Context())
__import__('copy').deepcopy(m.ContextVar('a').set(1))
__import__('pickle').dumps(m.Context(), 0)
__import__('pickle').dumps(m.Context(), 4)
__import__('pickle').dumps(m.ContextVar('a'), 0)
__import__('pickle').dumps(m.ContextVar('a'), 4)
__import__('pickle').dumps(m.ContextVar('a').set(1), 0)
__import__('pickle').dumps(m.ContextVar('a').set(1), 4)
__import__('weakref').ref(m.ContextVar('a').set(1))
(lambda c: __import__('weakref').ref(c)() is c)(m.Context())
__import__('gc').is_tracked(m.Context())
__import__('gc').is_tracked(m.ContextVar('a'))
__import__('gc').is_tracked(m.ContextVar('a').set(1))
m.ContextVar.get()
m.ContextVar.get(1)
m.ContextVar.set(1, 2)
m.Context.run(1, 2)
m.Context.__len__(1)
m.ContextVar.__name__, m.Context.__name__, m.Token.__name__
'''.strip().splitlines()


def outcome(program, module):
    try:
        value = module.Context().run(eval, program, {'m': module, 'contextvars': contextvars})
        text = repr(value)
    except BaseException as exception:
        value = exception
        text = '%s%r: %s, context %r' % (type(exception).__name__, [type(a) for a in exception.args], exception,
                                         exception.__context__)
    text = re.sub(r'0x[0-9a-f]+', '0x', text)
    return re.sub(r'\b(xctx|_xctx|_contextvars|contextvars)\.', '', text)


@pytest.mark.parametrize('program', PROGRAMS)
def test_outcome_is_that_of_contextvars(program):
    if program == 'm.Token[int]' and sys.version_info < (3, 9):
        pytest.skip('generic here on every version')
    assert outcome(program, xctx) == outcome(program, contextvars)
