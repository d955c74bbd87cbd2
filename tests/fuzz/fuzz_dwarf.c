/* SPDX-License-Identifier: MIT */
/*
 * Fuzzes reports by damaged debug information: a file of subject.h is changed as the input says, and a snapshot of the
 * undamaged one is decoded by it, as if it came from a core file.
 *
 * Input: which subject; options; how the registers are made up; then what is replaced (subject.h).
 */
#include <xctx/inspect.h>

#include "capture/snapshot_internal.h"
#include "subject.h"

enum {
    OPTION_GLOBALS = 1,
    OPTION_CORE = 2,        /* write it as a core file, too: looks for secrets */
    OPTION_REGISTERS = 4,   /* all registers are known */
    OPTION_INTERRUPTED = 8, /* the first address is where the thread was */
    OPTION_NO_DATA = 16,    /* the file has no writable data */
    OPTION_HEADERS = 32,    /* and the program headers */
};

static int memory = -1; /* the damaged file */
static char memory_path[64];
static FILE *nowhere;

static void start(void)
{
    if (nowhere)
        return;
    memory = memfd_create("subject", MFD_CLOEXEC);
    /* To look at what comes out. */
    const char *output = getenv("XCTX_FUZZ_OUTPUT");
    nowhere = fopen(output ? output : "/dev/null", "w");
    EXPECT(memory >= 0 && nowhere);
    snprintf(memory_path, sizeof(memory_path), "/proc/self/fd/%d", memory);
    subject_load_all();
}

static void core_destroy(struct core_file *file)
{
    free(file->ranges);
    free(file->modules);
    free(file);
}

static int compare_ranges(const void *a, const void *b)
{
    const struct core_range *first = a, *second = b;

    return first->address < second->address ? -1 : first->address > second->address;
}

/* What a core file of that moment would have: the stack, the subject's data, and its first page. */
static struct core_file *core_create(const struct specimen *subject, const uint8_t *image, unsigned options)
{
    struct core_file *file = calloc(1, sizeof(*file));
    const xctx_snapshot *taken = subject->snapshot;

    EXPECT(file);
    file->ranges = calloc(3, sizeof(*file->ranges));
    file->modules = calloc(1, sizeof(*file->modules));
    EXPECT(file->ranges && file->modules);
    atomic_init(&file->refs, 1);
    file->destroy = core_destroy;
    file->ranges[file->range_count++] =
        (struct core_range){taken->stack_address, taken->stack_size, 0, taken->stack, true, true};
    if (!(options & OPTION_NO_DATA))
        file->ranges[file->range_count++] =
            (struct core_range){subject->data, subject->data_size, 0, subject->data_bytes, false, false};
    if (options & OPTION_HEADERS)
        file->ranges[file->range_count++] = (struct core_range){subject->start, 4096, 0, image, false, false};
    qsort(file->ranges, file->range_count, sizeof(*file->ranges), compare_ranges);
    file->modules[0] = (struct core_module){subject->start, subject->end, 0, memory_path};
    file->module_count = 1;
    return file;
}

/* As if it was opened from the file, which it takes the reference to. */
static xctx_snapshot *snapshot_create(const struct specimen *subject, struct core_file *file, unsigned options,
                                      uint8_t seed)
{
    const xctx_snapshot *taken = subject->snapshot;
    xctx_snapshot *snapshot = xctx__snapshot_create(0, 0);

    EXPECT(snapshot);
    snapshot->file = file;
    snapshot->stage = SNAPSHOT_FILLED;
    snapshot->bits = SNAPSHOT_OPENED;
    if (options & OPTION_INTERRUPTED)
        snapshot->bits |= SNAPSHOT_INTERRUPTED;
    snapshot->captured = taken->captured;
    snapshot->registers = taken->registers;
    for (unsigned i = 0; options & OPTION_REGISTERS && i < XCTX__DWARF_REGISTERS; i++) {
        if (taken->registers.known >> i & 1)
            continue;
        snapshot->registers.known |= UINT64_C(1) << i;
        snapshot->registers.value[i] =
            i % 2 ? seed * UINT64_C(0x0101010101010101) : taken->registers.value[XCTX__REGISTER_SP] + seed;
    }
    snapshot->state = taken->state;
    snapshot->stack = taken->stack;
    snapshot->stack_address = taken->stack_address;
    snapshot->stack_size = taken->stack_size;
    memcpy(snapshot->pcs, taken->pcs, sizeof(snapshot->pcs));
    snapshot->pc_count = taken->pc_count;
    return snapshot;
}

static void decode(xctx_snapshot *snapshot, unsigned flags)
{
    const xctx_inspect_options options = {
        .size = sizeof(options),
        .flags = flags & OPTION_GLOBALS ? XCTX_INSPECT_GLOBALS : 0,
        .max_frames = 16,
        .debug_path = "/nowhere",
    };
    xctx_report *report = NULL;
    int result = xctx_inspect(snapshot, &options, &report);

    feed_disarm();
    EXPECT(result == 0 ? report != NULL : result == -ENOMEM);
    for (int format = XCTX_FORMAT_TEXT; report && format <= XCTX_FORMAT_HTML; format++)
        EXPECT(xctx_report_write(report, nowhere, (enum xctx_format)format) == 0);
    if (flags & OPTION_CORE) {
        result = xctx_snapshot_write_core(snapshot, fileno(nowhere));
        EXPECT(result == 0 || result == -ENOMEM || result == -ENODATA);
    }
    xctx_report_unref(report);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t image[SUBJECT_SIZE];
    struct feed feed = {data, size};

    start();
    const struct specimen *subject = &subjects[feed_byte(&feed) % subject_count];
    unsigned options = feed_byte(&feed);
    uint8_t seed = feed_byte(&feed);
    struct feed arming = feed;
    feed_byte(&feed);
    subject_damage(subject, &feed, image);
    EXPECT(ftruncate(memory, 0) == 0 && pwrite(memory, image, subject->size, 0) == (ssize_t)subject->size);
    struct core_file *file = core_create(subject, image, options);
    xctx_snapshot *snapshot = snapshot_create(subject, file, options, seed);
    feed_arm(&arming);
    decode(snapshot, options);
    xctx_snapshot_unref(snapshot);
    return 0;
}
