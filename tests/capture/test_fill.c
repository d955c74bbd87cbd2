/* SPDX-License-Identifier: MIT */
/* Snapshots in memory that was reserved: filled, emptied, filled again. */
#include "capture_support.h"

#include "capture/snapshot_internal.h"

TEST(reserved_snapshot_has_nothing_in_it)
{
    xctx_snapshot *snapshot = xctx_snapshot_reserve(XCTX_CAPTURE_ALL, 0);
    uint64_t value;
    int64_t time;

    assert_non_null(snapshot);
    assert_int_equal(xctx_snapshot_captured(snapshot), 0);
    assert_int_equal(xctx_snapshot_stack(snapshot, NULL, 0), 0);
    assert_int_equal(xctx_snapshot_register(snapshot, "pc", &value), -ENODATA);
    assert_int_equal(xctx_snapshot_time(snapshot, &time), -ENODATA);
    assert_int_equal(xctx_snapshot_read(snapshot, (uintptr_t)&value, &time, 8), -EFAULT);
    assert_null(xctx_snapshot_thread_state(snapshot));
    assert_null(xctx_snapshot_context(snapshot));
    assert_null(xctx_snapshot_parent(snapshot));
    xctx_snapshot_unref(snapshot);
}

NOINLINE static int fill_here(xctx_snapshot *snapshot, unsigned capture)
{
    int result = xctx_snapshot_fill(snapshot, capture, NULL);
    __asm__ volatile("" ::: "memory");
    return result;
}

TEST(filled_snapshot_is_of_the_caller)
{
    volatile uint64_t *words = MARKED_FRAME(3000);
    xctx_snapshot *snapshot = xctx_snapshot_reserve(XCTX_CAPTURE_ALL, 0);

    assert_int_equal(fill_here(snapshot, XCTX_CAPTURE_ALL), 0);
    assert_true(first_address(snapshot) - (uintptr_t)fill_here < 512);
    assert_int_equal(register_of(snapshot, "pc"), first_address(snapshot));
    assert_true(holds(snapshot, words, 3000));
    assert_int_equal(state_of(snapshot)->tid, own_tid());
    xctx_snapshot_unref(snapshot);
}

TEST(fill_takes_no_more_than_what_was_reserved)
{
    for (unsigned reserved = 0; reserved <= XCTX_CAPTURE_ALL; reserved++)
        for (unsigned capture = 0; capture <= 2 * XCTX_CAPTURE_ALL + 1; capture++) {
            xctx_snapshot *snapshot = xctx_snapshot_reserve(reserved, 0);
            bool too_much = capture & ~reserved;
            assert_int_equal(xctx_snapshot_fill(snapshot, capture, NULL), too_much ? -EINVAL : 0);
            assert_int_equal(xctx_snapshot_captured(snapshot), too_much ? 0 : capture);
            assert_int_equal(xctx_snapshot_fill(snapshot, 0, NULL), too_much ? 0 : -EALREADY);
            xctx_snapshot_unref(snapshot);
        }
    assert_int_equal(xctx_snapshot_fill(NULL, 0, NULL), -EINVAL);
}

TEST(reserve_has_room_for_the_stack_that_is_asked_for)
{
    enum { DEEP = 50000 };
    static const size_t asked[] = {8, 100, 4096, 40000};
    volatile char deep[DEEP];
    deep[0] = 1;
    keep(deep);

    for (size_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++) {
        xctx_snapshot *snapshot = xctx_snapshot_reserve(XCTX_CAPTURE_LOCALS, asked[i]);
        assert_int_equal(xctx_snapshot_fill(snapshot, XCTX_CAPTURE_LOCALS, NULL), 0);
        assert_int_equal(stack_size(snapshot), asked[i] & ~(size_t)7);
        xctx_snapshot_unref(snapshot);
    }
    assert_int_equal(xctx_set_stack_limit(1024), 0);
    xctx_snapshot *snapshot = xctx_snapshot_reserve(XCTX_CAPTURE_LOCALS, 0);
    restore_defaults();
    assert_int_equal(xctx_snapshot_fill(snapshot, XCTX_CAPTURE_LOCALS, NULL), 0);
    assert_int_equal(stack_size(snapshot), 1024);
    xctx_snapshot_unref(snapshot);
    assert_null(xctx_snapshot_reserve(XCTX_CAPTURE_LOCALS, (size_t)XCTX_SNAPSHOT_STACK_MAX + 1));
    assert_null(xctx_snapshot_reserve(0, SIZE_MAX));
    assert_int_equal(deep[0], 1);
}

