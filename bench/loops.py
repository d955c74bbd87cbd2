# SPDX-License-Identifier: MIT
"""What the benchmark runs in Python: package.c says how.

Each function here takes a module, xctx or contextvars, and returns a loop over n turns of one operation, so that both
sides run the same code wherever they can. Both run in a context that has the same number of variables set.
"""

import contextvars
import json
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from time import perf_counter_ns

VARIABLES = 8
FRAMES = 20
WORKERS = 2
TASKS, PARTS = 100, 3

# Neither small integers nor the ones that variables have: CPython takes short cuts for those.
ONE, OTHER = 2000000, 2000001


def place(var):
    """In which of 32 places at the root of a context CPython has a variable: by a hash that differs from run to run."""
    number = hash(var) & 0xFFFFFFFFFFFFFFFF
    return (number ^ number >> 32) & 31


def scene(module, value=1000000, **options):
    """A context in which some variables are set, and one in the middle of them.

    Where two of them collide in a context, that has one more level, and setting takes longer. So that no side has bad
    luck, none do.
    """
    others = []  # kept until then: CPython makes the hash of the address, and the next may lie where these were
    while True:
        variables = [module.ContextVar("bench", **options) for _ in range(VARIABLES)]
        others.append(variables)
        context = contextvars.Context()
        for variable in variables:
            context.run(variable.set, value)
        if len(set(map(place, context))) == len(context):
            return context, variables[VARIABLES // 2]


def within(context, loop):
    return lambda n: context.run(loop, n)


def empty(n):
    for _ in repeat(None, n):
        pass


def nothing(module):
    return within(contextvars.Context(), empty)


# ---- variables ----


def get(module, **options):
    context, var = scene(module, **options)

    def loop(n):
        for _ in repeat(None, n):
            var.get()

    return within(context, loop)


def set_twice(module, one=ONE, other=OTHER, **options):
    context, var = scene(module, **options)

    def loop(n):
        for _ in repeat(None, n):
            var.set(one)
            var.set(other)

    return within(context, loop)


def set_reset(module, one=ONE, **options):
    context, var = scene(module, **options)

    def loop(n):
        for _ in repeat(None, n):
            var.reset(var.set(one))

    return within(context, loop)


def text(module):
    """Options of a variable for texts, which libxctx holds."""
    return {"value": "a request", **({} if module is contextvars else {"type": str})}


def get_text(module):
    return get(module, **text(module))


def set_twice_text(module):
    return set_twice(module, "one text", "another text", **text(module))


def set_reset_text(module):
    return set_reset(module, "one text", **text(module))


def set_texts(module, count=VARIABLES):
    """Sets variables in the current context, and returns one of them."""
    options = text(module)
    value = options.pop("value")
    variables = [module.ContextVar("bench", **options) for _ in range(count)]
    for variable in variables:
        variable.set(value)
    return variables[count // 2]


# ---- contexts ----


def copy_with(module, capture="none"):
    context, _ = scene(module)
    copy_context = module.copy_context
    if module is not contextvars:
        module.set_default_capture(capture)

    def loop(n):
        for _ in repeat(None, n):
            copy_context()

    return context, loop


def copy(module):
    return within(*copy_with(module))


def add_text(module, context):
    """Sets one more variable, which libxctx holds. From then on switches of contexts are watched."""
    context.run(set_texts, module, 1)
    return context


def copy_texts(module):
    context, loop = copy_with(module)
    return within(add_text(module, context), loop)


def run_texts(module):
    context, _ = scene(module)
    of = add_text(module, context).run(module.copy_context)
    return run_of(of)


def copy_of(module):
    context, _ = scene(module)
    of = context.run(module.copy_context)

    def loop(n):
        for _ in repeat(None, n):
            of.copy()

    return loop


def function():
    pass


def run_of(context):
    def loop(n):
        for _ in repeat(None, n):
            context.run(function)

    return loop


def run(module):
    context, _ = scene(module)
    return run_of(context.run(module.copy_context))


# ---- captures ----


def at_depth(context, loop):
    """Calls the loop as the innermost of FRAMES functions, each with some variables."""

    def nested(depth, order, prices, n):
        name = "level %d" % depth
        total = sum(prices)
        customer = {"name": name, "total": total}
        return nested(depth - 1, customer, prices, n) if depth > 0 else loop(n)

    def outermost(n):
        return nested(FRAMES - 4, {}, [1.5, 2.5, 4.0], n)

    return within(context, outermost)


def nothing_deep(module):
    return at_depth(contextvars.Context(), empty)


def copy_deep(module, capture="none"):
    """The same for both: the peer's copy has no call stack, however deep that is."""
    context, loop = copy_with(module, capture)
    if module is not contextvars and capture != "none":
        found = []
        at_depth(context, lambda n: found.append(module.copy_context()))(1)
        # This function and its caller are below.
        assert len(found[0].frames) == FRAMES + 2, len(found[0].frames)
    return at_depth(context, loop)


def copy_stack(module):
    return copy_deep(module, "stack")


def copy_stack_locals(module):
    return copy_deep(module, "stack,locals")


def copy_stack_native(module):
    return copy_deep(module, "stack,native")


def copy_stack_state(module):
    return copy_deep(module, "stack,state")


def copy_all(module):
    return copy_deep(module, "all")


# The next two are nearly the same, and stay two: asking at each frame which of them it is takes an eighth of the time of
# the faster one.


def walk(module):
    """By hand: file, line and name of each frame."""
    getframe = sys._getframe

    def loop(n):
        for _ in repeat(None, n):
            frames = []
            frame = getframe()
            while frame is not None:
                code = frame.f_code
                frames.append((code.co_filename, frame.f_lineno, code.co_name))
                frame = frame.f_back

    return at_depth(contextvars.Context(), loop)


def walk_frames(module):
    """By hand: the frames alone."""
    getframe = sys._getframe

    def loop(n):
        for _ in repeat(None, n):
            frames = []
            frame = getframe()
            while frame is not None:
                frames.append(frame)
                frame = frame.f_back
            del frames

    return at_depth(contextvars.Context(), loop)


def extract_stack(module):
    extract = traceback.extract_stack

    def loop(n):
        for _ in repeat(None, n):
            extract()

    return at_depth(contextvars.Context(), loop)


# ---- install() ----

DOCUMENT = {
    "order": 1000017,
    "customer": {"name": "A. Customer", "mail": "customer@example.org", "since": 2019, "tags": ["new", "abroad"]},
    "lines": [
        {"item": "item %d" % number, "count": number, "price": number * 1.25, "shipped": number % 2 == 0, "note": None}
        for number in range(38)
    ],
}


def task():
    return json.loads(json.dumps(DOCUMENT))


def pool(module):
    """Not a loop: has a pool of threads do tasks, all of them submitted at depth, and returns microseconds for each.

    Of a few times the best one, which no other program has disturbed.
    """

    def have_done(executor, n):
        start = perf_counter_ns()
        for future in [executor.submit(task) for _ in repeat(None, n)]:
            future.result()
        return (perf_counter_ns() - start) / n / 1000

    def submit(n):
        with ThreadPoolExecutor(WORKERS) as executor:
            have_done(executor, 2 * WORKERS)
            return min(have_done(executor, n) for _ in range(PARTS))

    submit_at_depth = at_depth(scene(module)[0], submit)

    def sample():
        if module is contextvars:
            return submit_at_depth(TASKS)
        module.install()
        try:
            return submit_at_depth(TASKS)
        finally:
            module.uninstall()

    return sample
