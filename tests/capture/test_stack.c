/* SPDX-License-Identifier: MIT */
/*
 * Whose stack is captured, by a call and in signal handlers: that of the main thread, of a thread, of a coroutine, up
 * to its end and nothing behind.
 */
#include <dlfcn.h>
#include <limits.h>
#include <sys/auxv.h>
#include <sys/resource.h>

#include "signal_support.h"

#include "capture/snapshot_internal.h"

/* Captures in all ways, here: by a call, in a handler, and the handler itself. */
NOINLINE static void capture_here(void)
{
    volatile uint64_t *local = __builtin_alloca(64);
    local[0] = (uint64_t)(uintptr_t)local;
    secrets[0] = local[0];
    keep(local);
    handle(SIGUSR1, fill_in_handler, 0);
    for (int way = 0; way < 3; way++) {
        xctx_snapshot *snapshot = xctx_snapshot_reserve(EVERYTHING, ALL_OF_IT);
        CHECK(snapshot != NULL);
        if (way == 0) {
            CHECK(xctx_snapshot_fill(snapshot, EVERYTHING, NULL) == 0);
        } else {
            into = snapshot;
            with = EVERYTHING;
            in_place = way == 2;
            CHECK(raise(SIGUSR1) == 0);
            in_place = 0;
            CHECK(result == 0);
        }
        uint64_t copy = 0;
        CHECK(xctx_snapshot_read(snapshot, (uintptr_t)local, &copy, sizeof(copy)) == 0);
        CHECK(copy == (uintptr_t)local);
        CHECK(state_of(snapshot)->tid == own_tid());
        check_no_thread_local_storage(snapshot);
        xctx_snapshot_unref(snapshot);
    }
    xctx_snapshot *taken = xctx_snapshot_take(EVERYTHING);
    CHECK(taken != NULL);
    check_no_thread_local_storage(taken);
    uint64_t copy = 0;
    CHECK(xctx_snapshot_read(taken, (uintptr_t)local, &copy, sizeof(copy)) == 0 && copy == (uintptr_t)local);
    xctx_snapshot_unref(taken);
    CHECK(local[0] == (uintptr_t)local);
}

TEST(stack_of_the_main_thread_is_captured)
{
    capture_here();
}

static void *capture_in_thread(void *arg)
{
    capture_here();
    return arg;
}

/* The first capture of the thread is in a handler, where libc cannot be asked. */
static void *capture_in_handler_first(void *arg)
{
    handle(SIGUSR1, fill_in_handler, 0);
    reserve(EVERYTHING, ALL_OF_IT);
    uintptr_t address;
    uint64_t copy = 0;
    CHECK(raise_with_local(4711, &address) == 4711);
    CHECK(result == 0);
    CHECK(xctx_snapshot_read(into, address, &copy, sizeof(copy)) == 0 && copy == 4711);
    CHECK(state_of(into)->tid == own_tid());
    check_no_thread_local_storage(into);
    release();
    capture_here();
    return arg;
}

TEST(stack_of_a_thread_is_captured)
{
    on_thread(capture_in_thread, NULL);
    on_thread(capture_in_handler_first, NULL);
}

static void on_thread_with(const pthread_attr_t *attributes, void *(*fn)(void *))
{
    pthread_t thread;
    CHECK(pthread_create(&thread, attributes, fn, NULL) == 0);
    join(thread);
}

/* As small as a stack can be with what the signal frame takes. */
static size_t smallest_stack(void)
{
    enum { MINIMUM = 51 }; /* AT_MINSIGSTKSZ, which older headers lack */
    unsigned long least = getauxval(MINIMUM);
    return (size_t)PTHREAD_STACK_MIN + 2 * (least > 0 ? least : 8192) +
           (TEST_ASAN || TEST_TSAN ? (size_t)256 * 1024 : 0);
}

TEST(smallest_stacks_suffice_and_are_captured_whole)
{
    pthread_attr_t attributes;

    assert_int_equal(pthread_attr_init(&attributes), 0);
    assert_int_equal(pthread_attr_setstacksize(&attributes, (smallest_stack() + 16383) / 16384 * 16384), 0);
    on_thread_with(&attributes, capture_in_thread);
    on_thread_with(&attributes, capture_in_handler_first);
    pthread_attr_destroy(&attributes);
}

