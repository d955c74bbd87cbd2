/* SPDX-License-Identifier: MIT */
/*
 * Snapshots that are filled in signal handlers, wherever the thread was interrupted: on which stack, in the midst of
 * what. The bytes and registers are those of what was interrupted, and nothing that the thread was doing suffers.
 */
#include <dlfcn.h>
#include <fenv.h>
#include <limits.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <ucontext.h>

#include "../support/counted.h"
#include "../support/threads.h"
#include "capture_support.h"

#include "capture/snapshot_internal.h"

#define EVERYTHING XCTX_CAPTURE_ALL

static xctx_snapshot *into;            /* what the handler fills next */
static unsigned with = EVERYTHING;     /* and with what */
static volatile sig_atomic_t in_place; /* whether of the handler itself */
static volatile sig_atomic_t result;
static uint64_t pc_told, sp_told;

static void tell(const ucontext_t *context)
{
#if defined(__x86_64__)
    pc_told = (uint64_t)context->uc_mcontext.gregs[REG_RIP];
    sp_told = (uint64_t)context->uc_mcontext.gregs[REG_RSP];
#else
    pc_told = context->uc_mcontext.pc;
    sp_told = context->uc_mcontext.sp;
#endif
}

static void fill_in_handler(int number_of_signal, siginfo_t *info, void *context)
{
    (void)info;
    tell(context);
    result = xctx_snapshot_fill(into, with, in_place ? NULL : context);
#if defined(__aarch64__)
    if (number_of_signal == SIGTRAP)
        ((ucontext_t *)context)->uc_mcontext.pc += 4; /* goes on behind the instruction */
#else
    (void)number_of_signal;
#endif
}

static void handle(int number_of_signal, void (*handler)(int, siginfo_t *, void *), int flags)
{
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_RESTART | flags};
    sigemptyset(&action.sa_mask);
    CHECK(sigaction(number_of_signal, &action, NULL) == 0);
}

static void reserve(unsigned capture, size_t limit)
{
    into = xctx_snapshot_reserve(capture, limit);
    CHECK(into != NULL);
    with = capture;
    result = 1;
}

static void release(void)
{
    into = xctx_snapshot_unref(into);
}

/* ---- what was interrupted ---- */

