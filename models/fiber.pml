/* SPDX-License-Identifier: MIT */
/*
 * Who runs a fiber, and which of those that share a stack (src/fiber/fiber_internal.h), with the store buffers of the
 * processor.
 *
 * There is one stack. Fiber 0 was made with it; all THREADS threads have references to it, resume it, let it yield and
 * end, and give the references back. One of them may capture it at some time, which makes SHOTS shots: from then on these
 * fibers take turns. While one runs, its thread may give references to others back, or look at their bytes, as capturing
 * them does. BUDGET bounds how often threads resume and look, all together.
 *
 * Memory is that of x86, or with WEAK a weaker one, as in claim.pml.
 *
 * A fiber's bytes are a number: which fiber, and a bit that it turns over each time it runs (`truth`). They are on the
 * stack, in memory of the fiber's own, or in the copy. Whoever runs or copies a fiber must find the right ones, so nobody
 * may run on the stack, or copy to or from it, at the same time, or have done so unseen.
 *
 * Checked: the assertions below, and that no thread waits for ever (pan: invalid end state): no turn is lost.
 */
#ifndef THREADS
#define THREADS 2
#endif
#ifndef SHOTS
#define SHOTS 1 /* or 2 */
#endif
#ifndef BUDGET
#define BUDGET 3
#endif
#ifndef DEPTH
#define DEPTH 2
#endif

#define FIBERS (SHOTS + 1)
#define NONE FIBERS /* no fiber */
#define NOBODY THREADS

/* The tags of offsets.h. A state is a tag and a thread. */
#define FREE 0
#define KEPT 1
#define RUNNING 2
#define DONE 3
#define CREATED 4
#define OWN 5
#define SHARED 6
#define LOCKED 7
#define OF(tag, thread) ((tag) * 4 + (thread))
#define TAG(state) ((state) / 4)
#define WHO(state) ((state) % 4)
#define HELD(state) (TAG(state) == RUNNING || TAG(state) == LOCKED)

/* enum fiber_place */
#define IN_COPY 0
#define PARKED 1
#define ON_STACK 2

/* Places in memory: the stack's, four of each fiber, the windows: which word is in them. */
#define TURN 0 /* struct turns: state */
#define RESIDENT 1
#define STACK 2
#define COPY 3
#define STATE(fiber) (4 + 4 * (fiber))
#define PLACE(fiber) (5 + 4 * (fiber))
#define MEMORY(fiber) (6 + 4 * (fiber))
#define REFS(fiber) (7 + 4 * (fiber))
#define WINDOW (4 + 4 * FIBERS)
#define BYTES(fiber) ((fiber) * 2 + truth[fiber])

/* The windows' words; 0: none. */
#define STATE_WORD 1
#define TURN_WORD 2

byte memory[WINDOW + THREADS];
byte buffered[THREADS]; /* how many stores the buffer has, the oldest first */
byte place[THREADS * DEPTH];
byte word[THREADS * DEPTH];
#ifdef WEAK
bool release[THREADS * DEPTH];
#endif

/* What is so, whatever the memory says. */
bool alive[FIBERS];  /* was made, and not freed; the first is the stack and all that goes with it */
bool truth[FIBERS];
bool began[FIBERS];  /* ran since it was made */
bool ended[FIBERS];
bool over[THREADS];
bool has[THREADS * FIBERS]; /* which thread has a reference to which fiber */
byte users = 1;      /* turns->users: atomic, and nobody looks at it otherwise */
byte runner = NOBODY;
byte runs = NONE;
bool captured;
byte left = BUDGET;
byte finished;

#define LIVES(at) \
    ((at) >= WINDOW || ((at) < 4 && alive[0]) || ((at) >= 4 && (at) < WINDOW && alive[((at) - 4) / 4]))

/* ---- memory: as in claim.pml ---- */

inline get(from, to)
{
    assert(LIVES(from));
    to = memory[from];
    i = 0;
    do
    :: i < buffered[me] ->
        if
        :: place[me * DEPTH + i] == (from) -> to = word[me * DEPTH + i]
        :: else
        fi;
        i++
    :: else -> break
    od;
    i = 0
}