TEST(stack_that_the_program_supplies_is_captured_up_to_its_end)
{
    pthread_attr_t attributes;
    char *memory = guarded();
    void *heap = NULL;

    assert_int_equal(pthread_attr_init(&attributes), 0);
    assert_int_equal(pthread_attr_setstack(&attributes, memory, STACK), 0);
    on_thread_with(&attributes, capture_in_thread);
    on_thread_with(&attributes, capture_in_handler_first);
    assert_int_equal(posix_memalign(&heap, PAGE, STACK), 0);
    assert_int_equal(pthread_attr_setstack(&attributes, heap, STACK), 0);
    on_thread_with(&attributes, capture_in_thread);
    on_thread_with(&attributes, capture_in_handler_first);
    pthread_attr_destroy(&attributes);
    free(heap);
    unguard(memory);
}

/* ---- modules with thread-local storage ---- */

#ifdef __GLIBC__ /* musl keeps no room for it */
static long *(*module_storage)(void);
static sem_t captured, loaded;

static void check_module_storage(const xctx_snapshot *snapshot)
{
    uintptr_t mine = (uintptr_t)module_storage();
    CHECK(mine < state_of(snapshot)->stack_low || mine >= state_of(snapshot)->stack_high);
}

/* The bounds of the stack are found before the module is there, */
static void *capture_before_and_after(void *arg)
{
    xctx_snapshot *before = xctx_snapshot_take(XCTX_CAPTURE_LOCALS);
    CHECK(sem_post(&captured) == 0);
    sem_wait_for(&loaded);
    xctx_snapshot *after = xctx_snapshot_take(XCTX_CAPTURE_LOCALS);
    check_module_storage(before);
    check_module_storage(after);
    xctx_snapshot_unref(before);
    xctx_snapshot_unref(after);
    return arg;
}

/* or behind. */
static void *capture_after(void *arg)
{
    reserve(EVERYTHING, ALL_OF_IT);
    uintptr_t address;
    CHECK(raise_with_local(4711, &address) == 4711);
    check_module_storage(into);
    release();
    capture_here();
    return arg;
}

TEST(storage_of_a_module_that_was_loaded_later_is_not_captured)
{
    assert_int_equal(sem_init(&captured, 0, 0), 0);
    assert_int_equal(sem_init(&loaded, 0, 0), 0);
    handle(SIGUSR1, fill_in_handler, 0);
    pthread_t thread = spawn(capture_before_and_after, NULL);
    sem_wait_for(&captured);
    void *module = dlopen(XCTX_TEST_MODULE_DIR "/plugin_storage.so", RTLD_NOW);
    if (!module) /* no room was left for it */
        fail_msg("%s", dlerror());
    void *found = dlsym(module, "plugin_storage");
    assert_non_null(found);
    memcpy(&module_storage, &found, sizeof(found));
    assert_int_equal(sem_post(&loaded), 0);
    join(thread);
    on_thread(capture_after, NULL);
    assert_int_equal(dlclose(module), 0);
    sem_destroy(&captured);
    sem_destroy(&loaded);
}
#endif

/* ---- coroutines ---- */

#ifdef __GLIBC__ /* musl has none */
static ucontext_t outer, inner;
static void (*run_inside)(void);

static void inside(void)
{
    run_inside();
}

/* Runs fn() on a stack of its own. */
static void on_stack(void *stack, size_t size, void (*fn)(void))
{
    run_inside = fn;
    CHECK(getcontext(&inner) == 0);
    inner.uc_stack.ss_sp = stack;
    inner.uc_stack.ss_size = size;
    inner.uc_link = &outer;
    makecontext(&inner, inside, 0);
    CHECK(swapcontext(&outer, &inner) == 0);
}

static void *capture_on_guarded_stack(void *arg)
{
    char *memory = guarded();
    on_stack(memory, STACK, capture_here);
    capture_here();
    on_stack(memory, STACK, capture_here);
    unguard(memory);
    return arg;
}

TEST(stack_of_a_coroutine_is_captured_up_to_the_guard_above)
{
    capture_on_guarded_stack(NULL);
    on_thread(capture_on_guarded_stack, NULL);
}

