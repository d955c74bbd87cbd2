/* SPDX-License-Identifier: MIT */
/* Taking a snapshot of oneself: the addresses and the bytes of the stack are the caller's. */
#include "capture_support.h"

#include "capture/snapshot_internal.h"

/* ---- addresses ---- */

NOINLINE static xctx_snapshot *take_here(unsigned capture, uintptr_t *ret_frame, uintptr_t *ret_back)
{
    xctx_snapshot *snapshot = xctx_snapshot_take(capture);

    *ret_frame = (uintptr_t)__builtin_frame_address(0);
    *ret_back = (uintptr_t)__builtin_extract_return_addr(__builtin_return_address(0));
    __asm__ volatile("" ::: "memory"); /* not a jump */
    return snapshot;
}

TEST(first_address_is_in_the_caller_and_is_its_program_counter)
{
    uintptr_t frame, back;
    xctx_snapshot *snapshot = take_here(XCTX_CAPTURE_STACK | XCTX_CAPTURE_REGISTERS, &frame, &back);
    uintptr_t pc = first_address(snapshot);

    assert_true(pc > (uintptr_t)take_here && pc - (uintptr_t)take_here < 512);
    assert_int_equal(register_of(snapshot, "pc"), pc);
    assert_int_equal(register_of(snapshot, PC_NAME), pc);
    xctx_snapshot_unref(snapshot);
}

TEST(stack_pointer_is_within_the_callers_frame)
{
    uintptr_t frame, back;
    xctx_snapshot *snapshot = take_here(XCTX_CAPTURE_REGISTERS, &frame, &back);
    uint64_t sp = register_of(snapshot, "sp");

    assert_int_equal(sp % 16, 0); /* as the ABI demands before a call */
    assert_int_equal(sp, register_of(snapshot, SP_NAME));
    assert_true(sp <= frame + 16 && frame - sp < 1024);
    xctx_snapshot_unref(snapshot);
}

/* Frames that have a frame pointer, whatever this is compiled with: it is needed to find what alloca() made. */
NOINLINE static xctx_snapshot *nest(int depth, unsigned capture)
{
    volatile char *some = __builtin_alloca((size_t)depth % 3 * 16 + 16);
    xctx_snapshot *snapshot;

    some[0] = 1;
    keep(some);
    snapshot = depth > 1 ? nest(depth - 1, capture) : xctx_snapshot_take(capture);
    some[0] = 2;
    return snapshot;
}

TEST(addresses_of_callers_with_frame_pointers_are_all_there)
{
    uintptr_t pcs[XCTX_SNAPSHOT_ADDRESSES];
    xctx_snapshot *snapshot = nest(10, XCTX_CAPTURE_STACK);
    size_t count = xctx_snapshot_stack(snapshot, pcs, XCTX_SNAPSHOT_ADDRESSES);

    assert_true(count >= 10);
    for (int i = 0; i < 10; i++)
        assert_true(pcs[i] > (uintptr_t)nest && pcs[i] - (uintptr_t)nest < 1024);
    for (int i = 2; i < 10; i++)
        assert_int_equal(pcs[i], pcs[1]);
    xctx_snapshot_unref(snapshot);
}

TEST(addresses_are_at_most_as_many_as_there_is_room_for)
{
    uintptr_t pcs[XCTX_SNAPSHOT_ADDRESSES] = {0};
    xctx_snapshot *snapshot = nest(2 * XCTX_SNAPSHOT_ADDRESSES, XCTX_CAPTURE_STACK);

    assert_int_equal(xctx_snapshot_stack(snapshot, NULL, 0), XCTX_SNAPSHOT_ADDRESSES);
    assert_int_equal(xctx_snapshot_stack(snapshot, pcs, 3), XCTX_SNAPSHOT_ADDRESSES);
    assert_int_not_equal(pcs[2], 0);
    assert_int_equal(pcs[3], 0);
    assert_int_equal(xctx_snapshot_stack(snapshot, pcs, XCTX_SNAPSHOT_ADDRESSES), XCTX_SNAPSHOT_ADDRESSES);
    assert_int_not_equal(pcs[XCTX_SNAPSHOT_ADDRESSES - 1], 0);
    xctx_snapshot_unref(snapshot);
}

