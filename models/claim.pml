/* SPDX-License-Identifier: MIT */
/*
 * The claim of one context (src/context/claim.h), with the store buffers of the processor.
 *
 * THREADS threads each have a reference to one context and do what they like with it: enter, change, copy, leave, give
 * their reference back (also while they have it entered) and take a new one. BUDGET bounds how often they enter,
 * change, copy and take references, all together.
 *
 * Memory is that of x86 (total store order): a store goes to the end of its thread's buffer, of DEPTH entries, and from
 * there to memory at some later time, which the process `drain` decides; a load looks into the own buffer first; an
 * atomic read-modify-write waits until the own buffer is empty. membarrier() waits until the other thread's is.
 * With WEAK, stores leave the buffer in any order that memory_order_release and their places allow.
 *
 * With HOOKS a context can have `leave` operations to call, and these may leave it themselves.
 *
 * DATA stands for all that changes under the claim (root, lets, bits, extra): a bit that each change turns over. `data`
 * is what it should be. Whoever looks must find that, so nobody may change it at the same time or have done so unseen.
 *
 * Checked: the assertions below, and that no thread waits for ever (pan: invalid end state).
 */
#ifndef THREADS
#define THREADS 2
#endif
#ifndef BUDGET
#define BUDGET 2
#endif
#ifndef DEPTH
#define DEPTH 3
#endif

#define NOBODY THREADS

/* enum claim_tag. A claim is a tag and a thread. */
#define FREE 0
#define KEPT 1
#define HELD 2
#define SHARED 3
#define LOCKED 4
#define OF(tag, thread) ((tag) * 4 + (thread))
#define TAG(claim) ((claim) / 4)
#define WHO(claim) ((claim) % 4)
#define ENTERED(claim) (TAG(claim) == HELD || TAG(claim) == SHARED)

/* Places in memory: the fields of the context, then the window of each thread's record: whether it is open. */
#define CLAIM 0
#define REFS 1
#define USED 2
#define LAST 3 /* CONTEXT_LAST */
#define DATA 4
#define WINDOW 5

byte memory[WINDOW + THREADS];
byte buffered[THREADS];           /* how many stores the buffer has, the oldest first */
byte place[THREADS * DEPTH];
byte word[THREADS * DEPTH];
#ifdef WEAK
bool release[THREADS * DEPTH];
#endif

/* What is so, whatever the memory says. */
bool alive = true;                /* the context was not destroyed */
byte entered = NOBODY;
bool was_entered;
bool data;                        /* what DATA was set to last */
byte left = BUDGET;
byte finished;

/* ---- memory ---- */

