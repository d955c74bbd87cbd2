/* SPDX-License-Identifier: MIT */
/*
 * The package xctx for Python beside the builtin contextvars, in this process.
 *
 * Most loops are Python code, which both sides run alike: loops.py. What an empty loop takes is subtracted. Reading a
 * variable from C is measured in C.
 *
 * The package is imported when the first of these rows is measured, and these come last: from then on this thread
 * follows Python's contexts, which other rows are not to pay for. It must have the same libxctx as this program.
 */
#include "scene.h"

#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>
#include <string.h>
#include <unistd.h>

#include <xctx/follow.h>
#include <xctx/python.h>

static const char *package_folder;
static PyObject *modules[2]; /* xctx and contextvars, by enum bench_side */
static PyObject *loops;      /* loops.py */

static PyObject *running[2]; /* of the row that is measured */
static PyObject *empty;

static void check_python(bool ok, const char *what)
{
    if (ok)
        return;
    if (PyErr_Occurred())
        PyErr_Print();
    bench_fail(what);
}

void bench_package_use(const char *folder)
{
    char path[4096];
    int length = snprintf(path, sizeof(path), "%s/xctx/__init__.py", folder);
    bench_check(length < (int)sizeof(path) && access(path, R_OK) == 0,
                "--package: no package xctx in that folder; `make bench` builds it");
    package_folder = folder;
}

static const char *library_of(void *function)
{
    Dl_info info;
    return dladdr(function, &info) && info.dli_fname ? info.dli_fname : "?";
}

static PyObject *import_module(const char *name)
{
    PyObject *module = PyImport_ImportModule(name);
    check_python(module != NULL, "an import");
    return module;
}

/* A libxctx of the package's own would have contexts of its own. */
static void check_library(void)
{
    PyObject *module = import_module("xctx._xctx"), *file = PyObject_GetAttrString(module, "__file__");
    const char *path = file ? PyUnicode_AsUTF8(file) : NULL;
    check_python(path != NULL, "import xctx._xctx");
    void *handle = dlopen(path, RTLD_NOW | RTLD_NOLOAD);
    void *theirs = handle ? dlsym(handle, "xctx_var_create") : NULL;
    void *ours = __extension__(void *) xctx_var_create;
    if (theirs != ours) {
        fprintf(stderr, "bench: the package uses %s, this program %s\n", library_of(theirs), library_of(ours));
        bench_fail("the package and the benchmark have one libxctx");
    }
    dlclose(handle);
    bench_check(xctx_following() != NULL, "this thread follows Python's contexts");
    Py_DECREF(file);
    Py_DECREF(module);
}

static void add_path(const char *folder)
{
    PyObject *path = PySys_GetObject("path"), *name = PyUnicode_DecodeFSDefault(folder);
    check_python(path && name && PyList_Insert(path, 0, name) == 0, "sys.path");
    Py_DECREF(name);
}

static void import(void)
{
    if (loops)
        return;
    add_path(BENCH_FOLDER);
    add_path(package_folder);
    modules[BENCH_OURS] = import_module("xctx");
    modules[BENCH_PEER] = import_module("contextvars");
    loops = import_module("loops");
    check_python(xctx_python_import() == 0, "xctx_python_import");
    check_library();
}

/* ---- loops in Python ---- */

/* By bench_row.kind, which functions of loops.py make the loops of both sides and the empty one. */
enum kind {
    GET,
    SET,
    SET_RESET,
    COPY,
    COPY_OF,
    RUN,
    WALK,
    WALK_FRAMES,
    EXTRACT,
    STACK,
    LOCALS,
    NATIVE,
    STATE,
    ALL,
    COPY_TEXTS,
    RUN_TEXTS,
    GET_TEXT,
    SET_TEXT,
    SET_RESET_TEXT,
    POOL
};