inline put(where, what, last)
{
    place[me * DEPTH + buffered[me]] = where;
    word[me * DEPTH + buffered[me]] = what;
#ifdef WEAK
    release[me * DEPTH + buffered[me]] = last;
#endif
    buffered[me]++
}

#define ROOM (buffered[me] < DEPTH)

inline load(from, to)
{
    d_step { get(from, to) }
}

inline store(where, what)
{
    d_step { ROOM -> assert(LIVES(where)); put(where, what, false) }
}

inline store_release(where, what)
{
    d_step { ROOM -> assert(LIVES(where)); put(where, what, true) }
}

inline swap(where, from, to)
{
    d_step {
        buffered[me] == 0 ->
        assert(LIVES(where));
        swapped = memory[where] == (from);
        if
        :: swapped -> memory[where] = to
        :: else
        fi
    }
}

proctype drain(byte me)
{
    byte i, next;
end:
    do
    :: atomic {
        buffered[me] > 0 ->
#ifdef WEAK
        do
        :: next + 1 < buffered[me] -> next++
        :: break
        od;
        i = 0;
        do
        :: i < next && !release[me * DEPTH + next] && place[me * DEPTH + i] != place[me * DEPTH + next] -> i++
        :: else -> break
        od;
        if
        :: i < next -> next = 0; i = 0; goto end
        :: else -> i = 0
        fi;
#endif
        d_step {
            assert(LIVES(place[me * DEPTH + next]));
            memory[place[me * DEPTH + next]] = word[me * DEPTH + next];
            buffered[me]--;
            i = next;
            do
            :: i < buffered[me] ->
                place[me * DEPTH + i] = place[me * DEPTH + i + 1];
                word[me * DEPTH + i] = word[me * DEPTH + i + 1];
#ifdef WEAK
                release[me * DEPTH + i] = release[me * DEPTH + i + 1];
#endif
                i++
            :: else -> break
            od;
            place[me * DEPTH + i] = 0;
            word[me * DEPTH + i] = 0;
#ifdef WEAK
            release[me * DEPTH + i] = false;
#endif
            next = 0;
            i = 0
        }
    }
    od
}

/* ---- words that a thread keeps ---- */

#ifdef NO_WINDOW
#define window_open(which) skip
#else
#define window_open(which) store(WINDOW + me, which)
#endif
#define window_close() store_release(WINDOW + me, 0)

/* Where a fault is put in: with IN_TURNS in revocations of the turns' lock alone. */
#ifdef IN_TURNS
#define FAULTY(which) ((which) == TURN_WORD)
#else
#define FAULTY(which) true
#endif

/* xctx__fiber_revoke(): `swapped` says whether that was it. */
inline revoke(where, from, mine, which)
{
    swap(where, from, mine);
    if
    :: swapped ->
#ifdef NO_BARRIER
        FAULTY(which) || buffered[WHO(from)] == 0;
#else
        buffered[WHO(from)] == 0;
#endif
#ifdef NO_WINDOW_WAIT
        FAULTY(which) || memory[WINDOW + WHO(from)] != which;
#else
        memory[WINDOW + WHO(from)] != which;
#endif
        load(where, value);
#ifdef NO_RECHECK
        d_step { swapped = FAULTY(which) || value == mine; value = 0 }
#else
        d_step { swapped = value == mine; value = 0 }
#endif
    :: else
    fi
}

#ifdef YIELD_RELAXED
#define store_give(where, what) store(where, what)
#else
#define store_give(where, what) store_release(where, what)
#endif

/* FREE or KEPT: whether a thread comes back is left open. */
inline give_away(where)
{
    if
    :: store_give(where, OF(FREE, me))
    :: store_give(where, OF(KEPT, me))
    fi
}

/* ---- the turns ---- */

