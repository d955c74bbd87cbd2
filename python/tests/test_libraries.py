# SPDX-License-Identifier: MIT
"""What libraries keep in builtin context variables goes where ours goes: decimal's contexts, what structlog binds."""
import _pydecimal
import asyncio
import concurrent.futures
import contextvars
import threading

import pytest

import xctx

try:
    import _decimal
except ImportError:
    _decimal = None
try:
    import structlog
except ImportError:
    structlog = None

pytestmark = pytest.mark.usefixtures("own_context")


@pytest.fixture(autouse=True)
def _uninstalled():
    yield
    xctx.uninstall()


def run_thread(function, cls=threading.Thread):
    """What the function returns on a thread."""
    results = []
    thread = cls(target=lambda: results.append(function()))
    thread.start()
    thread.join()
    return results[0]


def run_pool(function):
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        return executor.submit(function).result()


def run_xctx_pool(function):
    with xctx.ThreadPoolExecutor(1) as executor:
        return executor.submit(function).result()


def run_copy(function):
    return xctx.copy_context().run(function)


def run_bound(function):
    return xctx.bind(function)()


def run_task(function):
    async def work():
        return function()

    async def main():
        return await asyncio.ensure_future(work())

    return asyncio.run(main())


# What carries by itself, and what does so after install().
CARRY = [run_copy, run_bound, run_task, run_xctx_pool, lambda function: run_thread(function, xctx.Thread)]
CARRY_INSTALLED = [run_thread, run_pool, *CARRY]
IDS = ["copy", "bind", "task", "xctx.ThreadPoolExecutor", "xctx.Thread"]
WAYS = [(False, way) for way in CARRY] + [(True, way) for way in CARRY_INSTALLED]
WAYS_IDS = IDS + ["installed-" + name for name in ["Thread", "ThreadPoolExecutor", *IDS]]


# ---- decimal ----

needs_c = pytest.mark.skipif(_decimal is None, reason="this Python has no decimal in C")
implementations = pytest.mark.parametrize(
    "decimal", [pytest.param(_decimal, marks=needs_c), _pydecimal], ids=["c", "python"]
)


def third(decimal):
    return str(decimal.Decimal(1) / 3)


THIRD = "0." + "3" * 28  # by default


@implementations
@pytest.mark.parametrize("install, way", WAYS, ids=WAYS_IDS)
def test_a_local_decimal_context_goes_along_and_what_the_work_sets_stays_there(decimal, install, way):
    def work():
        before = third(decimal)
        with decimal.localcontext() as local:
            local.prec = 5
            inside = third(decimal)
        after = third(decimal)
        decimal.setcontext(decimal.Context(prec=7))
        return before, inside, after, third(decimal)

    if install:
        xctx.install()
    assert third(decimal) == THIRD
    with decimal.localcontext() as local:
        local.prec = 3
        assert way(work) == ("0.333", "0.33333", "0.333", "0.3333333")
        assert third(decimal) == "0.333" and decimal.getcontext() is local
    assert third(decimal) == THIRD


@implementations
def test_a_thread_that_nothing_carries_to_has_the_default_decimal_context(decimal):
    with decimal.localcontext() as local:
        local.prec = 3
        assert run_thread(lambda: third(decimal)) == THIRD


@implementations
def test_a_decimal_context_set_in_a_context_stays_in_it(decimal):
    context = xctx.Context()
    context.run(decimal.setcontext, decimal.Context(prec=4))
    assert context.run(third, decimal) == "0.3333"
    assert third(decimal) == THIRD
    copy = context.copy()
    context.run(decimal.setcontext, decimal.Context(prec=2))
    assert (context.run(third, decimal), copy.run(third, decimal)) == ("0.33", "0.3333")


@implementations
def test_copies_share_the_decimal_context_itself_as_those_of_contextvars_do(decimal):
    def change():
        decimal.getcontext().prec = 6

    for module in xctx, contextvars:
        with decimal.localcontext():
            module.copy_context().run(change)
            assert third(decimal) == "0.333333"


@implementations
@pytest.mark.parametrize("install", [False, True], ids=["", "installed"])
def test_tasks_that_take_turns_have_decimal_contexts_of_their_own(decimal, install):
    async def work(digits):
        seen = [third(decimal)]
        with decimal.localcontext() as local:
            local.prec = digits
            for _ in range(5):
                await asyncio.sleep(0)
                seen.append(third(decimal))
        await asyncio.sleep(0)
        return seen + [third(decimal)]

    async def main():
        with decimal.localcontext() as local:
            local.prec = 2
            found = await asyncio.gather(*map(work, range(3, 9)))
            assert third(decimal) == "0.33"
        return found

    if install:
        xctx.install()
    expected = [["0.33"] + ["0." + "3" * digits] * 5 + ["0.33"] for digits in range(3, 9)]
    assert asyncio.run(main()) == expected


# ---- structlog ----

needs_structlog = pytest.mark.skipif(structlog is None, reason="this Python has no structlog")


def log():
    """What a line of the log says."""
    processors = [structlog.contextvars.merge_contextvars, lambda logger, method, event: repr(sorted(event.items()))]
    return structlog.wrap_logger(structlog.ReturnLogger(), processors=processors).info("event")


def line(**bound):
    return repr(sorted({"event": "event", **bound}.items()))


@needs_structlog
@pytest.mark.parametrize("install, way", WAYS, ids=WAYS_IDS)
def test_what_structlog_binds_goes_along_and_what_the_work_binds_stays_there(install, way):
    ours = xctx.ContextVar("ours")
    typed = xctx.ContextVar("typed", type=int)

    def work():
        before = log()
        with structlog.contextvars.bound_contextvars(user="grace", step=1):
            inside = log()
        after = log()
        structlog.contextvars.clear_contextvars()
        return before, inside, after, log()

    if install:
        xctx.install()
    # structlog looks at every variable of the context, also at those that are ours.
    ours.set(1)
    typed.set(2)
    structlog.contextvars.bind_contextvars(request="r-1", user="ada")
    mine = line(request="r-1", user="ada")
    assert way(work) == (mine, line(request="r-1", user="grace", step=1), mine, line())
    assert log() == mine


@needs_structlog
def test_what_structlog_binds_is_reset_in_the_context_where_it_was_bound():
    context = xctx.Context()
    tokens = context.run(structlog.contextvars.bind_contextvars, request="r-2")
    with pytest.raises(ValueError):
        structlog.contextvars.reset_contextvars(**tokens)
    assert context.run(log) == line(request="r-2") and log() == line()
    context.run(structlog.contextvars.reset_contextvars, **tokens)
    assert context.run(log) == line()