#if defined(__x86_64__)
static const char *const set_names[] = {"rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "r8",
                                        "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};

NOINLINE static void interrupt_with(uint64_t first)
{
    __asm__ volatile("subq $128, %%rsp\n\t" /* the red zone */
                     "pushq %%rbx\n\t"
                     "pushq %%rbp\n\t"
                     "movq %0, %%rax\n\t"
                     "leaq 1(%%rax), %%rdx\n\t"
                     "leaq 2(%%rax), %%rcx\n\t"
                     "leaq 3(%%rax), %%rbx\n\t"
                     "leaq 4(%%rax), %%rsi\n\t"
                     "leaq 5(%%rax), %%rdi\n\t"
                     "leaq 6(%%rax), %%rbp\n\t"
                     "leaq 7(%%rax), %%r8\n\t"
                     "leaq 8(%%rax), %%r9\n\t"
                     "leaq 9(%%rax), %%r10\n\t"
                     "leaq 10(%%rax), %%r11\n\t"
                     "leaq 11(%%rax), %%r12\n\t"
                     "leaq 12(%%rax), %%r13\n\t"
                     "leaq 13(%%rax), %%r14\n\t"
                     "leaq 14(%%rax), %%r15\n\t"
                     "movq %%rax, %%xmm7\n\t"
                     "stc\n\t"
                     "int3\n\t"
                     "popq %%rbp\n\t"
                     "popq %%rbx\n\t"
                     "addq $128, %%rsp"
                     :
                     : "r"(first)
                     : "rax", "rdx", "rcx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "xmm7",
                       "memory", "cc");
}
#else
static const char *const set_names[] = {"x0",  "x1",  "x2",  "x3",  "x4",  "x5",  "x6",  "x7",  "x8",  "x9",
                                        "x10", "x11", "x12", "x13", "x14", "x15", "x16", "x17", "x20", "x28"};

NOINLINE static void interrupt_with(uint64_t first)
{
    __asm__ volatile("mov x0, %0\n\t"
                     "add x1, x0, #1\n\t"
                     "add x2, x0, #2\n\t"
                     "add x3, x0, #3\n\t"
                     "add x4, x0, #4\n\t"
                     "add x5, x0, #5\n\t"
                     "add x6, x0, #6\n\t"
                     "add x7, x0, #7\n\t"
                     "add x8, x0, #8\n\t"
                     "add x9, x0, #9\n\t"
                     "add x10, x0, #10\n\t"
                     "add x11, x0, #11\n\t"
                     "add x12, x0, #12\n\t"
                     "add x13, x0, #13\n\t"
                     "add x14, x0, #14\n\t"
                     "add x15, x0, #15\n\t"
                     "add x16, x0, #16\n\t"
                     "add x17, x0, #17\n\t"
                     "add x20, x0, #18\n\t"
                     "add x28, x0, #19\n\t"
                     "fmov d7, x0\n\t"
                     "brk #0"
                     :
                     : "r"(first)
                     : "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14",
                       "x15", "x16", "x17", "x20", "x28", "v7", "memory", "cc");
}
#endif

TEST(registers_are_those_that_were_interrupted)
{
    const uint64_t first = UINT64_C(0x1122334455667700);
    uint64_t vector[2];

    handle(SIGTRAP, fill_in_handler, 0);
    reserve(EVERYTHING, 0);
    interrupt_with(first);
    assert_int_equal(result, 0);
    for (size_t i = 0; i < sizeof(set_names) / sizeof(set_names[0]); i++)
        assert_int_equal(register_of(into, set_names[i]), first + i);
    assert_int_equal(register_of(into, "pc"), pc_told);
    assert_int_equal(first_address(into), pc_told);
    assert_int_equal(register_of(into, "sp"), sp_told);
    assert_true(pc_told - (uintptr_t)interrupt_with < 512);
    assert_true(xctx__fpu_vector(into->fpu, into->fpu_size, 7, (uint8_t *)vector));
    assert_int_equal(vector[0], first);
#if defined(__x86_64__)
    assert_int_equal(register_of(into, "eflags") & 1, 1);
    uint64_t cs;
    __asm__("movq %%cs, %0" : "=r"(cs));
    assert_int_equal(register_of(into, "cs"), cs);
#endif
    assert_true(into->bits & SNAPSHOT_INTERRUPTED);
    release();
}

TEST(every_register_is_known_of_what_was_interrupted)
{
    uint64_t value;

    handle(SIGUSR1, fill_in_handler, 0);
    reserve(XCTX_CAPTURE_REGISTERS, 0);
    assert_int_equal(raise(SIGUSR1), 0);
    for (size_t i = 0; xctx_register_name(i); i++)
        assert_int_equal(xctx_snapshot_register(into, xctx_register_name(i), &value), 0);
    release();
}

NOINLINE static uint64_t raise_with_local(uint64_t value, uintptr_t *ret_address)
{
    volatile uint64_t *local = __builtin_alloca(64);
    local[0] = value;
    keep(local);
    CHECK(raise(SIGUSR1) == 0);
    uint64_t then = local[0];
    local[0] = 0;
    *ret_address = (uintptr_t)local;
    return then;
}

TEST(stack_of_what_was_interrupted_is_captured)
{
    uintptr_t address;
    uint64_t copy = 0;

    handle(SIGUSR1, fill_in_handler, 0);
    reserve(XCTX_CAPTURE_LOCALS, 0);
    assert_int_equal(raise_with_local(4711, &address), 4711);
    assert_int_equal(result, 0);
    assert_int_equal(xctx_snapshot_read(into, address, &copy, sizeof(copy)), 0);
    assert_int_equal(copy, 4711);
    /* The handler's own frame is not in it. */
    assert_true(into->stack_address <= sp_told && into->stack_address + 256 > sp_told);
    release();
}

#if defined(__x86_64__)
/* Functions that call nothing keep local variables below the stack pointer. */
NOINLINE static void interrupt_with_red_zone(uint64_t value)
{
    __asm__ volatile("subq $128, %%rsp\n\t"
                     "movq %0, -8(%%rsp)\n\t"
                     "movq %0, -128(%%rsp)\n\t"
                     "int3\n\t"
                     "addq $128, %%rsp"
                     :
                     : "r"(value)
                     : "memory", "cc");
}

TEST(stack_below_the_stack_pointer_that_a_function_may_use_is_captured)
{
    const uint64_t value = UINT64_C(0x1122334455667788);
    uint64_t last = 0, first = 0;

    handle(SIGTRAP, fill_in_handler, 0);
    reserve(XCTX_CAPTURE_LOCALS, 0);
    interrupt_with_red_zone(value);
    assert_int_equal(xctx_snapshot_read(into, sp_told - 8, &last, sizeof(last)), 0);
    assert_int_equal(xctx_snapshot_read(into, sp_told - 128, &first, sizeof(first)), 0);
    assert_int_equal(last, value);
    assert_int_equal(first, value);
    release();
}
#endif

TEST(state_is_of_what_was_interrupted)
{
    sigset_t set, old;

    handle(SIGUSR1, fill_in_handler, 0);
    reserve(EVERYTHING, 0);
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN + 3);
    assert_int_equal(pthread_sigmask(SIG_BLOCK, &set, &old), 0);
    assert_int_equal(fesetround(FE_DOWNWARD), 0);
    feclearexcept(FE_ALL_EXCEPT);
    feraiseexcept(FE_DIVBYZERO);
    assert_int_equal(raise(SIGUSR1), 0);
    int mode = fegetround(), raised = fetestexcept(FE_ALL_EXCEPT);
    fesetround(FE_TONEAREST);
    feclearexcept(FE_ALL_EXCEPT);
    assert_int_equal(pthread_sigmask(SIG_SETMASK, &old, &set), 0);
    const xctx_thread_state *state = state_of(into);
    assert_int_equal(mode, FE_DOWNWARD);
    assert_int_equal(state->rounding_mode, FE_DOWNWARD);
    assert_int_equal(state->fp_exceptions, raised);
    assert_true(raised & FE_DIVBYZERO);
    assert_true(state->blocked >> (SIGRTMIN + 2) & 1);
    assert_false(state->blocked >> (SIGUSR1 - 1) & 1);
    release();
}