/* try_lock() of turns.c: `locked`; else `state` is who has it. */
inline try_lock()
{
    window_open(TURN_WORD);
    load(TURN, state);
    if
    :: state == OF(KEPT, me) -> store(TURN, OF(LOCKED, me)); locked = true
    :: else
    fi;
    window_close();
    do
    :: locked -> break
    :: !locked ->
        load(TURN, state);
        if
        :: HELD(state) -> break
        :: TAG(state) == KEPT && WHO(state) != me ->
            revoke(TURN, state, OF(LOCKED, me), TURN_WORD);
            locked = swapped
        :: else ->
            swap(TURN, state, OF(LOCKED, me));
            locked = swapped
        fi;
        swapped = false
    od
}

/* Where the fiber's bytes are is read into `value`, then they are. */
inline bytes_of(fiber)
{
    load(PLACE(fiber), value);
    if
    :: value == ON_STACK -> load(STACK, value)
    :: value == PARKED -> load(MEMORY(fiber), value)
    :: else -> load(COPY, value)
    fi
}

/* A shot that did not run has the bytes of fiber 0 when it was captured. */
inline check_bytes(fiber)
{
    d_step {
        assert(value == BYTES(fiber) || (value < 2 && fiber > 0 && value == truth[fiber] && !began[fiber]));
        value = 0
    }
}

/* move_in(), with park(). `failed`: there was no memory. */
inline move_in()
{
    load(RESIDENT, resident);
    if
    :: resident == fiber
    :: else ->
        if
        :: resident == NONE
        :: resident != NONE -> failed = true
        :: resident != NONE ->
#ifdef PLACE_FIRST
            store_release(PLACE(resident), PARKED);
#endif
            load(STACK, value);
            store(MEMORY(resident), value);
            value = 0;
#ifdef PARK_RELAXED
            store(PLACE(resident), PARKED)
#elif !defined(PLACE_FIRST)
            store_release(PLACE(resident), PARKED)
#endif
        fi;
        if
        :: failed
        :: else ->
            bytes_of(fiber);
            store(STACK, value);
            value = 0;
            store(RESIDENT, fiber);
            store(PLACE(fiber), ON_STACK)
        fi
    fi;
    resident = 0
}

/* xctx__turn_take(). `taken`: it runs. */
inline turn_take()
{
    do
    :: true ->
        try_lock();
        if
        :: locked -> break
        :: else ->
            if
            :: WHO(state) == me -> break /* -EDEADLK */
            :: WHO(state) != me ->
                load(RESIDENT, resident);
                if
                :: TAG(state) == RUNNING && resident == fiber -> resident = 0; break /* -EBUSY */
                :: else -> resident = 0; !HELD(memory[TURN]) /* waits */
                fi
            fi
        fi
    od;
    if
    :: locked ->
        locked = false;
#ifdef NO_DONE_CHECK
        state = OF(SHARED, 0);
#else
        load(STATE(fiber), state);
#endif
        if
        :: TAG(state) == DONE -> give_away(TURN) /* -EINVAL */
        :: else ->
            move_in();
            if
            :: failed -> failed = false; give_away(TURN)
            :: else -> store(TURN, OF(RUNNING, me)); taken = true
            fi
        fi
    :: else
    fi
}

/* xctx__turns_forget() */
inline forget()
{
    do
    :: true ->
        load(PLACE(fiber), value);
#ifdef FORGET_BLINDLY
        value = PARKED;
#endif
        if
        :: value != ON_STACK -> break
        :: else ->
            try_lock();
            if
            :: locked || WHO(state) == me -> break
            :: else -> !HELD(memory[TURN]) || memory[PLACE(fiber)] != ON_STACK /* waits */
            fi
        fi
    od;
    value = 0;
    bytes_of(fiber);
    check_bytes(fiber);
    load(PLACE(fiber), value);
    if
#ifndef RESIDENT_NOT_CLEARED
    :: value == ON_STACK -> store(RESIDENT, NONE)
#endif
    :: else
    fi;
    value = 0;
    if
    :: locked -> locked = false; give_away(TURN)
    :: else
    fi
}