static const char *const makers[][3] = {
    [GET] = {"get", "get", "nothing"},
    [SET] = {"set_twice", "set_twice", "nothing"},
    [SET_RESET] = {"set_reset", "set_reset", "nothing"},
    [COPY] = {"copy", "copy", "nothing"},
    [COPY_OF] = {"copy_of", "copy_of", "nothing"},
    [RUN] = {"run", "run", "nothing"},
    [WALK] = {"copy_stack", "walk", "nothing_deep"},
    [WALK_FRAMES] = {"copy_stack", "walk_frames", "nothing_deep"},
    [EXTRACT] = {"copy_stack", "extract_stack", "nothing_deep"},
    [STACK] = {"copy_stack", "copy_deep", "nothing_deep"},
    [LOCALS] = {"copy_stack_locals", "copy_deep", "nothing_deep"},
    [NATIVE] = {"copy_stack_native", "copy_deep", "nothing_deep"},
    [STATE] = {"copy_stack_state", "copy_deep", "nothing_deep"},
    [ALL] = {"copy_all", "copy_deep", "nothing_deep"},
    [COPY_TEXTS] = {"copy_texts", "copy_texts", "nothing"},
    [RUN_TEXTS] = {"run_texts", "run_texts", "nothing"},
    [GET_TEXT] = {"get_text", "get_text", "nothing"},
    [SET_TEXT] = {"set_twice_text", "set_twice_text", "nothing"},
    [SET_RESET_TEXT] = {"set_reset_text", "set_reset_text", "nothing"},
    [POOL] = {"pool", "pool", "nothing"},
};

static PyObject *make(const char *maker, enum bench_side side)
{
    PyObject *loop = PyObject_CallMethod(loops, maker, "O", modules[side]);
    check_python(loop != NULL, maker);
    return loop;
}

static void open_loops(const bench_row *row)
{
    import();
    empty = make(makers[row->kind][2], BENCH_PEER);
    for (int side = 0; side < 2; side++)
        running[side] = make(makers[row->kind][side], side);
}

static void close_loops(const bench_row *row)
{
    (void)row;
    Py_CLEAR(running[BENCH_OURS]);
    Py_CLEAR(running[BENCH_PEER]);
    Py_CLEAR(empty);
}

static void run_python(PyObject *loop, long n)
{
    PyObject *result = PyObject_CallFunction(loop, "l", n);
    check_python(result != NULL, "a loop in Python");
    Py_DECREF(result);
}

BENCH_LOOP run_ours(long n)
{
    run_python(running[BENCH_OURS], n);
}

BENCH_LOOP run_peer(long n)
{
    run_python(running[BENCH_PEER], n);
}

BENCH_LOOP run_empty(long n)
{
    run_python(empty, n);
}

static double sample_pool(const bench_row *row, enum bench_side side)
{
    (void)row;
    PyObject *result = PyObject_CallNoArgs(running[side]);
    double value = result ? PyFloat_AsDouble(result) : -1;
    check_python(value >= 0, "the pool of threads");
    Py_DECREF(result);
    return value;
}

/* ---- reading from C ---- */

/* A thread that Python does not know, in a copy of its context. It waits for its turns. */
static struct {
    pthread_t thread;
    sem_t start, done;
    long turns; /* negative: end */
    double ns;  /* what one took */
} reader;

static PyObject *context;
static PyObject *variables[2]; /* by enum bench_side; set in it */
static xctx_var *target;       /* of type str */
static PyObject *py_target;
static const char expected[] = "a request";

BENCH_LOOP read_target(long n)
{
    xctx_var *var = target;
    for (long i = 0; i < n; i++)
        bench_use(xctx_var_get(var));
}

static void *read_in_turns(void *unused)
{
    bench_check(!PyGILState_GetThisThreadState() && strcmp(xctx_var_get(target), expected) == 0,
                "a thread of C's reads what Python has set");
    for (;;) {
        while (sem_wait(&reader.start) != 0)
            ;
        if (reader.turns < 0)
            return unused;
        uint64_t start = bench_now();
        read_target(reader.turns);
        reader.ns = (double)(bench_now() - start) / (double)reader.turns;
        sem_post(&reader.done);
    }
}

BENCH_LOOP read_native(long n)
{
    reader.turns = n;
    sem_post(&reader.start);
    /* With the GIL, which nobody there needs. */
    while (sem_wait(&reader.done) != 0)
        ;
}

BENCH_LOOP read_nothing(long n)
{
    (void)n;
    read_native(0);
}

BENCH_LOOP read_following(long n)
{
    PyThreadState *state = PyEval_SaveThread();
    read_target(n);
    PyEval_RestoreThread(state);
}

BENCH_LOOP py_read(long n)
{
    PyObject *var = py_target, *value;
    for (long i = 0; i < n; i++) {
        bench_check(PyContextVar_Get(var, NULL, &value) == 0, "PyContextVar_Get");
        bench_use(value);
        Py_DECREF(value);
    }
}