TEST(handler_can_capture_itself)
{
    handle(SIGUSR1, fill_in_handler, 0);
    reserve(EVERYTHING, 0);
    in_place = 1;
    assert_int_equal(raise(SIGUSR1), 0);
    in_place = 0;
    assert_int_equal(result, 0);
    assert_true(first_address(into) - (uintptr_t)fill_in_handler < 1024);
    assert_true(register_of(into, "sp") < sp_told);
    assert_true(state_of(into)->blocked >> (SIGUSR1 - 1) & 1);
    release();
}

/* ---- whose stack it is ---- */

static _Thread_local uint64_t secrets[4];

/* That a snapshot has nothing of the running thread but its stack: neither thread-local variables, nor what libc keeps
   of the thread, where the canary is. */
static void check_no_thread_local_storage(const xctx_snapshot *snapshot)
{
    const xctx_thread_state *state = state_of(snapshot);
    uint64_t low = snapshot->stack_address, high = low + snapshot->stack_size;
    uint64_t self = (uintptr_t)pthread_self(), mine = (uintptr_t)secrets;
    int *error = &errno;

    CHECK(!(self >= low && self < high));
    CHECK(!(mine + sizeof(secrets) > low && mine < high));
    CHECK(!((uintptr_t)error >= low && (uintptr_t)error < high));
    if (state->present & XCTX_THREAD_STACK) {
        CHECK(!(self >= state->stack_low && self < state->stack_high));
        CHECK(!(mine >= state->stack_low && mine < state->stack_high));
        CHECK(high <= state->stack_high);
    }
    uint64_t byte;
    CHECK(xctx_snapshot_read(snapshot, self, &byte, 1) == -EFAULT);
    CHECK(xctx_snapshot_read(snapshot, mine, &byte, 1) == -EFAULT);
}

enum { ALL_OF_IT = 1 << 22 };

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

enum { PAGE = 65536, STACK = 8 * PAGE };

