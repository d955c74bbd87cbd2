/* SPDX-License-Identifier: MIT */
/*
 * Counting references to maps, with pins (src/context/context_internal.h).
 *
 * Thread 0 has a context entered, the others none yet. Each thread copies its current context, copies that of another
 * thread, takes any copy and copies it, releases it or enters it (one deep in another), sets a variable in its current
 * context, and leaves that. BUDGET bounds all that but releasing and leaving; in the end everything is released.
 *
 * A context that nobody has entered and that was never pinned is no more than a reference to its map: `copies` has how
 * many there are of each. One that was pinned before it was left is `parked`. Of all the places where a reference to
 * a map can be, `truth` has the sum.
 *
 * The claim, which claim.pml checks, is a plain lock here (`busy`), the same for a window and for LOCKED. Each access
 * to map->refs is a step of its own. Memory is sequentially consistent: of the accesses to map->refs only the one in
 * pin_map() is a plain store, in a window, in front of which and after which stand the claim's acquire and release.
 *
 * PIN is as small as can be, so that `owed` comes close to 0 and another PIN has to be moved over.
 *
 * Checked: the assertions below, and that no thread waits for ever.
 */
#ifndef THREADS
#define THREADS 2
#endif
#ifndef BUDGET
#define BUDGET 5
#endif
#define MAPS 3
#define PIN 4
#define BATCH 1

#define NONE MAPS

/* struct map */
short refs[MAPS];

/* What is so. */
bool live[MAPS];    /* made and not freed */
byte truth[MAPS];   /* references that there are */

byte copies[MAPS];
byte parked = NONE; /* its map */
short parked_owed;

/* What a thread has entered: its current context, and the one before. */
byte root[THREADS] = NONE;
short owed[THREADS];
byte outer[THREADS] = NONE;
short outer_owed[THREADS];
bool busy[THREADS]; /* the claim of the current context */

byte left = BUDGET;
byte finished;

/* struct slot: which context's pin is in use. */
#define NO_PIN 0
#define PIN_CURRENT 1
#define PIN_OUTER 2
#define PIN_MAP (pin == PIN_CURRENT -> root[me] : (pin == PIN_OUTER -> outer[me] : NONE))

/* xctx__map_free() */
inline free_map(map)
{
    d_step { assert(live[map] && truth[map] == 0); live[map] = false; refs[map] = 0 }
}

/* xctx__map_unref(), of a reference that is not in `truth` any more. */
inline unref_map(map)
{
    if
#ifdef DROP_ANY
    :: pin != NO_PIN -> dropped++
#else
    :: PIN_MAP == map -> dropped++
#endif
    :: else ->
        d_step { assert(live[map]); count = refs[map] };
        if
        :: count == 1 -> free_map(map)
        :: else ->
#ifdef DECREMENT_IN_TWO
            d_step { assert(live[map]); count = refs[map] };
            d_step { assert(live[map]); refs[map] = count - 1 };
#else
            d_step { assert(live[map]); count = refs[map]; refs[map]-- };
#endif
            if
            :: count == 1 -> free_map(map)
            :: else
            fi
        fi
    fi;
    count = 0
}

/* xctx__map_unpin(), the same with a pin. */
inline unpin(map, debt)
{
    if
#ifdef NO_UNPIN
    :: true -> unref_map(map)
#else
    :: debt == 0 -> unref_map(map)
#endif
    :: else ->
        d_step { assert(live[map]); count = refs[map] };
        if
        :: count + debt == 1 -> free_map(map)
        :: else ->
            d_step { assert(live[map]); count = refs[map]; refs[map] = count + debt - 1 };
            if
            :: count + debt == 1 -> free_map(map)
            :: else
            fi
        fi
    fi;
    d_step { count = 0; debt = 0 }
}

/* xctx__pin_fold(), in d_step. */
inline fold()
{
    if
    :: pin == PIN_CURRENT -> owed[me] = owed[me] + copied - dropped
    :: pin == PIN_OUTER -> outer_owed[me] = outer_owed[me] + copied - dropped
    :: else
    fi;
    pin = NO_PIN;
    copied = 0;
    dropped = 0
}

/* copy_current_slowly(), of which copy_current() is a part. */
inline copy_current()
{
    map = root[me];
    if
    :: owed[me] == 0 ->
        /* pin_map() */
#ifndef PIN_WITHOUT_WINDOW
        d_step { !busy[me] -> busy[me] = true };
#endif
        d_step { assert(live[map]); count = refs[map] };
        if
        :: count == 1 ->
            d_step { assert(live[map]); refs[map] = 1 + PIN };
#ifndef PIN_WITHOUT_WINDOW
            busy[me] = false
#endif
        :: else ->
#ifndef PIN_WITHOUT_WINDOW
            busy[me] = false;
#endif
            d_step { assert(live[map]); refs[map] = refs[map] + PIN }
        fi;
        d_step { count = 0; owed[me] = -PIN }
    :: else
    fi;
    d_step {
        if
        :: pin != PIN_CURRENT || copied >= BATCH -> fold(); pin = PIN_CURRENT
        :: else
        fi
    };
#ifndef NO_TOPUP
    if
    :: owed[me] > -PIN / 2 ->
        d_step { assert(live[map]); refs[map] = refs[map] + PIN };
        owed[me] = owed[me] - PIN
    :: else
    fi;
#endif
#ifndef NO_TOPUP
    assert(owed[me] + copied - dropped < -1);
#endif
    d_step {
        copied++;
        truth[map]++;
        copies[map]++;
        map = NONE
    }
}