/* ---- fibers that were not captured ---- */

/* xctx_fiber_resume() in assembly, and take_own(): in the window. */
inline take_quickly(tag)
{
    window_open(STATE_WORD);
    load(STATE(0), state);
    if
    :: state == OF(tag, me) -> store(STATE(0), OF(RUNNING, me)); taken = true
    :: else
    fi;
    window_close()
}

/* xctx__fiber_take(). `taken`: it runs, or its turn is the thread's. */
inline take()
{
    if
    :: fiber == 0 ->
        take_quickly(KEPT);
        if
        :: taken
        :: else -> take_quickly(OWN)
        fi
    :: else
    fi;
    do
    :: taken -> break
    :: else ->
        load(STATE(fiber), state);
        if
        :: TAG(state) == RUNNING || TAG(state) == DONE -> break /* -EBUSY, -EDEADLK; -EINVAL */
        :: TAG(state) == SHARED -> turn_take(); break
        :: (TAG(state) == KEPT || TAG(state) == OWN) && WHO(state) != me ->
            revoke(STATE(0), state, OF(RUNNING, me), STATE_WORD);
            taken = swapped
        :: else ->
            swap(STATE(0), state, OF(RUNNING, me));
            taken = swapped
        fi;
        swapped = false
    od;
    state = 0
}

/* ---- what threads do ---- */

inline now_runs()
{
    d_step { assert(runner == NOBODY && runs == NONE && !ended[fiber] && alive[fiber]); runner = me; runs = fiber }
}

inline now_waits()
{
    d_step { assert(runner == me && runs == fiber); runner = NOBODY; runs = NONE; taken = false }
}

/* Its bytes change. Whether it has turns is known to who runs it: fiber->turn. */
inline step()
{
    now_runs();
    load(STACK, value);
    check_bytes(fiber);
    d_step { ROOM -> truth[fiber] = !truth[fiber]; began[fiber] = true; put(STACK, BYTES(fiber), false) }
}

inline yield()
{
    load(STACK, value);
    check_bytes(fiber);
    now_waits();
    load(STATE(fiber), state);
    if
    :: TAG(state) == SHARED -> state = 0; give_away(TURN)
    :: else -> state = 0; give_away(STATE(0))
    fi
}

inline finish()
{
    d_step { assert(!ended[fiber]); ended[fiber] = true };
    load(STATE(fiber), state);
    if
    :: TAG(state) == SHARED ->
        state = 0;
#ifndef RESIDENT_NOT_CLEARED
        store(RESIDENT, NONE);
#endif
        store(STATE(fiber), OF(DONE, 0));
        now_waits();
        give_away(TURN)
    :: else -> state = 0; now_waits(); store_release(STATE(0), OF(DONE, 0))
    fi
}

/* start_turns(), and copy(). The shots are handed to all threads; how they get there is not of interest. */
inline capture()
{
#ifdef CAPTURE_BLINDLY
    taken = true;
#else
    take();
#endif
    if
    :: taken ->
        load(STATE(0), state);
        assert(TAG(state) != SHARED); /* there is one capture that gives it turns */
        state = 0;
        now_runs();
        store(TURN, OF(LOCKED, me));
        store(RESIDENT, 0);
        store(PLACE(0), ON_STACK);
        store_release(STATE(0), OF(SHARED, 0));
        load(STACK, value);
        store(COPY, value);
        check_bytes(0);
        now_waits();
        d_step {
            buffered[me] == 0 ->
            i = 1;
            do
            :: i < FIBERS ->
                alive[i] = true;
                truth[i] = truth[0];
                memory[STATE(i)] = OF(SHARED, 0);
                memory[PLACE(i)] = IN_COPY;
                i++
            :: else -> break
            od;
            users = users + SHOTS;
            i = 0;
            do
            :: i < THREADS * FIBERS ->
                if
                :: i % FIBERS != 0 && !over[i / FIBERS] -> has[i] = true; memory[REFS(i % FIBERS)]++
                :: else
                fi;
                i++
            :: else -> break
            od;
            i = 0
        };
        give_away(TURN)
    :: else -> captured = false /* -EBUSY, -EINVAL */
    fi
}