/* Memory between two pages that cannot be touched. */
static char *guarded(void)
{
    char *memory = mmap(NULL, STACK + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    CHECK(mprotect(memory + PAGE, STACK, PROT_READ | PROT_WRITE) == 0);
    return memory + PAGE;
}

static void unguard(char *memory)
{
    CHECK(munmap(memory - PAGE, STACK + 2 * PAGE) == 0);
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

/* ---- alternate signal stacks ---- */

static xctx_snapshot *another;

static void fill_both(int number_of_signal, siginfo_t *info, void *context)
{
    (void)number_of_signal;
    (void)info;
    tell(context);
    result = xctx_snapshot_fill(into, EVERYTHING, context) || xctx_snapshot_fill(another, EVERYTHING, NULL);
}

static void capture_both(char *stack, size_t size)
{
    stack_t alternate = {.ss_sp = stack, .ss_size = size}, before;

    CHECK(sigaltstack(&alternate, &before) == 0);
    handle(SIGUSR1, fill_both, SA_ONSTACK);
    reserve(EVERYTHING, ALL_OF_IT);
    another = xctx_snapshot_reserve(EVERYTHING, ALL_OF_IT);
    uintptr_t address;
    uint64_t copy = 0;
    CHECK(raise_with_local(4711, &address) == 4711);
    CHECK(result == 0);
    CHECK(xctx_snapshot_read(into, address, &copy, sizeof(copy)) == 0 && copy == 4711);
    CHECK(state_of(into)->stack_high > address);
    check_no_thread_local_storage(into);
    /* The handler's stack, and nothing behind its end. */
    uint64_t low = another->stack_address, high = low + another->stack_size;
    CHECK(low > (uintptr_t)stack && high == (uintptr_t)stack + size);
    check_no_thread_local_storage(another);
    another = xctx_snapshot_unref(another);
    release();
    CHECK(sigaltstack(&before, NULL) == 0);
}

static void *capture_on_alternate_stack(void *arg)
{
    char *memory = guarded();
    capture_both(memory, STACK);
    capture_both(memory + PAGE, STACK - 2 * PAGE);
    unguard(memory);
    return arg;
}

TEST(handler_on_an_alternate_stack_captures_both_stacks)
{
    capture_on_alternate_stack(NULL);
    on_thread(capture_on_alternate_stack, NULL);
}

/* ---- stacks that have overflowed ---- */

static void fill_and_end(int number_of_signal, siginfo_t *info, void *context)
{
    (void)number_of_signal;
    (void)info;
    int error = xctx_snapshot_fill(into, EVERYTHING, context);
    tell(context);
    bool ok = error == 0 && into->stack_size > 0 && register_of(into, "sp") == sp_told &&
              into->stack_address + 256 >= sp_told && xctx_snapshot_stack(into, NULL, 0) > 1;
    _exit(ok ? 0 : 1);
}

NOINLINE static size_t recurse(size_t frame, size_t depth)
{
    volatile char *some = __builtin_alloca(frame);
    some[frame / 2] = 1;
    some[0] = (char)depth;
    keep(some);
    return depth > 100000000 ? 0 : recurse(frame, depth + 1) + (size_t)some[0];
}

static void *overflow(void *arg)
{
    const size_t *frame = arg;
    stack_t alternate = {.ss_sp = guarded(), .ss_size = STACK};
    CHECK(sigaltstack(&alternate, NULL) == 0);
    handle(SIGSEGV, fill_and_end, SA_ONSTACK);
    reserve(EVERYTHING, 0);
    return number((long)recurse(*frame, 0));
}

static int overflow_main(void *frame)
{
    overflow(frame);
    return 2;
}

static int overflow_thread(void *frame)
{
    on_thread(overflow, frame);
    return 2;
}

static int overflow_thread_that_was_captured(void *frame)
{
    xctx_snapshot_unref(xctx_snapshot_take(XCTX_CAPTURE_LOCALS));
    return overflow_thread(frame);
}

TEST(overflow_of_the_stack_is_captured)
{
    static const size_t frames[] = {32, 500, 3000};

    if (TEST_ASAN || TEST_TSAN)
        skip(); /* they have handlers of their own */
    for (size_t i = 0; i < sizeof(frames) / sizeof(frames[0]); i++) {
        size_t frame = frames[i];
        assert_int_equal(in_child(overflow_main, &frame), 0);
        assert_int_equal(in_child(overflow_thread, &frame), 0);
        assert_int_equal(in_child(overflow_thread_that_was_captured, &frame), 0);
    }
}

/* ---- deep recursion ---- */

NOINLINE static void recurse_and_raise(int depth)
{
    volatile char *some = __builtin_alloca(200);
    some[0] = 1;
    keep(some);
    if (depth > 0)
        recurse_and_raise(depth - 1);
    else
        CHECK(raise(SIGUSR1) == 0);
    some[0] = 2;
}

TEST(deep_recursion_is_captured_up_to_the_limit)
{
    handle(SIGUSR1, fill_in_handler, 0);
    reserve(EVERYTHING, 0);
    recurse_and_raise(5000);
    assert_int_equal(result, 0);
    assert_int_equal(into->stack_size, XCTX_SNAPSHOT_STACK_DEFAULT);
    release();
    reserve(EVERYTHING, ALL_OF_IT);
    recurse_and_raise(5000);
    assert_true(into->stack_size > 5000 * 200);
    release();
}

/* ---- what must not be called in a handler ---- */

static atomic_int asked_libc;

/* In place of libc's, which allocates. */
int pthread_getattr_np(pthread_t thread, pthread_attr_t *attributes);
XCTX_API int pthread_getattr_np(pthread_t thread, pthread_attr_t *attributes)
{
    int (*next)(pthread_t, pthread_attr_t *);
    void *found = dlsym(RTLD_NEXT, "pthread_getattr_np");
    memcpy(&next, &found, sizeof(next));
    atomic_fetch_add(&asked_libc, 1);
    return next(thread, attributes);
}

static void *fill_first(void *arg)
{
    xctx_snapshot *snapshot = xctx_snapshot_reserve(EVERYTHING, ALL_OF_IT);
    int before = atomic_load(&asked_libc);
    CHECK(xctx_snapshot_fill(snapshot, EVERYTHING, NULL) == 0);
    CHECK(atomic_load(&asked_libc) == before);
    CHECK(stack_size(snapshot) > 0);
    check_no_thread_local_storage(snapshot);
    xctx_snapshot_unref(snapshot);
    return arg;
}

TEST(fill_does_not_ask_libc_also_without_a_ucontext)
{
    on_thread(fill_first, NULL);
}

/* ---- in the midst of anything ---- */

enum { POOL = 64, INITIAL = 0x5a5a };

static struct counted nothing = {.magic = COUNTED_ALIVE, .refs = 1, .number = INITIAL};

static XCTX_VAR_DEFINE(plain, .initial = (void *)INITIAL);
static XCTX_VAR_DEFINE(counted, .initial = &nothing, .retain = counted_retain, .release = counted_release);

/* What the handler saw when it filled a snapshot. */
struct sight {
    xctx_snapshot *snapshot;
    const void *plain;
    long counted;
    const xctx_context *current;
    uint64_t pc, sp, word;
};

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

static int timer;
static volatile sig_atomic_t ticking;

/* The next signal comes a moment after this one is done with: so the thread gets on, however slow the handler is. */
static void arm(void)
{
    struct itimerspec soon = {.it_value = {.tv_nsec = 20000}};
    CHECK(syscall(SYS_timer_settime, timer, 0, &soon, NULL) == 0);
}

/* A timer for the running thread alone. */
static void start_timer(void)
{
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1};
    event.sigev_notify_thread_id = own_tid();
    CHECK(syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &timer) == 0);
    ticking = 1;
    arm();
}