#if defined(__x86_64__)
/* Takes a snapshot with some value in the frame pointer. */
NOINLINE static xctx_snapshot *take_with_frame_pointer(uintptr_t value)
{
    xctx_snapshot *snapshot;
    unsigned long capture = XCTX_CAPTURE_STACK | XCTX_CAPTURE_REGISTERS;

    __asm__ volatile("movq %%rbp, %%r12\n\t"
                     "movq %%rsp, %%r13\n\t"
                     "subq $256, %%rsp\n\t"
                     "andq $-16, %%rsp\n\t"
                     "movq %2, %%rbp\n\t"
                     "call *%3\n\t"
                     "movq %%r13, %%rsp\n\t"
                     "movq %%r12, %%rbp"
                     : "=a"(snapshot), "+D"(capture)
                     : "r"(value), "r"(xctx_snapshot_take)
                     : "r12", "r13", "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "memory", "cc", "xmm0", "xmm1");
    return snapshot;
}

TEST(frame_pointer_that_points_nowhere_ends_the_addresses)
{
    uintptr_t *loop = __builtin_alloca(4 * sizeof(*loop));
    loop[0] = (uintptr_t)loop;
    loop[1] = 1;
    uintptr_t ends[] = {0, 1, 8, UINTPTR_MAX, UINTPTR_MAX - 15, (uintptr_t)INTPTR_MIN, (uintptr_t)loop + 3};

    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        xctx_snapshot *snapshot = take_with_frame_pointer(ends[i]);
        assert_non_null(snapshot);
        assert_int_equal(register_of(snapshot, "rbp"), ends[i]);
        assert_int_equal(xctx_snapshot_stack(snapshot, NULL, 0), 1);
        xctx_snapshot_unref(snapshot);
    }
    /* A frame that is its own caller. */
    xctx_snapshot *snapshot = take_with_frame_pointer((uintptr_t)loop);
    assert_int_equal(xctx_snapshot_stack(snapshot, NULL, 0), 2);
    xctx_snapshot_unref(snapshot);
}

TEST(frame_pointer_at_the_end_of_the_stack_ends_the_addresses)
{
    xctx_snapshot *bounds = xctx_snapshot_take(0);
    uintptr_t high = (uintptr_t)state_of(bounds)->stack_high;

    assert_int_not_equal(high, 0);
    for (uintptr_t at = high - 32; at <= high + 32; at += 8)
        xctx_snapshot_unref(take_with_frame_pointer(at));
    xctx_snapshot_unref(bounds);
}
#endif

/* ---- bytes of the stack ---- */

TEST(stack_holds_what_is_in_the_callers_frame)
{
    volatile uint64_t *words = MARKED_FRAME(1000);
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_LOCALS);

    assert_true(holds(snapshot, words, 1000));
    words[0] = 0;
    assert_true(holds(snapshot, words, 1000)); /* it is a copy */
    xctx_snapshot_unref(snapshot);
}

TEST(stack_from_the_stack_pointer_on_is_captured_and_nothing_below)
{
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_LOCALS);
    uint64_t sp = register_of(snapshot, "sp");
    unsigned char byte;

    assert_int_equal(xctx_snapshot_read(snapshot, sp, &byte, 1), 0);
    assert_int_equal(xctx_snapshot_read(snapshot, sp - 1, &byte, 1), -EFAULT);
    assert_int_equal(xctx_snapshot_read(snapshot, sp + stack_size(snapshot), &byte, 0), 0);
    assert_int_equal(xctx_snapshot_read(snapshot, sp + stack_size(snapshot), &byte, 1), -EFAULT);
    assert_int_equal(xctx_snapshot_read(snapshot, sp + stack_size(snapshot) - 1, &sp, 2), -EFAULT);
    xctx_snapshot_unref(snapshot);
}

TEST(read_with_wrong_arguments_is_refused)
{
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_LOCALS);
    unsigned char byte = 9;

    assert_int_equal(xctx_snapshot_read(NULL, 0, &byte, 1), -EINVAL);
    assert_int_equal(xctx_snapshot_read(snapshot, register_of(snapshot, "sp"), NULL, 1), -EINVAL);
    assert_int_equal(xctx_snapshot_read(snapshot, 0, &byte, 1), -EFAULT);
    assert_int_equal(xctx_snapshot_read(snapshot, UINT64_MAX, &byte, 1), -EFAULT);
    assert_int_equal(xctx_snapshot_read(snapshot, register_of(snapshot, "sp"), &byte, SIZE_MAX), -EFAULT);
    assert_int_equal(xctx_snapshot_read(snapshot, UINT64_MAX - 3, &byte, SIZE_MAX), -EFAULT);
    assert_int_equal(byte, 9);
    xctx_snapshot_unref(snapshot);
}

