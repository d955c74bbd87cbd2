/* SPDX-License-Identifier: MIT */
/*
 * Leaves (src/context/share.h).
 *
 * THREADS threads each have a reference to one context, which in the beginning refers to map 0. Each thread copies the
 * context (through its leaf, or else with the context locked, where it may get a leaf), takes any copy that there is
 * and releases it, gives its leaf up as at its end and goes on as a new thread does; and at last gives its reference to
 * the context back, with which the context goes. Thread 0 sets a variable in the context as well. BUDGET bounds copies,
 * changes and ends of threads, all together; in the end everything is released.
 *
 * A copy is no more than a reference to its map: `copies` has how many there are of each. Of all references to a map
 * that there are, `truth` has the sum.
 *
 * The claim, which claim.pml checks, is a plain lock here (`busy`). Each access to a count, to `owners` or `has_thread`
 * is a step of its own; all of them are atomic operations.
 *
 * A leaf's count has 6 bits and wraps around; PIN is as small as THREADS leaves with LEAF_MOST + 1 references each
 * allow.
 *
 * Checked: the assertions below, and that no thread waits for ever.
 */
#ifndef THREADS
#define THREADS 2
#endif
#ifndef BUDGET
#define BUDGET 6
#endif
#define MAPS 2
#define LEAVES (THREADS + 1)
#ifdef NO_PIN
#define PIN 0
#else
#define PIN (2 * THREADS + 1)
#endif
#define LEAF_MOST 1

#define COUNT_MIN (-32)
#define WRAPPED(count) (((count) + 96) % 64 - 32)
#ifdef REVOKED_AT_MIN
#define LEAF_REVOKED COUNT_MIN
#else
#define LEAF_REVOKED (COUNT_MIN / 2)
#endif

#define NO_MAP MAPS
#define NO_LEAF LEAVES

/* The context. */
byte root;
bool busy;
byte holders = THREADS;
bool in_list[LEAVES];

/* struct map */
short refs[MAPS];

/* struct leaf */
short count[LEAVES];
byte leaf_map[LEAVES];
byte owners[LEAVES];
bool has_thread[LEAVES];

/* What is so. */
bool live[MAPS];       /* made and not freed */
byte truth[MAPS];      /* references that there are */
bool leaf_live[LEAVES];
byte copies[MAPS];

byte left = BUDGET;
byte finished;

#define LISTED (in_list[0] || in_list[1] || in_list[2] || in_list[LEAVES - 1])

/* xctx__map_free() */
inline free_map(map)
{
    d_step { assert(live[map] && truth[map] == 0); live[map] = false; refs[map] = 0 }
}

/* xctx__map_unref(), of a reference that is not in `truth` any more; with xctx__leaf_unref(). */
inline unref_map(map)
{
    if
    :: leaf != NO_LEAF && leaf_map[leaf] == map ->
        d_step { assert(leaf_live[leaf]); old = count[leaf]; count[leaf] = WRAPPED(old - 1) };
#ifdef UNREF_IN_REVOKED
        done = true
#else
        done = old > LEAF_REVOKED / 2
#endif
    :: else
    fi;
    if
    :: done
    :: else ->
        d_step { assert(live[map]); old = refs[map] };
        if
        :: old == 1 -> free_map(map)
        :: else ->
            d_step { assert(live[map]); old = refs[map]; refs[map]-- };
            if
            :: old == 1 -> free_map(map)
            :: else
            fi
        fi
    fi;
    d_step { old = 0; done = false }
}

/* leaf_drop() */
inline drop(which)
{
    d_step {
        assert(leaf_live[which] && owners[which] > 0);
        owners[which]--;
        if
        :: owners[which] == 0 -> leaf_live[which] = false; count[which] = 0; leaf_map[which] = 0
        :: else
        fi
    }
}

/* xctx__leaf_leave() */
inline leave(which)
{
    if
    :: which == NO_LEAF
    :: else ->
#ifdef DROP_BEFORE_LEAVING
        drop(which);
        d_step { assert(leaf_live[which]); has_thread[which] = false }
#else
        d_step { assert(leaf_live[which]); has_thread[which] = false };
        drop(which)
#endif
    fi
}

/* xctx__leaf_consider(), when the streak is long enough: `leaf` becomes an adopted or a new one. */
inline consider()
{
    /* Which leaf it adopts is left open, and that it comes too early to find any. */
    atomic {
        former = leaf;
        if
        :: in_list[0] && !has_thread[0] -> leaf = 0
        :: in_list[1] && !has_thread[1] -> leaf = 1
        :: in_list[2] && !has_thread[2] -> leaf = 2
        :: in_list[LEAVES - 1] && !has_thread[LEAVES - 1] -> leaf = LEAVES - 1
        :: leaf = NO_LEAF
        fi;
        if
        :: leaf != NO_LEAF -> assert(leaf_live[leaf]); has_thread[leaf] = true
        :: else
        fi
    };
    if
    :: leaf != NO_LEAF ->
#ifndef ADOPT_WITHOUT_OWNING
        d_step { assert(leaf_live[leaf]); owners[leaf]++ }
#else
        skip
#endif
    :: else ->
        d_step {
            do
            :: i < LEAVES && leaf_live[i] -> i++
            :: else -> break
            od;
            if
            :: i < LEAVES ->
                leaf = i; leaf_live[i] = true; leaf_map[i] = root; owners[i] = 2; has_thread[i] = true
            :: else /* no memory */
            fi;
            i = 0
        };
        if
        :: leaf == NO_LEAF -> leaf = former; former = NO_LEAF
        :: else ->
            if
            :: !LISTED -> d_step { assert(live[root]); refs[root] = refs[root] + PIN }
            :: else
            fi;
            in_list[leaf] = true
        fi
    fi;
    leave(former);
    former = NO_LEAF
}