static void stop_timer(void)
{
    ticking = 0;
    CHECK(syscall(SYS_timer_delete, timer) == 0);
}

static struct sight pool[POOL];
static volatile sig_atomic_t used; /* of the pool; only the handler adds, only with the signal blocked is it reset */
static atomic_long handled;

NOINLINE __attribute__((no_sanitize("address", "thread"))) static uint64_t word_at(uint64_t address)
{
    return *(const volatile uint64_t *)(uintptr_t)address; /* NOLINT(performance-no-int-to-ptr) */
}

static void fill_next(int number_of_signal, siginfo_t *info, void *context)
{
    int error = errno;
    (void)number_of_signal;
    (void)info;
    if (used < POOL && pool[used].snapshot) {
        struct sight *sight = &pool[used];
        tell(context);
        sight->pc = pc_told;
        sight->sp = sp_told;
        sight->word = word_at(sp_told & ~UINT64_C(7));
        sight->plain = xctx_var_get(&plain);
        sight->counted = counted_number(xctx_var_get(&counted));
        sight->current = xctx_current();
        CHECK(xctx_snapshot_fill(sight->snapshot, EVERYTHING, context) == 0);
        used = used + 1;
        atomic_fetch_add(&handled, 1);
    }
    if (ticking)
        arm();
    errno = error;
}

