# SPDX-License-Identifier: MIT
"""A thread's settings, with names for what are numbers to the system."""

import os

from xctx._values import one_line

_ROUNDING = {
    "x86_64": {0: "to-nearest", 0x400: "downward", 0x800: "upward", 0xC00: "toward-zero"},
    "aarch64": {0: "to-nearest", 0x800000: "downward", 0x400000: "upward", 0xC00000: "toward-zero"},
}
_EXCEPTIONS = {
    "x86_64": {1: "invalid", 4: "divide-by-zero", 8: "overflow", 16: "underflow", 32: "inexact"},
    "aarch64": {1: "invalid", 2: "divide-by-zero", 4: "overflow", 8: "underflow", 16: "inexact"},
}
_POLICIES = ("other", "fifo", "rr", "batch", "iso", "idle", "deadline", "ext")


def _signal(number):
    import signal

    try:
        return signal.Signals(number)
    except ValueError:
        return number


class ThreadState:
    """A thread's settings when a context was copied. What was not captured is None.

    tid, pid, name
    signal_mask, pending_signals   sets of signal.Signals
    rounding_mode                  'to-nearest', 'upward', 'downward', 'toward-zero'
    fp_exceptions                  what floating-point arithmetic has flagged: a tuple of words
    locale                         the thread's LC_ALL, as setlocale() writes it
    affinity                       the processors that it may run on: a set
    policy, priority, nice
    errno, cpu
    time, cpu_time                 in seconds
    stack                          (low, high) addresses of its stack
    """

    __slots__ = (
        "tid",
        "pid",
        "name",
        "signal_mask",
        "pending_signals",
        "rounding_mode",
        "fp_exceptions",
        "locale",
        "affinity",
        "policy",
        "priority",
        "nice",
        "errno",
        "cpu",
        "time",
        "cpu_time",
        "stack",
    )

    def __init__(self, state):
        machine = os.uname().machine
        for name in self.__slots__:
            setattr(self, name, state.get(name))
        if "blocked" in state:
            self.signal_mask = frozenset(map(_signal, state["blocked"]))
            self.pending_signals = frozenset(map(_signal, state["pending"]))
        if self.rounding_mode is not None:
            self.rounding_mode = _ROUNDING.get(machine, {}).get(self.rounding_mode, self.rounding_mode)
        if self.fp_exceptions is not None:
            flags = self.fp_exceptions
            self.fp_exceptions = tuple(word for bit, word in _EXCEPTIONS.get(machine, {}).items() if flags & bit)
        if self.affinity is not None:
            self.affinity = frozenset(self.affinity)
        if self.policy is not None and 0 <= self.policy < len(_POLICIES):
            self.policy = _POLICIES[self.policy]
        if "stack_low" in state:
            self.stack = (state["stack_low"], state["stack_high"])

    def __repr__(self):
        known = ((name, getattr(self, name)) for name in self.__slots__)
        return "ThreadState(%s)" % ", ".join("%s=%r" % pair for pair in known if pair[1] is not None)

    def __eq__(self, other):
        if type(other) is not ThreadState:
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    __hash__ = None


def thread_state(snapshot):
    """What Snapshot.thread_state is."""
    return ThreadState(snapshot._state())


def _ranges(numbers):
    """{0, 1, 2, 5} as '0-2,5'."""
    parts = []
    for number in sorted(numbers):
        if parts and parts[-1][1] == number - 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(str(low) if low == high else "%d-%d" % (low, high) for low, high in parts)


def _signals(numbers):
    return " ".join(getattr(n, "name", None) or "SIG%d" % n for n in sorted(numbers)) or "none"


def _errno_text(number):
    import errno

    name = errno.errorcode.get(number)
    return "%d %s: %s" % (number, name, os.strerror(number)) if name else str(number)


def _locale_text(text):
    """'LC_CTYPE=C.UTF-8;LC_NUMERIC=C;LC_TIME=C' as 'C, but LC_CTYPE=C.UTF-8'."""
    parts = [part.partition("=") for part in text.split(";")]
    values = [value for _, equals, value in parts if equals]
    if not values:
        return text
    common = max(values, key=values.count)
    others = ["%s=%s" % (name, value) for name, _, value in parts if value != common]
    return common + (", but " + ", ".join(others) if others else "")


def state_rows(state):
    """(label, text) for what is known of a ThreadState."""
    if state.name is not None:
        yield "name", one_line(state.name)
    if state.tid is not None:
        yield "thread id", "%d of process %d" % (state.tid, state.pid)
    if state.signal_mask is not None:
        yield "blocked signals", _signals(state.signal_mask)
        yield "pending signals", _signals(state.pending_signals)
    if state.rounding_mode is not None:
        yield "rounding", str(state.rounding_mode)
        yield "floating point", ", ".join(state.fp_exceptions) or "no exceptions"
    if state.locale is not None:
        yield "locale", _locale_text(one_line(state.locale))
    if state.affinity is not None:
        yield "affinity", _ranges(state.affinity) or "none"
    if state.policy is not None:
        text = "%s, nice %d" % (state.policy, state.nice)
        yield "scheduling", text if not state.priority else "%s, priority %d" % (text, state.priority)
    if state.errno is not None:
        yield "errno", _errno_text(state.errno)
    if state.cpu is not None:
        yield "cpu", str(state.cpu)
    if state.cpu_time is not None:
        yield "cpu time", "%.6f s" % state.cpu_time
    if state.stack is not None:
        yield "stack", "0x%x to 0x%x, as far as known" % state.stack