/* xctx_copy() of a context that is not the current one. */
inline copy()
{
    if
    :: leaf != NO_LEAF ->
        /* xctx__leaf_ref() */
        d_step {
            assert(leaf_live[leaf]);
            old = count[leaf];
            count[leaf] = WRAPPED(old + 1);
            if
            :: old < LEAF_REVOKED / 2
            :: else -> map = leaf_map[leaf]; assert(live[map]); truth[map]++
            fi
        };
        if
#ifndef NO_SETTLE
        :: map != NO_MAP && old >= LEAF_MOST ->
            /* xctx__leaf_settle() */
#ifndef SETTLE_DOWN_FIRST
            d_step { assert(live[map]); refs[map] = refs[map] + LEAF_MOST };
#endif
            d_step { assert(leaf_live[leaf]); old = count[leaf]; count[leaf] = WRAPPED(old - LEAF_MOST) };
#ifdef SETTLE_DOWN_FIRST
            if
            :: old < LEAF_REVOKED / 2
            :: else -> d_step { assert(live[map]); refs[map] = refs[map] + LEAF_MOST }
            fi
#else
            if
#ifndef SETTLE_BLINDLY
            :: old < LEAF_REVOKED / 2 -> d_step { assert(live[map]); refs[map] = refs[map] - LEAF_MOST }
#endif
            :: else
            fi
#endif
#endif
        :: else
        fi;
        old = 0
    :: else
    fi;
    if
    :: map != NO_MAP
    :: else ->
        d_step { !busy -> busy = true };
        map = root;
        d_step { assert(live[map]); refs[map]++; truth[map]++ };
        if
        :: consider()
        :: skip /* the streak is not long enough */
        fi;
        busy = false
    fi;
    d_step { copies[map]++; map = NO_MAP }
}

/* xctx__leaves_revoke() */
inline revoke()
{
    if
    :: LISTED ->
#ifdef PIN_BACK_FIRST
        d_step { assert(live[root]); refs[root] = refs[root] - PIN };
#endif
        do
        :: LISTED ->
            d_step {
                i = 0;
                do
                :: !in_list[i] -> i++
                :: else -> break
                od;
                in_list[i] = false
            };
#ifdef REVOKE_IN_TWO
            d_step { assert(leaf_live[i]); sum = sum + count[i] };
            d_step { assert(leaf_live[i]); count[i] = LEAF_REVOKED };
#else
            d_step { assert(leaf_live[i]); sum = sum + count[i]; count[i] = LEAF_REVOKED };
#endif
            drop(i)
        :: else -> break
        od;
        i = 0;
#ifdef PIN_BACK_FIRST
        d_step { assert(live[root]); refs[root] = refs[root] + sum };
#else
        d_step { assert(live[root]); refs[root] = refs[root] + sum - PIN };
#endif
        sum = 0
    :: else
    fi
}

/* xctx_var_set() */
inline set()
{
    d_step { !busy -> busy = true };
    d_step { assert(live[root]); old = refs[root] };
    if
    :: old == 1 ->
        assert(truth[root] == 1); /* a word is put into the map */
        assert(truth[root] == 1); /* and another one */
        d_step { busy = false; old = 0 }
    :: else ->
        d_step {
            busy = false;
            old = 0;
            map = 0;
            do
            :: map < MAPS && live[map] -> map++
            :: else -> break
            od;
            if
            :: map < MAPS -> live[map] = true; refs[map] = 1; truth[map] = 1
            :: else /* no memory */
            fi
        };
        if
        :: map == NO_MAP
        :: else ->
            d_step { !busy -> busy = true };
#ifndef NO_REVOKE
            revoke();
#endif
            d_step { former = root; root = map; truth[former]--; map = former; former = NO_LEAF; busy = false };
            unref_map(map);
            map = NO_MAP
        fi
    fi
}

proctype thread(byte me)
{
    bool has = true;        /* a reference to the context */
    byte leaf = NO_LEAF;    /* struct record */
    byte former = NO_LEAF, map = NO_MAP, i;
    short old, sum;
    bool done;

    do
    :: atomic { left > 0 && has -> left-- };
        copy()
    :: atomic { left > 0 && has && me == 0 -> left-- };
        set()
    :: atomic {
            copies[0] + copies[1] > 0 ->
            if
            :: copies[0] > 0 -> map = 0
            :: copies[1] > 0 -> map = 1
            fi;
            copies[map]--;
            truth[map]--
        };
        unref_map(map);
        map = NO_MAP
    :: atomic { left > 0 && leaf != NO_LEAF -> left-- };
        leave(leaf);
        leaf = NO_LEAF
    :: d_step { has && !busy -> busy = true; has = false; holders-- };
        if
        :: holders > 0 -> busy = false
        :: else ->
            /* The context goes. */
            revoke();
            d_step { map = root; truth[map]-- };
            unref_map(map);
            d_step { map = NO_MAP; busy = false; root = 0 }
        fi
    :: !has && copies[0] + copies[1] == 0 ->
        leave(leaf);
        d_step { leaf = NO_LEAF; finished++ };
        if
        :: finished == THREADS ->
            assert(!live[0] && !live[1]);
            assert(!leaf_live[0] && !leaf_live[1] && !leaf_live[2] && !leaf_live[LEAVES - 1])
        :: else
        fi;
        break
    od
}

init
{
    byte i;

    atomic {
        live[0] = true;
        refs[0] = 1;
        truth[0] = 1;
        do
        :: i < THREADS -> run thread(i); i++
        :: else -> break
        od;
        i = 0
    }
}