static long without_variables;

static void check_sight(const struct sight *sight)
{
    xctx_snapshot *snapshot = sight->snapshot;
    xctx_context *context = xctx_snapshot_context(snapshot);
    uint64_t word;

    CHECK(register_of(snapshot, "pc") == sight->pc);
    CHECK(register_of(snapshot, "sp") == sight->sp);
    CHECK(xctx_snapshot_read(snapshot, sight->sp & ~UINT64_C(7), &word, sizeof(word)) == 0);
    /* ThreadSanitizer's runtime calls the handler later, when the thread has gone on. */
    CHECK(TEST_TSAN || word == sight->word);
    check_no_thread_local_storage(snapshot);
    if (!context) {
        without_variables++;
        return;
    }
    void *value = number(INITIAL);
    xctx_lookup(context, &plain, &value);
    CHECK(value == sight->plain);
    value = &nothing;
    xctx_lookup(context, &counted, &value);
    CHECK(counted_number(value) == sight->counted);
}

/* Looks at what was captured and makes room for more. */
static void drain(long n)
{
    sigset_t set, old;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    CHECK(pthread_sigmask(SIG_BLOCK, &set, &old) == 0);
    for (int i = 0; i < used; i++) {
        check_sight(&pool[i]);
        if ((n + i) % 2)
            CHECK(xctx_snapshot_reset(pool[i].snapshot) == 0);
        else
            pool[i].snapshot = xctx_snapshot_unref(pool[i].snapshot);
    }
    used = 0;
    for (int i = 0; i < POOL; i++)
        if (!pool[i].snapshot)
            CHECK((pool[i].snapshot = xctx_snapshot_reserve(EVERYTHING, 2048)) != NULL);
    CHECK(pthread_sigmask(SIG_SETMASK, &old, NULL) == 0);
}