TEST(reset_empties_for_another_fill)
{
    volatile uint64_t *words = MARKED_FRAME(4000);
    xctx_snapshot *snapshot = xctx_snapshot_reserve(XCTX_CAPTURE_ALL, 0);
    uint64_t value;

    for (int i = 0; i < 3; i++) {
        assert_int_equal(xctx_snapshot_fill(snapshot, XCTX_CAPTURE_ALL, NULL), 0);
        assert_true(holds(snapshot, words, 4000));
        assert_non_null(xctx_snapshot_context(snapshot));
        assert_int_equal(xctx_snapshot_reset(snapshot), 0);
        assert_int_equal(xctx_snapshot_captured(snapshot), 0);
        assert_int_equal(xctx_snapshot_register(snapshot, "pc", &value), -ENODATA);
        assert_int_equal(xctx_snapshot_stack(snapshot, NULL, 0), 0);
        assert_false(holds(snapshot, words, 4000));
        assert_null(xctx_snapshot_context(snapshot));
        assert_null(xctx_snapshot_thread_state(snapshot));
        assert_int_equal(xctx_snapshot_reset(snapshot), 0);
    }
    xctx_snapshot_unref(snapshot);
}

TEST(reset_overwrites_what_was_captured)
{
    xctx_snapshot *snapshot = xctx_snapshot_reserve(XCTX_CAPTURE_ALL, 0);

    assert_int_equal(xctx_snapshot_fill(snapshot, XCTX_CAPTURE_ALL, NULL), 0);
    uint32_t stack_filled = snapshot->stack_size, fpu_filled = snapshot->fpu_size;
    size_t addresses = snapshot->pc_count;
    assert_true(stack_filled > 0 && fpu_filled > 0 && addresses > 0);
    assert_int_equal(xctx_snapshot_reset(snapshot), 0);
    for (uint32_t i = 0; i < stack_filled; i++)
        assert_int_equal(snapshot->stack[i], 0);
    for (uint32_t i = 0; i < fpu_filled; i++)
        assert_int_equal(snapshot->fpu[i], 0);
    for (size_t i = 0; i < addresses; i++)
        assert_int_equal(snapshot->pcs[i], 0);
    for (size_t i = 0; i < XCTX__REGISTERS; i++)
        assert_int_equal(snapshot->registers.value[i], 0);
    assert_int_equal(snapshot->registers.known, 0);
    assert_int_equal(snapshot->state.stack_high, 0);
    xctx_snapshot_unref(snapshot);
}

enum { MOST_WORDS = 200 };

static uint64_t numbered(uint64_t n)
{
    return n << 32 | n;
}

/* Of a frame that begins with numbered words, or nearly. */
NOINLINE static void fill_below_words(xctx_snapshot *snapshot, const volatile uint64_t **ret_words)
{
    volatile uint64_t *words = __builtin_alloca(MOST_WORDS * sizeof(*words));

    for (unsigned i = 0; i < MOST_WORDS; i++)
        words[i] = numbered(i + 1);
    keep(words);
    CHECK(xctx_snapshot_fill(snapshot, XCTX_CAPTURE_LOCALS, NULL) == 0);
    *ret_words = words;
}

TEST(any_number_of_words_is_copied_and_overwritten_and_nothing_behind_them)
{
    enum { MOST = MOST_WORDS * sizeof(uint64_t), BEHIND = 0xa5 };
    size_t seen = 0;

    for (size_t size = 8; size <= MOST; size += 8) {
        xctx_snapshot *snapshot = xctx_snapshot_reserve(XCTX_CAPTURE_LOCALS, size);
        const volatile uint64_t *words;
        uint8_t *end = snapshot->stack + size;
        size_t behind = snapshot->size - (size_t)(end - (uint8_t *)snapshot);

        memset(end, BEHIND, behind);
        fill_below_words(snapshot, &words);
        assert_int_equal(snapshot->stack_size, size);
        uint64_t first = ((uintptr_t)words - snapshot->stack_address) / sizeof(uint64_t);
        for (uint64_t i = first, n = 1; i < size / sizeof(uint64_t); i++, n++, seen++) {
            uint64_t word;
            memcpy(&word, snapshot->stack + i * sizeof(word), sizeof(word));
            assert_int_equal(word, numbered(n));
        }
        assert_int_equal(xctx_snapshot_reset(snapshot), 0);
        for (size_t i = 0; i < size; i++)
            assert_int_equal(snapshot->stack[i], 0);
        for (size_t i = 0; i < behind; i++)
            assert_int_equal(end[i], BEHIND);
        xctx_snapshot_unref(snapshot);
    }
    assert_true(seen > MOST_WORDS);
}

TEST(reset_of_what_others_use_is_refused)
{
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_STACK);

    xctx_snapshot_ref(snapshot);
    assert_int_equal(xctx_snapshot_reset(snapshot), -EBUSY);
    assert_int_equal(xctx_snapshot_captured(snapshot), XCTX_CAPTURE_STACK);
    xctx_snapshot_unref(snapshot);
    assert_int_equal(xctx_snapshot_reset(snapshot), 0);
    xctx_snapshot_unref(snapshot);
    assert_int_equal(xctx_snapshot_reset(NULL), -EINVAL);
}

int main(void)
{
    return test_main("filling snapshots");
}