/* A load and a store, to be put into d_step: of a field of the context. */
inline get(from, to)
{
    assert(alive);
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

/* With memory_order_relaxed, and with memory_order_release. */
inline store(where, what)
{
    d_step { ROOM -> assert((where) >= WINDOW || alive); put(where, what, false) }
}

inline store_release(where, what)
{
    d_step { ROOM -> assert((where) >= WINDOW || alive); put(where, what, true) }
}

/* Compare-and-swap. */
inline swap(where, from, to)
{
    d_step {
        buffered[me] == 0 ->
        assert(alive);
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
        /* Any store may overtake those before it, but for those to the same place, and if it is no release. */
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
            /* A store to a context that another thread destroyed would be one to freed memory. */
            assert(place[me * DEPTH + next] >= WINDOW || alive);
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

/* ---- the claim ---- */

#ifdef NO_WINDOW
#define window_open() skip
#else
#define window_open() store(WINDOW + me, 1)
#endif
#ifdef CLOSE_RELAXED
#define window_close() store(WINDOW + me, 0)
#else
#define window_close() store_release(WINDOW + me, 0)
#endif

/* What a thread does that may change the context. */
inline change_data()
{
    d_step { ROOM -> get(DATA, value); assert(value == data); put(DATA, !data, false); data = !data; value = 0 }
}

/* What a thread does that may only look. */
inline read_data()
{
    d_step { get(DATA, value); assert(value == data); value = 0 }
}

/* xctx__claim_lock(), with revoke(): `claim` gets what it returns. */
inline lock()
{
    do
    :: load(CLAIM, claim);
        if
        :: TAG(claim) == LOCKED -> TAG(memory[CLAIM]) != LOCKED /* xctx__claim_wait() */
        :: else ->
            swap(CLAIM, claim, OF(LOCKED, me));
            if
            :: !swapped
            :: swapped && (TAG(claim) == FREE || TAG(claim) == SHARED || WHO(claim) == me) -> break
            :: else ->
#ifndef NO_BARRIER
                buffered[WHO(claim)] == 0;
#endif
#ifndef NO_WINDOW_WAIT
                memory[WINDOW + WHO(claim)] == 0;
#endif
                load(CLAIM, value);
#ifdef NO_RECHECK
                value = OF(LOCKED, me);
#endif
                if
                :: d_step { value == OF(LOCKED, me) -> value = 0;
                            claim = (TAG(claim) == KEPT -> OF(FREE, WHO(claim)) : OF(SHARED, WHO(claim))) };
                    change_data(); /* bits */
                    break
                :: d_step { else -> value = 0 }
                fi
            fi
        fi
    od;
    swapped = false
}

inline unlock(to)
{
#ifdef UNLOCK_RELAXED
    store(CLAIM, to)
#else
    store_release(CLAIM, to)
#endif
}

/* HELD or SHARED: the heuristics of xctx__claim_unlock_entered() are left open. */
inline unlock_entered()
{
    if
    :: unlock(OF(HELD, me))
    :: unlock(OF(SHARED, me))
    fi
}

/* xctx__claim_exit(). KEPT or FREE: as above. */
inline claim_exit()
{
    if
    :: store_release(CLAIM, OF(KEPT, me))
    :: store_release(CLAIM, OF(FREE, me))
    fi
}

inline now_entered()
{
    d_step { assert(entered == NOBODY); entered = me; was_entered = true; in = true }
}

inline now_left()
{
    d_step { assert(entered == me); entered = NOBODY; in = false }
}

inline set_used()
{
#ifndef USED_NOT_SET
    store(USED, 1)
#else
    skip
#endif
}

/* ---- what threads do ---- */

/* xctx_enter(), and xctx__claim_enter() where the claim is not kept. */
inline enter()
{
    window_open();
    load(CLAIM, claim);
    if
    :: claim == OF(KEPT, me) ->
        set_used();
        atomic { store(CLAIM, OF(HELD, me)); now_entered() };
        window_close()
    :: else ->
        window_close();
        do
        :: load(CLAIM, claim);
            if
            :: ENTERED(claim) -> /* -EBUSY */
                assert(was_entered);
                break
            :: TAG(claim) == FREE ->
                window_open();
                atomic {
                    swap(CLAIM, claim, OF(HELD, me));
                    if
                    :: swapped -> now_entered()
                    :: else
                    fi
                };
                if
                :: swapped ->
                    change_data(); /* bits: note_entering() */
                    set_used();
                    swapped = false;
                    window_close();
                    break
                :: else -> window_close()
                fi
            :: else ->
                lock();
                if
                :: ENTERED(claim) -> /* -EBUSY */
                    assert(entered == WHO(claim));
#ifndef BUSY_WITHOUT_UNLOCK
                    unlock(claim);
#endif
                    break
                :: else ->
                    change_data(); /* bits */
                    set_used();
                    now_entered();
                    unlock(OF(HELD, me));
                    break
                fi
            fi
        od
    fi;
    claim = 0
}

/* Any change of the current context: begin_change() and end_change(). */
inline change()
{
    window_open();
    load(CLAIM, claim);
    if
    :: claim == OF(HELD, me) ->
        read_data();
        change_data();
        window_close()
    :: else ->
        window_close();
        lock();
        assert(ENTERED(claim) && WHO(claim) == me);
        claim = 0;
        read_data();
        change_data();
        unlock_entered()
    fi;
    claim = 0
}

/* xctx_copy() of a context that is not the current one, or xctx_lookup(). */
inline copy()
{
    lock();
    read_data();
    read_data();
    unlock(claim);
    claim = 0
}

/* The memory is reused only after all stores of this thread went out: allocators lock. */
inline destroy()
{
    read_data();
    d_step { buffered[me] == 0 -> assert(alive && entered == NOBODY); alive = false }
}

/* xctx_exit(). */
inline exit()
{
#ifdef HOOKS
    if
    :: skip /* there is nothing to undo */
    :: true ->
        /* exit_slowly(): CONTEXT_APPLIED. It has a reference meanwhile. */
        lock();
        store(LAST, false);
#ifndef HOOKS_WITHOUT_REF
        d_step { buffered[me] == 0 -> assert(alive); memory[REFS]++ };
#endif
        unlock(claim);
        claim = 0;
        /* xctx__hooks_undo(), in which the operation may leave the context itself. */
        if
        :: undoing = true
        :: atomic { slow = true; undone = true }
        fi
    fi;
#endif
    if
    :: slow
    :: else ->
        window_open();
        load(CLAIM, claim);
        if
        :: claim == OF(HELD, me) ->
            claim = 0;
            load(LAST, value);
            if
            :: value -> value = 0; slow = true; window_close()
            :: else ->
                now_left();
#ifdef EXIT_AFTER_WINDOW
                window_close();
                claim_exit()
#else
                claim_exit();
                window_close()
#endif
            fi
        :: else -> claim = 0; slow = true; window_close()
        fi
    fi;
    if
    :: slow ->
        /* exit_slowly() */
        slow = false;
        lock();
        assert(ENTERED(claim) && WHO(claim) == me);
        claim = 0;
        store(LAST, false);
#ifndef HOOKS_WITHOUT_REF
        if
        :: undone -> undone = false; d_step { buffered[me] == 0 -> assert(alive); memory[REFS]-- }
        :: else
        fi;
#endif
        now_left();
        load(REFS, value);
        if
#ifndef NO_ORPHANS
        :: value == 0 -> destroy()
#endif
        :: else -> value = 0; claim_exit()
        fi
    :: else
    fi;
    if
    :: undoing ->
        undoing = false;
        assert(alive); /* xctx__hooks_undo() goes on */
#ifndef HOOKS_WITHOUT_REF
        has++
#endif
    :: else
    fi
}

/* xctx_unref(). */
inline unref()
{
    has--;
    load(REFS, refs);
    if
    :: refs == 1 ->
        load(CLAIM, claim);
        load(USED, value);
        if
        :: claim == OF(KEPT, me) || !value -> value = 0; destroy(); done = true
        :: else -> value = 0
        fi
    :: else
    fi;
    claim = 0;
    if
    :: done
    :: else ->
        load(REFS, refs);
        do
        :: refs > 1 ->
            swap(REFS, refs, refs - 1);
            if
            :: swapped -> swapped = false; done = true; break
            :: else -> load(REFS, refs)
            fi
        :: else -> break
        od;
        if
        :: done
        :: else ->
#ifdef UNREF_WITHOUT_LOCK
            d_step { buffered[me] == 0 -> assert(alive); refs = memory[REFS]; memory[REFS]-- };
            load(CLAIM, claim);
            if
            :: refs == 1 && (TAG(claim) == FREE || TAG(claim) == KEPT) -> destroy()
            :: else
            fi
#else
            lock();
            d_step { buffered[me] == 0 -> assert(alive); refs = memory[REFS]; memory[REFS]-- };
            if
            :: refs == 1 && ENTERED(claim) ->
#ifndef LAST_NOT_SET
                store(LAST, true);
#endif
                unlock(claim)
            :: refs != 1 -> unlock(claim)
            :: else -> destroy()
            fi
#endif
        fi
    fi;
    d_step { claim = 0; refs = 0; done = false }
}

/* xctx_ref(), by who has the context entered and no reference: the ways to get one otherwise change nothing here. */
inline ref()
{
    d_step { buffered[me] == 0 -> assert(alive); memory[REFS]++; has = 1 }
}

proctype thread(byte me)
{
    byte has = 1; /* references */
    bool in;
    byte claim, value, refs, i;
    bool swapped, slow, undoing, undone, done;

    do
    :: atomic { left > 0 && has && !in -> left--};
        enter()
    :: atomic { left > 0 && in -> left--};
        change()
    :: atomic { left > 0 && (has || in) -> left--};
        copy()
    :: atomic { left > 0 && in && !has -> left--};
        ref()
    :: in -> exit()
    :: has -> unref()
    :: atomic { !in && !has -> finished++ };
#ifndef IMMORTAL
        assert(finished < THREADS || !alive); /* nobody has a reference */
#endif
        break
    od
}

init
{
    byte i;

    atomic {
        memory[REFS] = THREADS;
#ifdef IMMORTAL
        /* Somebody else has a reference all the time: a fault has to show in other ways than a wrong end. */
        memory[REFS]++;
#endif
        /* The first thread made it; whether it keeps its claim depends on what became of those before. */
        if
        :: memory[CLAIM] = OF(KEPT, 0)
        :: memory[CLAIM] = OF(FREE, 0)
        fi;
        do
        :: i < THREADS -> run thread(i); run drain(i); i++
        :: else -> break
        od;
        i = 0
    }
}
