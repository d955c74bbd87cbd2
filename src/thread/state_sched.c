/* SPDX-License-Identifier: MIT */
/*
 * The capsule of scheduling: policy and its parameters (priority; runtime, deadline and period; the slice of fair
 * policies where the kernel has one), and the nice value. Utilization clamps and reset-on-fork stay the thread's own.
 *
 * Two parts, applied one by one, so that a refusal of one leaves the other: the policy through sched_setattr(), called
 * directly as C libraries lack it, and the nice value through setpriority(), which on Linux speaks of one thread.
 * sched_getattr() does not tell the nice value of a thread with a real-time policy; it has one all the same.
 *
 * Going down is always allowed and coming back up often is not: a thread without rights may make itself nice, and stay
 * so for ever. So what this thread could not undo is not done. Resource limits tell whether it could, and where they
 * do not, an attempt to go one step up from here: it is allowed only to those who may also come back to here, and is
 * taken back at once.
 *
 * What is as it should be is not set: even the same parameters again would move a real-time thread behind its equals.
 *
 * glibc's pthread_getschedparam() remembers what it once saw, so it does not always show what is applied here;
 * sched_getscheduler() and sched_getattr() do.
 */
#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <xctx/thread.h>

#include "state.h"

enum {
    POLICY_DEADLINE = 6,
    FLAG_RESET_ON_FORK = 1,
    FLAGS_OF_POLICY = 2 | 4, /* reclaim, overrun signal: parameters of the deadline policy */
    NICE_LEAST = -20,
    NICE_MOST = 19,
};

/* struct sched_attr in its first version, which has no utilization clamps. Headers that define it clash. */
struct attributes {
    uint32_t size;
    uint32_t policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime;
    uint64_t deadline;
    uint64_t period;
};
_Static_assert(sizeof(struct attributes) == 48, "the size of the kernel's SCHED_ATTR_SIZE_VER0");

struct sched {
    struct state state;
    struct attributes attributes;
};

static int attributes_read(struct attributes *ret)
{
    memset(ret, 0, sizeof(*ret));
    if (syscall(SYS_sched_getattr, 0, ret, sizeof(*ret), 0) != 0)
        return -1;
    ret->size = sizeof(*ret);
    errno = 0;
    ret->nice = getpriority(PRIO_PROCESS, 0);
    return errno == 0 ? 0 : -1;
}

static bool attributes_set(const struct attributes *attributes)
{
    return syscall(SYS_sched_setattr, 0, attributes, 0) == 0;
}

static bool is_real_time(const struct attributes *a)
{
    return a->policy == SCHED_FIFO || a->policy == SCHED_RR;
}

static bool policy_same(const struct attributes *a, const struct attributes *b)
{
    return a->policy == b->policy && a->priority == b->priority && a->runtime == b->runtime &&
           a->deadline == b->deadline && a->period == b->period &&
           (a->flags & FLAGS_OF_POLICY) == (b->flags & FLAGS_OF_POLICY);
}

static bool limit_allows(int resource, rlim_t needed)
{
    struct rlimit limit;
    return getrlimit(resource, &limit) == 0 && (limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= needed);
}

/* Whether this thread, made nicer than `nice`, could come back to that. It has that nice value now. */
static bool nice_can_return(int nice)
{
    if (limit_allows(RLIMIT_NICE, (rlim_t)(20 - nice)))
        return true;
    if (nice == NICE_LEAST || setpriority(PRIO_PROCESS, 0, nice - 1) != 0)
        return false;
    setpriority(PRIO_PROCESS, 0, nice);
    return true;
}

/* Whether this thread, which has `own`, could come back to it from the policy of `want`. */
static bool policy_can_return(const struct attributes *own, const struct attributes *want)
{
    if (own->policy == POLICY_DEADLINE)
        return attributes_set(own); /* needs the right to it even where it changes nothing */
    if (!is_real_time(own))
        return want->policy != SCHED_IDLE || own->policy == SCHED_IDLE || nice_can_return(own->nice);
    if (limit_allows(RLIMIT_RTPRIO, own->priority))
        return true;
    struct attributes higher = *own;
    higher.priority++;
    if ((int)higher.priority > sched_get_priority_max((int)own->policy) || !attributes_set(&higher))
        return false;
    attributes_set(own);
    return true;
}

/* The policy of `want` with everything else as the thread has it. */
static struct attributes policy_of(const struct attributes *want, const struct attributes *own)
{
    struct attributes mixed = *want;
    mixed.size = sizeof(mixed);
    mixed.flags = (want->flags & FLAGS_OF_POLICY) | (own->flags & FLAG_RESET_ON_FORK);
    mixed.nice = own->nice;
    return mixed;
}

