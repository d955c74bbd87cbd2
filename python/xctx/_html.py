# SPDX-License-Identifier: MIT
"""Reports as a piece of HTML that needs nothing else: for notebooks, or to be put into a page.

It looks as the pages of libxctx-inspect do. Everything folds by <details>, without a script, and the style holds for
what is inside of the piece alone. Texts come into it through _escape() only.
"""

from html import escape as _escape

from xctx._report import _folded, _notes, _time_text, _who
from xctx._values import one_line

_STYLE = """
.xctx{--bg:#f6f7f9;--card:#fff;--ink:#1b2130;--soft:#596275;--line:#d9dde5;--fn:#7a3e00;--nm:#0b5c6b;--tag:#e9ecf2;
background:var(--card);color:var(--ink);border:1px solid var(--line);border-radius:10px;padding:1rem 1.25rem;
font:14px/1.5 system-ui,sans-serif;overflow-wrap:anywhere;text-align:left}
@media (prefers-color-scheme:dark){.xctx{--bg:#12151b;--card:#1a1f28;--ink:#e4e8ef;--soft:#a0aaba;--line:#313947;
--fn:#ffbf80;--nm:#77d4e4;--tag:#2b3340}}
.xctx h3{font-size:1.1rem;margin:0;color:inherit}
.xctx h4{font-size:.75rem;letter-spacing:.05em;text-transform:uppercase;color:var(--soft);margin:1rem 0 .4rem}
.xctx summary{cursor:pointer}
.xctx>details{margin-top:.75rem}
.xctx summary h4{display:inline-block;margin:0 0 .3rem}
.xctx .meta{margin:.25rem 0 0;color:var(--soft);font-size:.85rem}
.xctx .frame{border:1px solid var(--line);border-radius:8px;margin:0 0 .35rem;background:var(--card)}
.xctx .frame>summary{padding:.35rem .7rem}
.xctx .frame>div{padding:0 .7rem .5rem}
.xctx .fn,.xctx .nm,.xctx .va,.xctx .ty,.xctx code{font-family:ui-monospace,"SF Mono","DejaVu Sans Mono",Menlo,Consolas,
monospace;font-size:.8rem;background:none;color:inherit}
.xctx .fn{color:var(--fn);font-weight:600}
.xctx .nm{color:var(--nm);font-weight:600}
.xctx .ty,.xctx .at,.xctx .no{color:var(--soft);font-size:.8rem}
.xctx .no{font-style:italic}
.xctx .at{float:right;margin-left:.75rem}
.xctx .tag{padding:0 .4rem;border-radius:4px;background:var(--tag);color:var(--soft);font-size:.7rem}
.xctx table{border-collapse:collapse;width:100%;margin:0;background:none}
.xctx th,.xctx td{text-align:left;vertical-align:baseline;padding:.2rem .75rem .2rem 0;border:0;white-space:normal;
border-bottom:1px solid var(--line);background:none;color:inherit;font-weight:400}
.xctx tr:last-child>*{border-bottom:0}
.xctx th{width:11rem}
.xctx .parent{border-top:1px solid var(--line);margin-top:1rem;padding-top:1rem}
"""


def _span(kind, text):
    return '<span class="%s">%s</span>' % (kind, _escape(text))


def _table(pairs, kind="nm"):
    rows = (
        '<tr><th scope="row">%s</th><td class="va">%s</td></tr>' % (_span(kind, name), _escape(text))
        for name, text in pairs
    )
    return "<table><tbody>%s</tbody></table>" % "".join(rows)


def _base_name(path):
    return path.rsplit("/", 1)[-1]


def _frame(frame, is_open):
    place = "%s:%s" % (_base_name(frame["filename"]), frame["lineno"] or "?")
    summary = _span("at", one_line(place)) + _span("fn", frame["qualname"])
    if frame["line"]:
        summary += " <code>%s</code>" % _escape(frame["line"])
    body = _table(frame["locals"].items()) if frame["locals"] else ""
    body += '<p class="meta">%s, line %s</p>' % (_escape(one_line(frame["filename"])), frame["lineno"] or "?")
    return '<details class="frame"%s><summary>%s</summary><div>%s</div></details>' % (
        " open" if is_open else "",
        summary,
        body,
    )


