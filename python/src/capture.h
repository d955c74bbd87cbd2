/* SPDX-License-Identifier: MIT */
/*
 * What a copy of a context captures of Python: the words that its files use.
 *
 * A *record* is what was captured at one moment: frames, values of locals, a native snapshot, and whose thread it was.
 * It never changes, but that it may be *trimmed*: it gives back locals and native stack, and says so.
 * A *snapshot* (xctx.Snapshot) is what Python code sees: a record, and the records of its parents, the nearest first.
 * Records do not point to their parents: a snapshot has at most PARENTS_MOST of them, so what a chain keeps alive is
 * bounded without anything being cut off that somebody else looks at.
 *
 * capture.c takes snapshots, frame.c walks frames, keep.c decides what is kept of values, options.c knows what was
 * asked for, snapshot.c has records and snapshots. Everything here needs the GIL.
 */
#ifndef XCTX_PYTHON_CAPTURE_H
#define XCTX_PYTHON_CAPTURE_H

#include "xctx_python.h"

#include <stdbool.h>
#include <stdint.h>

#include <xctx/snapshot.h>

enum {
    PARENTS_MOST = 16,      /* snapshots of a chain, beside the newest: as XCTX_SNAPSHOT_PARENTS_DEFAULT */
    FRAMES_DEFAULT = 64,    /* max_frames */
    FRAMES_MOST = 65536,    /* what it may be at most */
    DEPTH_MOST = 16,        /* of copies of containers */
    ITEMS_MOST = 10000,     /* items of containers that one capture copies; what is beyond stays shared */
    NAMESPACE_NAMES = 256,  /* names of a module or class that are kept at most */
    NAMESPACE_LOOKS = 4096, /* and looked at */
    REPR_DEFAULT = 200,     /* max_repr: characters of a value in a report */
    REPR_MOST = 1 << 20,
    KEPT_DEFAULT = 1000, /* max_kept: records with locals or native stack at one time */
};

/* What xctx.set_default_capture() said: immutable, shared by the records that were made by it. */
typedef struct {
    PyObject_HEAD
    unsigned what; /* CAPTURE_* bits */
    int max_frames;
    int depth;
    bool eager; /* values are rendered at the capture, not kept */
    Py_ssize_t max_repr;
    Py_ssize_t max_kept;
    PyObject *redact; /* as it was given, a tuple or a callable; NULL: nothing is secret */
    PyObject *match;  /* of the names in `redact`, a compiled pattern's; NULL: there are none */
    PyObject *known;  /* name: whether it matches; a dict that is emptied when it gets large */
} OptionsObject;

/* One Python frame. */
struct frame_record {
    PyObject *code;
    PyObject *names;  /* a copy of a module's or class's namespace; NULL: a function, or not captured */
    int lasti;        /* the instruction, in bytes; below 0: it has not begun */
    unsigned count;   /* of its values: as many as the code has variables, or 0: not captured */
    Py_ssize_t first; /* of its values */
};

typedef struct record {
    PyObject_VAR_HEAD
    struct record *older, *newer; /* those that hold much, in a list: see xctx_record_keep() */
    bool listed;
    bool more_frames; /* there were more than max_frames */
    bool trimmed;
    unsigned captured;       /* CAPTURE_* bits */
    unsigned long thread_id; /* as threading.get_ident() */
    int64_t time;            /* CLOCK_REALTIME, in nanoseconds */
    OptionsObject *options;
    PyObject *thread_name;   /* a str; NULL: not known */
    PyObject *task_name;     /* a str; NULL: there is none */
    PyObject *native_frames; /* decoded; NULL: not yet */
    PyObject *thread_state;  /* likewise */
    xctx_snapshot *native;   /* NULL: none */
    Py_ssize_t frame_count, value_count;
    struct frame_record *frames; /* the innermost first */
    PyObject **values;           /* NULL: unbound */
} RecordObject;

typedef struct {
    PyObject_VAR_HEAD /* ob_size: of parents */
    RecordObject *record;
    PyObject *parent; /* made when it is first asked for */
    PyObject *weakrefs;
    RecordObject *parents[1];
} SnapshotObject;

/* ---- options.c ---- */

enum { XCTX_CAPTURE_KINDS = 4 };
extern const char *const xctx_capture_names[XCTX_CAPTURE_KINDS]; /* of bit 0, bit 1, ... */

extern OptionsObject *xctx_options; /* in force */

/* Adds set_default_capture() and get_default_capture() to the module. 0; -1 with an exception. */
int xctx_options_init(PyObject *module);

/* Whether the value of that name is secret. Runs nobody's code but what `redact` is. 1 also if finding out failed; no
   exception is left. */
int xctx_redacted(OptionsObject *options, PyObject *name, PyObject *value);

/* ---- keep.c ---- */

/* A value that is held weakly: contexts and snapshots, each of which would keep the one before alive through a local,
   for ever. xctx_hold() returns new; `value` itself, or what stands for it. xctx_held() goes back: new, the value or a
   marker that says that it is gone. NULL with an exception. */
PyObject *xctx_hold(PyObject *value);
PyObject *xctx_held(PyObject *held);

/* Replaces the values of a record, which nobody else has seen yet, by what the options say. 0; -1 with an exception. */
int xctx_keep_values(RecordObject *record);

int xctx_keep_init(void);

/* ---- frame.c ---- */

/* What the running thread's stack needs: counts first, copy then. `more`: there are more frames. */
struct extent {
    Py_ssize_t frames, values;
    bool more;
};
void xctx_frames_measure(PyThreadState *thread, unsigned flags, int max_frames, struct extent *ret_extent);

/* Fills the record, which has room for as much as was measured. Frames that do not fit are left out: memory was got
   meanwhile, which may have run finalizers, and they may have renamed the module that the first frames are skipped for.
   0; -1 with an exception. */
int xctx_frames_copy(PyThreadState *thread, RecordObject *record, const struct extent *measured, unsigned flags);

/* The name of variable `index` of a code object, borrowed; NULL: it is the compiler's own. */
PyObject *xctx_code_variable(PyCodeObject *code, Py_ssize_t index);

int xctx_frame_init(PyObject *module);
extern PyTypeObject xctx_FrameType;
PyObject *xctx_frame_new(RecordObject *record, Py_ssize_t index);

/* ---- snapshot.c ---- */

RecordObject *xctx_record_new(const struct extent *extent);

/* Lists a record that holds much, and trims the oldest ones where there are more than `most`. */
void xctx_record_keep(RecordObject *record, Py_ssize_t most);

/* `parent`: an xctx.Snapshot, or NULL. Takes no reference. Returns new. */
PyObject *xctx_snapshot_object_new(RecordObject *record, PyObject *parent);

int xctx_snapshot_init(PyObject *module);
extern PyTypeObject xctx_SnapshotType;

/* Whether the interpreter ends. Then asking for modules may abort the process. */
static inline bool xctx_is_finalizing(void)
{
#if PY_VERSION_HEX >= 0x030D0000
    return Py_IsFinalizing();
#else
    return _Py_IsFinalizing();
#endif
}

#endif