NOINLINE static size_t stack_size_below(size_t more)
{
    volatile char *some = __builtin_alloca(more);
    some[0] = 1;
    some[more - 1] = 1;
    keep(some);
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_LOCALS);
    size_t size = stack_size(snapshot);
    xctx_snapshot_unref(snapshot);
    return size;
}

TEST(stack_limit_bounds_what_is_copied)
{
    enum { DEEP = 100000 };

    assert_int_equal(stack_size_below(DEEP), XCTX_SNAPSHOT_STACK_DEFAULT);
    assert_int_equal(xctx_set_stack_limit(4096), 0);
    assert_int_equal(stack_size_below(DEEP), 4096);
    assert_int_equal(xctx_set_stack_limit(0), 0);
    assert_int_equal(stack_size_below(DEEP), 0);
    /* Nothing but whole words. */
    assert_int_equal(xctx_set_stack_limit(4099), 0);
    assert_int_equal(stack_size_below(DEEP), 4096);
    assert_int_equal(xctx_set_stack_limit(7), 0);
    assert_int_equal(stack_size_below(DEEP), 0);
    assert_int_equal(xctx_set_stack_limit(XCTX_SNAPSHOT_STACK_MAX), 0);
    size_t all = stack_size_below(DEEP);
    assert_true(all > DEEP && all < XCTX_SNAPSHOT_STACK_MAX);
    assert_int_equal(xctx_set_stack_limit((size_t)XCTX_SNAPSHOT_STACK_MAX + 1), -EINVAL);
    assert_int_equal(xctx_set_stack_limit(SIZE_MAX), -EINVAL);
    assert_int_equal(stack_size_below(DEEP), all);
    restore_defaults();
}

TEST(stack_without_limit_ends_where_the_state_says)
{
    assert_int_equal(xctx_set_stack_limit(XCTX_SNAPSHOT_STACK_MAX), 0);
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_LOCALS);
    const xctx_thread_state *state = state_of(snapshot);

    assert_true(state->present & XCTX_THREAD_STACK);
    assert_int_equal(register_of(snapshot, "sp") + stack_size(snapshot), state->stack_high);
    assert_true(state->stack_low <= register_of(snapshot, "sp"));
    xctx_snapshot_unref(snapshot);
    restore_defaults();
}

/* ---- wrong arguments, references ---- */

TEST(unknown_bits_are_refused)
{
    for (unsigned bit = XCTX_CAPTURE_ALL + 1; bit; bit <<= 1) {
        assert_null(xctx_snapshot_take(bit));
        assert_null(xctx_snapshot_take(bit | XCTX_CAPTURE_ALL));
        assert_null(xctx_snapshot_reserve(bit, 0));
        assert_int_equal(xctx_set_default_capture(bit), -EINVAL);
        assert_null(xctx_copy_current_with(bit));
    }
    assert_int_equal(xctx_default_capture(), 0);
}

TEST(nothing_is_known_of_no_snapshot)
{
    assert_null(xctx_snapshot_unref(NULL));
    assert_null(xctx_snapshot_ref(NULL));
    assert_null(xctx_snapshot_parent(NULL));
    assert_null(xctx_snapshot_of(NULL));
    assert_null(xctx_snapshot_context(NULL));
    assert_null(xctx_snapshot_thread_state(NULL));
    assert_int_equal(xctx_snapshot_captured(NULL), 0);
    assert_int_equal(xctx_snapshot_stack(NULL, NULL, 0), 0);
    xctx_snapshot_unref_all(NULL, 3);
}

TEST(references_are_counted)
{
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_ALL);

    assert_ptr_equal(xctx_snapshot_ref(snapshot), snapshot);
    assert_null(xctx_snapshot_unref(snapshot));
    assert_int_equal(xctx_snapshot_captured(snapshot), XCTX_CAPTURE_ALL);
    assert_null(xctx_snapshot_unref(snapshot));
}

int main(void)
{
    return test_main("taking snapshots");
}
