/* SPDX-License-Identifier: MIT */
/*
 * Asking threads for snapshots (src/capture/ask.c).
 *
 * ASKERS threads ask, all together BUDGET times, any of TARGETS threads, through SLOTS slots. Signals to a thread are a
 * queue. A thread that is asked handles signals when it likes, and can end, in the handler too, whereupon its signals
 * are gone; another one can then get its number, but not if it ended in the handler. An asker whose thread does not
 * answer gives up as long as TIMEOUTS last; from then on it waits, so that a request which nobody will answer is an
 * invalid end state.
 *
 * Each request has a snapshot of its own: `live` from reserving to freeing; `filled` says of which thread it is;
 * `writing` that a handler is at it.
 *
 * Checked: a handler writes to a live snapshot only, and nobody frees one meanwhile; each is freed once; who gets an
 * answer has a snapshot of the thread that was asked, not of one that had its number before; in the end all are freed
 * but those that wait in a slot, or were lost with a thread that ended in the handler.
 */
#ifndef ASKERS
#define ASKERS 2
#endif
#ifndef TARGETS
#define TARGETS 1
#endif
#ifndef SLOTS
#define SLOTS 1
#endif
#ifndef BUDGET
#define BUDGET 3
#endif
#ifndef TIMEOUTS
#define TIMEOUTS 2
#endif
#ifndef ENDS
#define ENDS 1
#endif
#define QUEUE 4
#define NOBODY 255

mtype = { FREE, CLAIMED, ASKED, TAKING, TAKEN, ABANDONED, MISSED, ORPHANED, LEFT };

/* struct slot */
mtype state[SLOTS] = FREE;
byte generation[SLOTS];
byte tid[SLOTS];
byte snapshot[SLOTS];

/* Signals under way: slot and generation. */
chan signals[TARGETS] = [QUEUE] of { byte, byte };
bool alive[TARGETS] = true;

/* What is so. */
bool live[BUDGET];
bool lost[BUDGET];
byte filled[BUDGET] = NOBODY; /* the life of the thread, see `life` */
bool writing[BUDGET];
byte life[TARGETS]; /* counts up when another thread gets the number */

byte requests;
byte timeouts = TIMEOUTS;
byte ends = ENDS;
byte askers_done;

#define LIFE(t) (life[t] * TARGETS + t)

inline free_snapshot(which)
{
    d_step { assert(live[which] && !writing[which]); live[which] = false }
}

/* answer() */
proctype target(byte me)
{
    byte s, g, mine;
    bool hit, within;

    do
    :: signals[me] ? s, g ->
        if
        :: tid[s] != me
        :: else ->
            /* change(ASKED, TAKING) */
            d_step {
#ifdef NO_GENERATION
                hit = state[s] == ASKED;
#else
                hit = state[s] == ASKED && generation[s] == g;
#endif
                if
                :: hit -> state[s] = TAKING; g = generation[s]
                :: else
                fi
            };
            if
            :: hit ->
                d_step { mine = snapshot[s]; assert(live[mine]); writing[mine] = true };
                if
                :: d_step { assert(live[mine]); filled[mine] = LIFE(me); writing[mine] = false };
                    d_step {
                        hit = state[s] == TAKING && generation[s] == g;
                        if
                        :: hit -> state[s] = TAKEN
                        :: else
                        fi
                    };
                    if
                    :: hit
                    :: else ->
                        d_step {
                            if
                            :: state[s] == ORPHANED && generation[s] == g -> state[s] = LEFT
                            :: else
                            fi
                        }
                    fi
                :: d_step { /* cancelled within the handler */
                        ends > 0 -> ends--;
                        writing[mine] = false; lost[mine] = true; alive[me] = false; within = true
                    }
                fi
            :: else ->
                d_step {
                    hit = state[s] == ABANDONED && generation[s] == g;
                    if
                    :: hit -> state[s] = FREE
                    :: else
                    fi
                };
                if
                :: hit
                :: else ->
#ifndef NO_MISSED
                    d_step {
                        if
                        :: state[s] == CLAIMED && generation[s] == g -> state[s] = MISSED
                        :: else
                        fi
                    }
#else
                    skip
#endif
                fi
            fi
        fi;
        d_step { s = 0; g = 0; mine = 0; hit = false };
        if
        :: !alive[me] -> goto dead
        :: else
        fi
    :: d_step { ends > 0 -> ends--; alive[me] = false } -> goto dead
    :: askers_done == ASKERS && empty(signals[me]) -> break
    od;
    goto out;
dead:
    atomic {
        skip; /* where the jumps lead */
        do
        :: nempty(signals[me]) -> signals[me] ? _, _
        :: empty(signals[me]) -> break
        od
    };
    if
    :: atomic { life[me] == 0 && !within -> life[me]++; alive[me] = true; run target(me) } /* another thread with this number */
    :: true
    fi;
out:
    skip
}