/* A stack that lies where the main thread's could grow to, by its limit. */
TEST(stack_of_a_coroutine_below_the_main_threads_is_not_taken_for_that)
{
    xctx_snapshot *snapshot = xctx_snapshot_take(0);
    uintptr_t high = (uintptr_t)state_of(snapshot)->stack_high;
    xctx_snapshot_unref(snapshot);

    for (uintptr_t distance = (uintptr_t)96 << 20; distance <= (uintptr_t)512 << 20; distance += (uintptr_t)32 << 20) {
        uintptr_t at = (high - distance) & ~(uintptr_t)(PAGE - 1);
        char *memory = mmap((void *)at, STACK + 2 * PAGE, PROT_NONE, /* NOLINT(performance-no-int-to-ptr) */
                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(memory != MAP_FAILED);
        CHECK(mprotect(memory + PAGE, STACK, PROT_READ | PROT_WRITE) == 0);
        on_stack(memory + PAGE, STACK, capture_here);
        unguard(memory + PAGE);
    }
}

/* The lowest address of the memory that holds another. */
static uintptr_t lowest_of(uintptr_t address)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[512];
    unsigned long low = 0, high = 0;
    CHECK(maps != NULL);
    while (fgets(line, sizeof(line), maps))
        if (sscanf(line, "%lx-%lx", &low, &high) == 2 && address < high)
            break;
    fclose(maps);
    CHECK(address >= low && address < high);
    return low;
}

static uintptr_t main_storage, main_self;

static void capture_below_main_storage(void)
{
    xctx_snapshot *snapshot = xctx_snapshot_reserve(XCTX_CAPTURE_LOCALS, ALL_OF_IT);
    CHECK(snapshot && xctx_snapshot_fill(snapshot, XCTX_CAPTURE_LOCALS, NULL) == 0);
    uint64_t low = snapshot->stack_address, high = low + snapshot->stack_size;
    CHECK(high > low);
    CHECK(main_storage < low || main_storage >= high);
    CHECK(main_self < low || main_self >= high);
    xctx_snapshot_unref(snapshot);
}

static void *run_below_main_storage(void *stack)
{
    on_stack(stack, STACK, capture_below_main_storage);
    return NULL;
}

static void *below_storage;

/* Before anything else is there. */
__attribute__((constructor(101))) static void map_below_main_storage(void)
{
    main_storage = (uintptr_t)secrets;
    main_self = (uintptr_t)pthread_self();
    uintptr_t at = lowest_of(main_self) - STACK;
    below_storage = mmap((void *)at, STACK, PROT_READ | PROT_WRITE, /* NOLINT(performance-no-int-to-ptr) */
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(below_storage != MAP_FAILED);
}

/* Memory that is mapped right below it is one with it, as the kernel tells. */
TEST(coroutine_right_below_the_main_threads_storage_is_captured_without_that)
{
    uintptr_t low = (uintptr_t)below_storage;

    if (lowest_of(main_self) > low || low > main_self)
        skip(); /* something else was there first */
    on_thread(run_below_main_storage, below_storage);
}

static void take_once(void)
{
    for (int i = 0; i < 3; i++) {
        xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_LOCALS);
        CHECK(snapshot && stack_size(snapshot) > 0);
        xctx_snapshot_unref(snapshot);
    }
}

/* Capturing is no point where a thread can be cancelled. */
static void *take_while_cancelled(void *arg)
{
    char *memory = arg;
    CHECK(pthread_cancel(pthread_self()) == 0);
    take_once();
    on_stack(memory, STACK, take_once);
    CHECK(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL) == 0);
    return NULL;
}

TEST(thread_that_is_being_cancelled_is_captured)
{
    char *memory = guarded();
    assert_null(on_thread(take_while_cancelled, memory));
    unguard(memory);
}

static void take_what_can_be_had(void)
{
    xctx_snapshot *snapshot = xctx_snapshot_take(EVERYTHING);
    CHECK(snapshot && first_address(snapshot) == register_of(snapshot, "pc"));
    CHECK(state_of(snapshot)->tid == own_tid());
    xctx_snapshot_unref(snapshot);
}

static int take_without_files(void *stack)
{
    struct rlimit none = {0, 0};
    CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
    on_stack(stack, STACK, take_what_can_be_had);
    return 0;
}

/* The kernel cannot be asked then what memory there is. */
TEST(coroutine_is_captured_without_its_stack_where_no_file_can_be_opened)
{
    char *memory = guarded();
    assert_int_equal(in_child(take_without_files, memory), 0);
    unguard(memory);
}
#endif

int main(void)
{
    return test_main("stacks that are captured");
}