/* Looks at a shared fiber's bytes, as capturing it does. */
inline look()
{
    load(STATE(fiber), state);
    if
    :: TAG(state) != SHARED
    :: else ->
        do
        :: true ->
            try_lock();
            if
            :: locked || WHO(state) == me -> break
            :: else -> !HELD(memory[TURN])
            fi
        od;
        /* Under the lock, or while the thread itself runs another one. */
        load(STATE(fiber), state);
        if
        :: TAG(state) == SHARED && runs != fiber ->
            bytes_of(fiber);
            check_bytes(fiber)
        :: else
        fi;
        if
        :: locked -> locked = false; give_away(TURN)
        :: else
        fi
    fi;
    state = 0
}

/* xctx_fiber_unref() */
inline unref()
{
    d_step {
        buffered[me] == 0 ->
        assert(LIVES(REFS(fiber)));
        has[me * FIBERS + fiber] = false;
        memory[REFS(fiber)]--;
        last = memory[REFS(fiber)] == 0
    };
    if
    :: last ->
        last = false;
        load(STATE(fiber), state);
        assert(TAG(state) != RUNNING && runs != fiber);
        if
        :: TAG(state) == SHARED -> forget()
        :: TAG(state) == FREE || TAG(state) == KEPT -> load(STACK, value); check_bytes(0)
        :: else
        fi;
        state = 0;
        /* The memory is used again only after all stores of this thread went out: allocators lock. */
        d_step {
            buffered[me] == 0 ->
            if
            :: fiber > 0 -> alive[fiber] = false
            :: else
            fi;
            users--;
            if
            :: users == 0 -> alive[0] = false
            :: else
            fi
        }
    :: else
    fi
}

/* Any fiber that the thread has a reference to. */
inline choose()
{
    fiber = 0;
    do
    :: fiber + 1 < FIBERS -> fiber++
    :: break
    od
}

#define MINE(fiber) has[me * FIBERS + fiber]

/* Between running and suspending: something to another fiber of the stack. */
inline meanwhile()
{
    d_step { ran = fiber; fiber = (fiber + 1 < FIBERS -> fiber + 1 : 0) };
    if
    :: MINE(fiber) && captured -> unref()
    :: atomic { left > 0 && MINE(fiber) && captured -> left-- }; look()
    :: true
    fi;
    fiber = ran;
    ran = 0
}

proctype thread(byte me)
{
    byte fiber, resident, ran, state, value, i;
    bool swapped, locked, taken, failed, last;

    do
    :: atomic { left > 0 -> left--; choose() };
        if
        :: MINE(fiber) ->
            take();
            if
            :: taken ->
                step();
                meanwhile();
                if
                :: yield()
                :: finish()
                fi
            :: else
            fi
        :: else
        fi;
        fiber = 0
    :: atomic { !captured && MINE(0) -> captured = true };
        capture()
    :: atomic { left > 0 && captured -> left--; choose() };
        if
        :: MINE(fiber) -> look()
        :: else
        fi;
        fiber = 0
    :: atomic { choose() };
        if
        :: MINE(fiber) -> unref()
        :: else
        fi;
        fiber = 0
    :: atomic { !MINE(0) && !MINE(1) && !MINE(FIBERS - 1) -> over[me] = true; finished++ };
        break
    od;
    /* Nothing is lost. Shots that come later are theirs who are still there. */
    assert(finished < THREADS || users == 0)
}

init
{
    byte i;

    atomic {
        alive[0] = true;
        memory[REFS(0)] = THREADS;
        memory[RESIDENT] = NONE;
        if
        :: memory[STATE(0)] = OF(OWN, 0)
        :: memory[STATE(0)] = OF(CREATED, 0)
        fi;
        do
        :: i < THREADS -> has[i * FIBERS] = true; run thread(i); run drain(i); i++
        :: else -> break
        od;
        i = 0
    }
}