static void *sched_capture(void)
{
    int error = errno;
    struct sched *sched = xctx__state_allocate(sizeof(*sched));

    if (!sched) {
        sched = XCTX_RESERVED_VALUE;
    } else if (attributes_read(&sched->attributes) != 0) {
        xctx__free(sched);
        sched = NULL;
    }
    errno = error;
    return sched;
}

static void *sched_enter(void *value)
{
    struct sched *sched = value;

    if (!sched)
        return NULL;
    struct sched *old = xctx__state_captured(sched_capture());
    if (!old)
        return NULL;
    int error = errno;
    const struct attributes *own = &old->attributes;
    const struct attributes *want = &sched->attributes;
    if (!policy_same(own, want) && policy_can_return(own, want)) {
        struct attributes policy = policy_of(want, own);
        attributes_set(&policy);
    }
    if (want->nice < own->nice || (want->nice > own->nice && nice_can_return(own->nice)))
        setpriority(PRIO_PROCESS, 0, want->nice);
    errno = error;
    return old;
}

static void sched_leave(void *saved)
{
    struct sched *old = saved;
    struct attributes now;
    int error = errno;

    if (!old)
        return;
    const struct attributes *want = &old->attributes;
    if (attributes_read(&now) == 0) {
        /* The work may have set reset-on-fork, which only the privileged can clear: then the rest is restored. */
        struct attributes policy = policy_of(want, want);
        struct attributes without = policy_of(want, &now);
        policy.nice = now.nice;
        if ((!policy_same(&now, want) || policy.flags != without.flags) && !attributes_set(&policy))
            attributes_set(&without);
        if (now.nice != want->nice)
            setpriority(PRIO_PROCESS, 0, want->nice);
    }
    errno = error;
    xctx__free(old);
}

static int sched_format(void *value, char *buffer, size_t size)
{
    static const char *const policies[] = {"other", "fifo", "rr", "batch", "iso", "idle", "deadline", "ext"};
    const struct sched *sched = value;
    struct text text = {buffer, size, 0};

    if (!sched)
        return xctx__text_finish(&text);
    const struct attributes *attributes = &sched->attributes;
    if (attributes->policy < sizeof(policies) / sizeof(policies[0]))
        xctx__text_add(&text, policies[attributes->policy]);
    else
        xctx__text_add_number(&text, attributes->policy);
    if (is_real_time(attributes)) {
        xctx__text_add(&text, " ");
        xctx__text_add_number(&text, attributes->priority);
    }
    if (attributes->policy == POLICY_DEADLINE) {
        xctx__text_add(&text, " ");
        xctx__text_add_number(&text, (long long)attributes->runtime);
        xctx__text_add(&text, "/");
        xctx__text_add_number(&text, (long long)attributes->deadline);
        xctx__text_add(&text, "/");
        xctx__text_add_number(&text, (long long)attributes->period);
        xctx__text_add(&text, " ns");
    }
    xctx__text_add(&text, ", nice ");
    xctx__text_add_number(&text, attributes->nice);
    return xctx__text_finish(&text);
}

/* The kernel's structure, which is the same on all processors that xctx runs on. */
static int sched_encode(void *value, void *buffer, size_t size)
{
    const struct sched *sched = value;
    struct text text = {buffer, size, 0};

    if (!sched)
        return -EINVAL;
    xctx__text_add_bytes(&text, &sched->attributes, sizeof(sched->attributes));
    return (int)text.length;
}

/* What the kernel would refuse it refuses on enter; only the nice value it would silently bend. */
static int sched_decode(const void *data, size_t size, void **ret_value)
{
    struct attributes attributes;

    if (size != sizeof(attributes))
        return -EINVAL;
    memcpy(&attributes, data, sizeof(attributes));
    if (attributes.size != sizeof(attributes) || attributes.nice < NICE_LEAST || attributes.nice > NICE_MOST)
        return -EINVAL;
    struct sched *sched = xctx__state_allocate(sizeof(*sched));
    if (!sched)
        return -ENOMEM;
    sched->attributes = attributes;
    *ret_value = sched;
    return 0;
}

XCTX_VAR_DEFINE(xctx_state_sched, .retain = xctx__state_retain, .release = xctx__state_release,
                .capture = sched_capture, .enter = sched_enter, .leave = sched_leave, .format = sched_format,
                .encode = sched_encode, .decode = sched_decode);