/* xctx__ask_post(): s is the slot; sent says whether the asking is ASKED. */
inline post()
{
    pending = nempty(signals[t]);
    if
    :: !alive[t]
    :: else ->
        /* find_pending() */
        s = 0;
        do
        :: s < SLOTS && pending ->
            d_step {
                hit = state[s] == ABANDONED && tid[s] == t;
                if
                :: hit -> state[s] = CLAIMED
                :: else
                fi
            };
            if
            :: hit -> revived = true; break
            :: else -> s++
            fi
        :: else -> break
        od;
        /* find_slot() */
        if
        :: revived
        :: else ->
            s = 0;
            do
            :: s < SLOTS ->
                d_step { seen = state[s]; g = generation[s]; whose = tid[s] };
                if
                :: seen == FREE || seen == LEFT || (seen == ABANDONED && whose == t && !pending) ||
                       ((seen == ABANDONED || seen == ORPHANED) && !alive[whose]) ->
                    d_step {
                        hit = state[s] == seen && generation[s] == g;
                        if
                        :: hit ->
                            state[s] = CLAIMED;
#ifndef NO_GENERATION
                            generation[s]++
#endif
                        :: else
                        fi
                    };
                    if
                    :: hit && seen == LEFT ->
#ifndef NO_LEFT
                        free_snapshot(snapshot[s]);
#endif
                        break
                    :: hit && seen != LEFT -> break
                    :: else -> s++
                    fi
                :: else -> s++
                fi
            :: else -> break
            od
        fi;
        if
        :: !hit /* no slot */
        :: else ->
            d_step { g = generation[s]; snapshot[s] = mine; tid[s] = t };
            hit = false;
            if
            :: revived ->
#ifdef ASK_BLINDLY
                d_step { state[s] = ASKED; hit = true }
#else
                d_step {
                    hit = state[s] == CLAIMED;
                    if
                    :: hit -> state[s] = ASKED
                    :: else
                    fi
                }
#endif
            :: else
            fi;
            if
            :: hit -> sent = true
            :: else ->
                state[s] = ASKED;
                /* send_signal() */
                atomic {
                    if
                    :: alive[t] -> signals[t] ! s, g; sent = true
                    :: else
                    fi
                };
                if
                :: sent
                :: else -> state[s] = FREE
                fi
            fi
        fi
    fi
}

/* xctx__ask_give_up() */
inline give_up()
{
#ifdef ABANDON_BLINDLY
    d_step { hit = state[s] == ASKED || state[s] == TAKING; if :: hit -> state[s] = ABANDONED :: else fi };
#else
    d_step { hit = state[s] == ASKED; if :: hit -> state[s] = ABANDONED :: else fi };
#endif
    if
    :: hit
    :: else ->
        d_step { hit = state[s] == TAKING; if :: hit -> state[s] = ORPHANED :: else fi };
        if
        :: hit ->
#ifdef FREE_ORPHANED
            free_snapshot(mine);
#endif
            owned = false
        :: else ->
            assert(state[s] == TAKEN && generation[s] == g);
            state[s] = FREE;
            assert(filled[mine] == wanted || filled[mine] == wanted + TARGETS)
        fi
    fi
}

proctype asker()
{
    byte mine, t, s, g, whose, wanted;
    mtype seen;
    bool pending, hit, revived, sent, owned;

    do
    :: d_step { requests < BUDGET -> mine = requests; requests++; live[mine] = true; owned = true };
        if
        :: t = 0
        :: t = TARGETS - 1
        fi;
        wanted = LIFE(t);
        post();
        if
        :: !sent
        :: else ->
            do
#ifndef NO_REMINDER
            :: atomic { /* xctx__ask_remind() */
                    alive[t] && empty(signals[t]) && state[s] == ASKED -> signals[t] ! s, g
                }
#endif
            :: d_step { state[s] == TAKEN -> assert(generation[s] == g); state[s] = FREE };
                assert(filled[mine] == wanted || filled[mine] == wanted + TARGETS);
                break
            :: !alive[t] -> give_up(); break
            :: d_step { timeouts > 0 -> timeouts-- } -> give_up(); break
            od
        fi;
        if
        :: owned -> free_snapshot(mine)
        :: else
        fi;
        d_step {
            mine = 0; t = 0; s = 0; g = 0; whose = 0; wanted = 0; seen = 0; pending = false; hit = false; revived = false;
            sent = false; owned = false
        }
    :: requests == BUDGET -> break
    od;
    askers_done++
}

init
{
    byte i;

    atomic {
        do
        :: i < TARGETS -> run target(i); i++
        :: else -> break
        od;
        i = 0;
        do
        :: i < ASKERS -> run asker(); i++
        :: else -> break
        od
    };
    /* Others have ended when only this process is left. */
    _nr_pr == 1;
    i = 0;
    do
    :: i < BUDGET ->
        assert(!live[i] || lost[i] || state[0] == LEFT || state[SLOTS - 1] == LEFT);
        i++
    :: else -> break
    od
}