/* Passing turns on to the thread takes longer than they do: it measures itself. */
static double sample_read(const bench_row *row, enum bench_side side)
{
    enum { TURNS = 100000, PARTS = 5 };
    double best = 0;
    for (int part = 0; part < PARTS; part++) {
        uint64_t start = bench_now();
        row->run[side](TURNS);
        double ns = side == BENCH_OURS ? reader.ns : (double)(bench_now() - start) / TURNS;
        if (part == 0 || ns < best)
            best = ns;
    }
    return best;
}

static void open_reader(const bench_row *row)
{
    (void)row;
    import();
    context = PyContext_New();
    check_python(context && PyContext_Enter(context) == 0, "PyContext_Enter");
    variables[BENCH_OURS] = make("set_texts", BENCH_OURS);
    variables[BENCH_PEER] = make("set_texts", BENCH_PEER);
    target = xctx_python_var(variables[BENCH_OURS]);
    check_python(target != NULL, "xctx_python_var");
    py_target = variables[BENCH_PEER];
    bench_check(strcmp(xctx_var_get(target), expected) == 0, "this thread reads what Python has set");
    bench_check(sem_init(&reader.start, 0, 0) == 0 && sem_init(&reader.done, 0, 0) == 0, "sem_init");
    bench_check(xctx_thread_create(&reader.thread, NULL, read_in_turns, NULL) == 0, "xctx_thread_create");
}

static void close_reader(const bench_row *row)
{
    (void)row;
    reader.turns = -1;
    sem_post(&reader.start);
    pthread_join(reader.thread, NULL);
    sem_destroy(&reader.start);
    sem_destroy(&reader.done);
    check_python(PyContext_Exit(context) == 0, "PyContext_Exit");
    Py_CLEAR(context);
    Py_CLEAR(variables[BENCH_OURS]);
    Py_CLEAR(variables[BENCH_PEER]);
}

/* The name, which loops; then the rest by name. */
#define ROW(name_, kind_, ...)                                                                                         \
    {                                                                                                                  \
        .name = name_, .kind = kind_, .run = {run_ours, run_peer}, .base = {run_empty, run_empty},                     \
        .setup = open_loops, .teardown = close_loops, __VA_ARGS__                                                      \
    }

#define READ(name_, run_, base_, ...)                                                                                  \
    {                                                                                                                  \
        .name = name_, .run = {run_, py_read}, .base = {base_, NULL}, .setup = open_reader, .teardown = close_reader,  \
        .peer_name = "PyContextVar_Get, with the GIL", __VA_ARGS__                                                     \
    }

static const bench_row *package_rows(int *ret_count)
{
    static const bench_row rows[] = {
        ROW("var.get()", GET, .must = 1.3),
        ROW("var.set()", SET, .must = 1.3, .per = 2),
        ROW("var.set() + var.reset()", SET_RESET, .must = 1.3),
        ROW("copy_context(), none", COPY, .must = 1.3),
        ROW("context.copy()", COPY_OF, .must = 1.3),
        ROW("context.run(function)", RUN, .must = 1.3),
        ROW("typed: var.get()", GET_TEXT, ),
        ROW("typed: var.set()", SET_TEXT, .per = 2),
        ROW("typed: set() + reset()", SET_RESET_TEXT, ),
        ROW("typed too: copy_context()", COPY_TEXTS, ),
        ROW("typed too: run(function)", RUN_TEXTS, ),
        ROW("copy_context(), stack", STACK, ),
        ROW("  stack and locals", LOCALS, ),
        ROW("  stack and native", NATIVE, ),
        ROW("  stack and thread state", STATE, ),
        ROW("  all, as by default", ALL, ),
        ROW("stack, by hand", WALK, .must = 3, .peer_name = "file, line, name of each sys._getframe()"),
        ROW("stack, frames by hand", WALK_FRAMES, .peer_name = "each sys._getframe() alone"),
        ROW("stack, extract_stack()", EXTRACT, .must = 0.2, .peer_name = "traceback.extract_stack()"),
        READ("read from C, no GIL", read_native, read_nothing, .must = 0.3, .sample = sample_read),
        READ("  on a thread of Python's", read_following, NULL, ),
        {.name = "install(), a pool of 2",
         .kind = POOL,
         .setup = open_loops,
         .teardown = close_loops,
         .sample = sample_pool,
         .unit = "us",
         .rounds = 201,
         .must = 1.05,
         .peer_name = "a pool without install()",
         .uncounted = true},
    };
    *ret_count = package_folder ? (int)(sizeof(rows) / sizeof(rows[0])) : 0;
    return rows;
}

const bench_group bench_python_package = {"The package xctx in Python, 8 variables, call stack of 20 frames", NULL,
                                          package_rows};