def _frames(tree):
    parts = ['<p class="no">%s</p>' % _escape(note) for note in _notes(tree)]
    last = len(tree["frames"]) - 1
    parts += [_frame(frame, index == last) for index, frame in enumerate(reversed(tree["frames"]))]
    return "".join(parts) or '<p class="no">no Python frames were captured</p>'


def _native_locals(variables):
    rows = []
    for local in variables or ():
        value = local["value"]
        shown = _span("va", value) if value is not None else _span("no", local["source"])
        rows.append(
            '<tr><th scope="row">%s</th><td>%s</td><td>%s</td></tr>'
            % (_span("nm", local["name"] or "(no name)"), _span("ty", local["type"]), shown)
        )
    return "<table><tbody>%s</tbody></table>" % "".join(rows) if rows else ""


def _native_frame(index, frame):
    place = frame["file"] or frame["module"] or ""
    place = _base_name(place) + (":%s" % frame["line"] if frame["file"] and frame["line"] else "")
    summary = _span("at", one_line(place)) + _span("at", "#%d" % index)
    summary += _span("fn", one_line(frame["function"] or "0x%x" % frame["pc"]))
    if frame["inlined"]:
        summary += ' <span class="tag">inlined</span>'
    body = _native_locals(frame["locals"]) + '<p class="meta">%s</p>' % _escape(one_line(frame["module"] or ""))
    return '<details class="frame"><summary>%s</summary><div>%s</div></details>' % (summary, body)


def _native(tree):
    if tree["native_error"]:
        return '<p class="no">%s</p>' % _escape(tree["native_error"])
    parts = []
    for index, frame in _folded(tree["native_frames"], False):
        if index is None:
            parts.append('<p class="no">%s</p>' % _escape(frame))
        else:
            parts.append(_native_frame(index, frame))
    parts += ['<p class="no">%s</p>' % _escape(note) for note in tree["native_notes"]]
    return "".join(parts)


def _section(title, body, is_open=True):
    return "<details%s><summary><h4>%s</h4></summary>%s</details>" % (" open" if is_open else "", title, body)


def _parents(tree):
    parts = []
    while tree["parent"]:
        tree = tree["parent"]
        heading = "Copied by %s here" % _who(tree)
        parts.append(
            '<div class="parent"><h3>%s</h3><p class="meta">%s</p>%s</div>'
            % (_escape(heading), _escape(_time_text(tree["time"])), _frames(tree))
        )
    return "".join(parts)


def page_part(what, tree, variables):
    """A <div> with the report. `tree`: of _report, or None; `variables`: pairs of texts, or None."""
    parts = ['<div class="xctx"><style>%s</style>' % _STYLE]
    if tree:
        heading = "%s copied by %s" % (what, _who(tree))
        meta = "%s · captured: %s" % (_time_text(tree["time"]), ", ".join(tree["captured"]) or "nothing")
    else:
        heading, meta = what, "nothing was captured when it was made"
    parts.append('<h3>%s</h3><p class="meta">%s</p>' % (_escape(heading), _escape(meta)))
    if variables is not None:
        parts.append(_section("Variables", _table(variables) if variables else '<p class="no">none</p>'))
    if tree:
        if "stack" in tree["captured"]:
            parts.append(_section("Python stack, most recent call last", _frames(tree)))
        if tree["native_frames"] is not None or tree["native_error"]:
            parts.append(_section("Native stack, most recent call first", _native(tree), False))
        if tree["thread_state"]:
            parts.append(_section("Thread state", _table(tree["thread_state"].items(), "ty"), False))
        parts.append(_parents(tree))
    parts.append("</div>")
    return "".join(parts)