static long now_ms(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

/* Calls fn again and again until it was interrupted often enough, or for some seconds. */
static void interrupt(void (*fn)(long n), long enough)
{
    enum { MOST_MS = 10000 };

    atomic_store(&handled, 0);
    without_variables = 0;
    drain(0);
    handle(SIGUSR1, fill_next, 0);
    long end = now_ms() + MOST_MS;
    start_timer();
    for (long n = 1; atomic_load(&handled) < enough && (n % 64 || now_ms() < end); n++) {
        fn(n);
        drain(n);
        if (TEST_TSAN)
            usleep(0); /* where its runtime delivers signals */
    }
    stop_timer();
    assert_true(atomic_load(&handled) > 0);
    drain(0);
    for (int i = 0; i < POOL; i++)
        pool[i].snapshot = xctx_snapshot_unref(pool[i].snapshot);
    assert_true(without_variables < atomic_load(&handled));
}

static void set_both(long n, xctx_token tokens[2])
{
    struct counted *value = counted_new(n);
    CHECK(xctx_var_set(&plain, number(n), tokens ? &tokens[0] : NULL) == 0);
    CHECK(xctx_var_set(&counted, value, tokens ? &tokens[1] : NULL) == 0);
    counted_drop(value);
}

static void set_and_reset(long n)
{
    xctx_token tokens[2];
    set_both(n, tokens);
    set_both(n + 1, NULL);
    CHECK(xctx_var_reset(&counted, &tokens[1]) == 0);
    CHECK(xctx_var_reset(&plain, &tokens[0]) == 0);
}

TEST(captures_that_interrupt_set_and_reset_have_the_values_of_their_moment)
{
    interrupt(set_and_reset, scaled(6000));
}

struct asker {
    xctx_context *context;
    atomic_bool stop;
};

static void *copy_without_pause(void *arg)
{
    struct asker *asker = arg;
    sigset_t set;
    sigfillset(&set);
    CHECK(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
    while (!atomic_load(&asker->stop)) {
        xctx_context *copy = xctx_copy(asker->context);
        CHECK(copy != NULL);
        xctx_unref(copy);
    }
    return NULL;
}

/* Then the thread changes it behind a lock. */
TEST(captures_while_another_thread_copies_the_context_have_the_values_of_their_moment)
{
    struct asker asker = {.context = xctx_ref(xctx_current())};

    set_both(1, NULL);
    pthread_t thread = spawn(copy_without_pause, &asker);
    interrupt(set_and_reset, scaled(3000));
    atomic_store(&asker.stop, true);
    join(thread);
    xctx_unref(asker.context);
}

static void let_both(long n)
{
    struct counted *value = counted_new(n);
    XCTX_LET (&plain, number(n)) {
        XCTX_LET (&counted, value) {
            counted_drop(value);
            XCTX_LET (&plain, number(n + 1)) {
                CHECK(xctx_var_get(&plain) == number(n + 1));
                CHECK(counted_number(xctx_var_get(&counted)) == n);
            }
            CHECK(xctx_var_get(&plain) == number(n));
        }
    }
    CHECK(xctx_var_get(&plain) == number(INITIAL));
}

TEST(captures_that_interrupt_scoped_bindings_have_the_values_of_their_moment)
{
    interrupt(let_both, scaled(6000));
}

static void copy_enter_and_exit(long n)
{
    xctx_context *copy = n % 2 ? xctx_copy_current() : xctx_copy_current_with(XCTX_CAPTURE_STACK | XCTX_CAPTURE_LOCALS);
    CHECK(copy && xctx_enter(copy) == 0);
    set_both(n, NULL);
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_LOCALS);
    xctx_context *second = xctx_copy_current();
    CHECK(snapshot && second && xctx_enter(second) == 0);
    set_both(n + 1, NULL);
    xctx_unref(second);
    CHECK(xctx_exit(second) == 0);
    CHECK(xctx_var_get(&plain) == number(n));
    CHECK(xctx_exit(copy) == 0);
    xctx_unref(copy);
    xctx_snapshot_unref(snapshot);
}

TEST(captures_that_interrupt_copies_enter_and_exit_have_the_values_of_their_moment)
{
    set_both(1, NULL);
    interrupt(copy_enter_and_exit, scaled(6000));
}

static void use_libc(long n)
{
    static void *blocks[32];
    for (int i = 0; i < 32; i++) {
        if (i % 3 == 0)
            blocks[i] = realloc(blocks[i], (size_t)(n * 37 + i * 101) % 5000 + 1);
        else {
            free(blocks[i]);
            blocks[i] = malloc((size_t)(n * 53 + i * 211) % 9000 + 1);
        }
        CHECK(blocks[i] != NULL);
        memset(blocks[i], 1, 1);
    }
    if (n % 8 == 0) {
        void *module = dlopen(XCTX_TEST_MODULE_DIR "/plugin_variable.so", RTLD_NOW);
        CHECK(module != NULL);
        CHECK(dlclose(module) == 0);
    }
    if (n % 32 == 0)
        for (int i = 0; i < 32; i++) {
            free(blocks[i]);
            blocks[i] = NULL;
        }
    set_both(n, NULL);
}

static void free_blocks(long n)
{
    for (long i = 0; i <= 32; i++)
        use_libc((n + i) * 32);
}

TEST(captures_that_interrupt_libc_do_no_harm)
{
    interrupt(use_libc, scaled(6000));
    free_blocks(0);
}

static void *begin_and_end(void *arg)
{
    set_both(1, NULL);
    for (int i = 0; i < 3; i++) {
        xctx_snapshot *snapshot = xctx_snapshot_take(EVERYTHING);
        CHECK(snapshot != NULL);
        xctx_snapshot_unref(snapshot);
    }
    (void)arg;
    return NULL;
}

static void start_threads(long n)
{
    (void)n;
    pthread_t thread;
    CHECK(xctx_thread_create(&thread, NULL, begin_and_end, NULL) == 0);
    join(thread);
}

TEST(captures_that_interrupt_the_start_of_threads_do_no_harm)
{
    interrupt(start_threads, scaled(2000));
}

int main(void)
{
    return test_main("snapshots in signal handlers");
}