/* xctx__context_share(), of another thread's current context. */
inline copy_other(other)
{
    d_step { !busy[other] && root[other] != NONE -> busy[other] = true; map = root[other] };
    d_step { assert(live[map]); refs[map]++; truth[map]++ };
    d_step { busy[other] = false; copies[map]++; map = NONE }
}

/* Takes one of the copies that there are. */
inline take()
{
    if
    :: copies[0] > 0 -> map = 0
    :: copies[1] > 0 -> map = 1
    :: copies[2] > 0 -> map = 2
    fi;
    copies[map]--
}

#define begin_change() d_step { !busy[me] -> busy[me] = true }
#define end_change() busy[me] = false
#ifdef PUT_WITHOUT_WINDOW
#define begin_put() skip
#define end_put() skip
#else
#define begin_put() begin_change()
#define end_put() end_change()
#endif

/* xctx__map_ref(): xctx__context_copy_new() of a copy that nobody else knows yet. */
inline copy_copy()
{
    if
    :: PIN_MAP == map && copied < BATCH -> d_step { assert(live[map]); copied++; truth[map]++ }
    :: else -> d_step { assert(live[map]); refs[map]++; truth[map]++ }
    fi;
    d_step { copies[map] = copies[map] + 2; map = NONE }
}

/* xctx_var_set(): store() and replace_map(), or set_copying(), which does the same where the map is that of the pin. */
inline set()
{
    begin_put();
    d_step { assert(live[root[me]]); count = refs[root[me]] };
    if
#ifdef OURS_WITHOUT_SLOT
    :: count + owed[me] == 1 ->
#else
    :: count + owed[me] + (pin == PIN_CURRENT -> copied - dropped : 0) == 1 ->
#endif
        assert(truth[root[me]] == 1); /* a word is put into the map */
        assert(truth[root[me]] == 1); /* and another one */
        end_put()
    :: else ->
        end_put();
        d_step {
            count = 0;
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
        :: map == NONE
        :: else ->
            d_step {
#ifdef NO_FOLD
                pin = NO_PIN; copied = 0; dropped = 0;
#else
                if
                :: pin == PIN_CURRENT -> fold()
                :: else
                fi;
#endif
                debt = owed[me]
            };
#ifdef REPLACE_WITHOUT_WINDOW
            d_step { old = root[me]; root[me] = map; truth[old]--; map = NONE };
#else
            begin_change();
            d_step { old = root[me]; root[me] = map; truth[old]--; map = NONE };
            end_change();
#endif
            owed[me] = 0;
            unpin(old, debt);
            old = 0
        fi
    fi;
    count = 0
}

/* xctx_enter() of any copy, or of the parked context. */
inline enter(what, with)
{
    outer[me] = root[me];
    outer_owed[me] = owed[me];
    if
    :: pin == PIN_CURRENT -> pin = PIN_OUTER
    :: else
    fi;
    root[me] = what;
    owed[me] = with
}

/* step_out(), in d_step: `map` and `debt` get what the context left has. */
inline step_out()
{
    if
    :: pin == PIN_CURRENT -> fold()
    :: else
    fi;
    map = root[me];
    debt = owed[me];
    root[me] = outer[me];
    owed[me] = outer_owed[me];
    outer[me] = NONE;
    outer_owed[me] = 0;
    if
    :: pin == PIN_OUTER -> pin = PIN_CURRENT
    :: else
    fi
}

#define SOME_COPY (copies[0] + copies[1] + copies[2] > 0)
#define MAY_ENTER (left > 0 && outer[me] == NONE && !busy[me])

proctype thread(byte me)
{
    byte map = NONE, old, pin, copied, dropped;
    short count, debt;

    do
    :: atomic { left > 0 && root[me] != NONE -> left-- };
        if
        :: copy_current()
        :: set()
        fi
    :: atomic { left > 0 && root[(me + 1) % THREADS] != NONE -> left-- };
        if
        :: copy_other((me + 1) % THREADS)
        :: root[(me + 1) % THREADS] == NONE /* left meanwhile */
        fi
    :: atomic { MAY_ENTER && SOME_COPY -> left--; take(); enter(map, 0); map = NONE }
    :: d_step { MAY_ENTER && parked != NONE -> left--; enter(parked, parked_owed); parked = NONE; parked_owed = 0 }
    :: atomic { left > 0 && SOME_COPY -> left--; take() };
        copy_copy()
    :: atomic { SOME_COPY -> take(); truth[map]-- }; /* xctx_unref() of its last reference */
        unref_map(map);
        map = NONE
    :: d_step { root[me] != NONE && !busy[me] -> step_out(); truth[map]-- };
        unpin(map, debt);
        map = NONE
    :: d_step {
            left > 0 && parked == NONE && root[me] != NONE && !busy[me] ->
            step_out();
            parked = map;
            parked_owed = debt;
            map = NONE;
            debt = 0
        }
    :: d_step {
            parked != NONE -> map = parked; debt = parked_owed; parked = NONE; parked_owed = 0; truth[map]--
        };
        unpin(map, debt);
        map = NONE
    :: atomic { root[me] == NONE && parked == NONE && !SOME_COPY -> finished++ };
        assert(finished < THREADS || !(live[0] || live[1] || live[2])); /* all are freed */
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
        root[0] = 0;
        do
        :: i < THREADS -> run thread(i); i++
        :: else -> break
        od;
        i = 0
    }
}
