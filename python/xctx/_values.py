# SPDX-License-Identifier: MIT
"""Values as text: bounded, in one line, and whatever their __repr__ does."""

import re
import threading

ITEMS_MOST = 40  # of a container that are shown
LEVELS_MOST = 5  # of containers in containers
NESTED_MOST = 2  # renderings within each other: of a __repr__ that makes a report

_running = threading.local()  # nested: how many renderings the thread is in


def cut(text, most):
    # Also of a subclass of str, whose methods are somebody else's.
    text = str.__getitem__(text, slice(0, most + 1))
    return text if len(text) <= most else text[: most - 1] + "…"


def one_line(text):
    """Text without line ends, control characters and lone surrogates: none of it reaches a terminal as it is."""
    if text.isprintable():
        return text
    text = re.sub(r"[ \t]*[\r\n]\s*", " ", text)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _foreign_repr(value, most):
    try:
        text = repr(value)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also SystemExit: a report is no place to end a program
        return "<repr raised %s>" % type(error).__name__
    return one_line(cut(text, most))


def _items(pieces, opening, closing, most, count):
    """'[1, 2, …]' of an iterator over texts, as many as `most` characters hold."""
    parts, room = [], most - len(opening) - len(closing)
    for index, piece in enumerate(pieces):
        if index >= ITEMS_MOST or room <= 0:
            parts.append("…")
            break
        parts.append(piece)
        room -= len(piece) + 2
    if opening == "(" and count == 1 and len(parts) == 1:
        closing = ",)"
    return opening + ", ".join(parts) + closing


def _render(value, most, level, redacts):
    kind = type(value)
    if kind is str:
        text = repr(value[:most])
        return text if len(value) <= most else text + "…"
    if kind is bytes or kind is bytearray:
        return repr(value[:most]) + ("…" if len(value) > most else "")
    if kind is int and value.bit_length() > 3 * most:
        return "<int of %d bits>" % value.bit_length()
    if kind not in (list, tuple, dict, set, frozenset):
        return _foreign_repr(value, most)
    if level <= 0:
        return "…"
    # A copy: repr() of an item may change the container.
    if kind is dict:
        pieces = (
            "%s: %s"
            % (
                _render(key, most, level - 1, redacts),
                "<redacted>" if type(key) is str and redacts(key, item) else _render(item, most, level - 1, redacts),
            )
            for key, item in list(value.items())[: ITEMS_MOST + 1]
        )
        return _items(pieces, "{", "}", most, len(value))
    pieces = (_render(item, most, level - 1, redacts) for item in list(value)[: ITEMS_MOST + 1])
    if kind is list:
        return _items(pieces, "[", "]", most, len(value))
    if kind is tuple:
        return _items(pieces, "(", ")", most, len(value))
    if not value:
        return repr(value)
    return _items(pieces, "{" if kind is set else "frozenset({", "}" if kind is set else "})", most, len(value))


def _nothing_secret(name, value):
    return False


def render(value, most, redacts=_nothing_secret):
    """repr(value) in one line of at most about `most` characters. Never raises but KeyboardInterrupt.

    Containers of the builtin types are gone through here, so that a large one costs no more than what is shown. A
    __repr__ that makes reports, each of which calls it again for each place where the value is, would take for ever.
    """
    nested = getattr(_running, "nested", 0)
    if nested >= NESTED_MOST:
        return "…"
    try:
        _running.nested = nested + 1
        return cut(one_line(_render(value, most, LEVELS_MOST, redacts)), most)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # changed by another thread, no memory, too deep
        return "<repr raised %s>" % type(error).__name__
    finally:
        _running.nested = nested
