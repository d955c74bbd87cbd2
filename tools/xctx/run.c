/* SPDX-License-Identifier: MIT */
/*
 * `xctx run`: starts a program with libxctx-preload in it, and becomes that program. What the library is to do stands
 * in the environment, which programs that this one starts inherit.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "beside.h"
#include "command.h"
#include "output.h"

enum { SEGMENTS_LIMIT = 128 };

struct run {
    const char *capture; /* NULL: as the environment says */
    const char *trace;
    const char *core;
    bool crash;
    bool help;
};

static int print_help(void)
{
    print("usage: xctx run [OPTION]... [--] PROGRAM [ARGUMENT]...\n"
          "\n"
          "Runs a program as it is, so that `xctx dump` can show what its threads do, and so\n"
          "that each thread starts in a copy of its creator's context. Programs that it\n"
          "starts itself are run in the same way.\n"
          "\n"
          "Options:\n"
          "  -c, --capture=LIST   note at the start of each thread where that was: some of\n"
          "                       stack, locals, registers, state, fpu, with commas; or all\n"
          "  -x, --crash          report crashes on standard error\n"
          "  -k, --core=FILE      with --crash: keep a core file; %%p in the name becomes the\n"
          "                       process id\n"
          "  -t, --trace=FILE     append a line of JSON for each process and thread that\n"
          "                       begins, and each thread that ends\n"
          "  -h, --help           this help\n"
          "\n"
          "This goes by LD_PRELOAD: a program that is linked statically, or runs with another\n"
          "user's rights, is refused. The program gets one more thread, and a signal handler\n"
          "for one real-time signal when it is asked.\n"
          "\n"
          "Exit status: that of the program; 1 if it could not be run, 2 wrong usage.\n");
    return STATUS_OK;
}

/* ---- The arguments ---- */

static bool is_capture(const char *list)
{
    static const char *const names[] = {"stack", "locals", "registers", "state", "fpu", "all"};

    for (const char *name = list;;) {
        size_t length = strcspn(name, ",");
        bool known = false;
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
            known = known || (strlen(names[i]) == length && strncmp(names[i], name, length) == 0);
        if (!known)
            return false;
        if (name[length] == '\0')
            return true;
        name += length + 1;
    }
}

static int parse_option(struct run *run, int option, char *argv[])
{
    switch (option) {
    case 'c':
        run->capture = optarg;
        return is_capture(optarg)
                   ? STATUS_OK
                   : usage_error("run", "run: capture: of stack,locals,registers,state,fpu,all, not '%s'", optarg);
    case 'x':
        run->crash = true;
        return STATUS_OK;
    case 'k':
        run->core = optarg;
        return STATUS_OK;
    case 't':
        run->trace = optarg;
        return STATUS_OK;
    case 'h':
        run->help = true;
        return STATUS_OK;
    case ':':
        return usage_error("run", "run: option '%s' needs a value", argv[optind - 1]);
    default:
        return usage_error("run", "run: wrong option '%s'", argv[optind - 1]);
    }
}

static int parse(struct run *run, int argc, char *argv[])
{
    static const struct option known[] = {
        {"capture", required_argument, NULL, 'c'}, {"crash", no_argument, NULL, 'x'},
        {"core", required_argument, NULL, 'k'},    {"trace", required_argument, NULL, 't'},
        {"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0},
    };
    int option;

    opterr = 0;
    /* "+": options behind the program are the program's. */
    while ((option = getopt_long(argc, argv, "+:c:xk:t:h", known, NULL)) != -1) {
        int status = parse_option(run, option, argv);
        if (status != STATUS_OK || run->help)
            return status;
    }
    if (optind == argc)
        return usage_error("run", "run: no program given");
    if (run->core && !run->crash)
        return usage_error("run", "run: --core is for --crash");
    return STATUS_OK;
}

/* ---- The program ---- */

/* Where execvp() would find a program. Returns whether it would. */
static bool find_program(char *path, size_t size, const char *name)
{
    const char *folders = getenv("PATH");

    if (strchr(name, '/') || !folders)
        return (size_t)snprintf(path, size, "%s", name) < size;
    for (const char *folder = folders;;) {
        size_t length = strcspn(folder, ":");
        int needed = snprintf(path, size, "%.*s/%s", length ? (int)length : 1, length ? folder : ".", name);
        if (needed > 0 && (size_t)needed < size && access(path, X_OK) == 0)
            return true;
        if (folder[length] == '\0')
            return false;
        folder += length + 1;
    }
}

static bool has_interpreter(int fd, const Elf64_Ehdr *header)
{
    Elf64_Phdr segments[SEGMENTS_LIMIT];
    size_t count = header->e_phnum < SEGMENTS_LIMIT ? header->e_phnum : SEGMENTS_LIMIT;

    if (header->e_phentsize != sizeof(segments[0]) ||
        pread(fd, segments, count * sizeof(segments[0]), (off_t)header->e_phoff) !=
            (ssize_t)(count * sizeof(segments[0])))
        return true; /* the kernel will say what is wrong with it */
    for (size_t i = 0; i < count; i++) {
        if (segments[i].p_type == PT_INTERP)
            return true;
    }
    return false;
}

/* Whether the linker will take our library into a program; if not, complains. What cannot be read is left to execvp().
 */
static bool check_program(const char *name)
{
    char path[PATH_MAX];
    struct stat status;
    Elf64_Ehdr header;
    bool fits = true;

    int fd = find_program(path, sizeof(path), name) ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
    if (fd < 0)
        return true;
    if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode)) {
        bool user = (status.st_mode & S_ISUID) && status.st_uid != geteuid();
        bool group = (status.st_mode & S_ISGID) && status.st_gid != getegid();
        bool elf = pread(fd, &header, sizeof(header), 0) == (ssize_t)sizeof(header) &&
                   memcmp(header.e_ident, ELFMAG, SELFMAG) == 0;
        if (user || group) {
            complain("run: %s: runs with another user's rights: no library can be put into it", name);
            fits = false;
        } else if (elf && header.e_ident[EI_CLASS] == ELFCLASS64 && !has_interpreter(fd, &header)) {
            complain("run: %s: linked statically: no library can be put into it", name);
            fits = false;
        }
    }
    close(fd);
    return fits;
}

/* ---- The environment ---- */

/* Sets LD_PRELOAD, in front of what is in it. */
static int set_preload(void)
{
    char path[PATH_MAX];
    const char *before = getenv("LD_PRELOAD");

    if (!find_beside(path, sizeof(path), "../" XCTX_TOOL_LIBRARIES "/libxctx-preload.so", R_OK) &&
        !find_beside(path, sizeof(path), XCTX_TOOL_LIBRARIES "/libxctx-preload.so", R_OK) &&
        !find_beside(path, sizeof(path), "../../preload/libxctx-preload.so", R_OK)) {
        complain("run: libxctx-preload.so is neither installed nor built beside this command");
        return STATUS_FAILED;
    }
    if (strpbrk(path, " :")) {
        complain("run: %s: LD_PRELOAD cannot name a file with a space or a colon in its path", path);
        return STATUS_FAILED;
    }
    char *value = NULL;
    int length = before && *before ? asprintf(&value, "%s:%s", path, before) : asprintf(&value, "%s", path);
    if (length < 0 || setenv("LD_PRELOAD", value, 1) != 0) {
        complain("run: %s", strerror(ENOMEM));
        return STATUS_FAILED;
    }
    free(value);
    return STATUS_OK;
}

/* A variable with the name of a file, which means the same wherever the program goes. */
static int set_path(const char *name, const char *path)
{
    char folder[PATH_MAX];
    char *value = NULL;
    int length = -1;

    if (path[0] == '/')
        length = asprintf(&value, "%s", path);
    else if (getcwd(folder, sizeof(folder)))
        length = asprintf(&value, "%s/%s", folder, path);
    if (length < 0 || setenv(name, value, 1) != 0) {
        complain("run: %s: %s", path, strerror(errno));
        return STATUS_FAILED;
    }
    free(value);
    return STATUS_OK;
}

/* So that a file that cannot be written is said before the program runs. */
static int check_trace(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (fd < 0) {
        complain("run: %s: %s", path, strerror(errno));
        return STATUS_FAILED;
    }
    close(fd);
    return STATUS_OK;
}

/* A variable that the library reads. */
static int set(const char *name, const char *value)
{
    if (setenv(name, value, 1) == 0)
        return STATUS_OK;
    complain("run: %s", strerror(errno));
    return STATUS_FAILED;
}

static int prepare_crash(const struct run *run)
{
    char self[PATH_MAX];

    int status = set("XCTX_CRASH", "1");
    if (status == STATUS_OK && find_self(self, sizeof(self)))
        status = set("XCTX_CRASH_COMMAND", self);
    if (status == STATUS_OK && run->core)
        status = set_path("XCTX_CRASH_CORE", run->core);
    return status;
}

static int prepare(const struct run *run)
{
    int status = set_preload();

    if (status == STATUS_OK && run->trace)
        status = check_trace(run->trace);
    if (status == STATUS_OK && run->trace)
        status = set_path("XCTX_TRACE", run->trace);
    if (status == STATUS_OK && run->capture)
        status = set("XCTX_CAPTURE", run->capture);
    if (status == STATUS_OK && run->crash)
        status = prepare_crash(run);
    return status;
}

static int run_run(int argc, char *argv[])
{
    struct run run = {0};

    int status = parse(&run, argc, argv);
    if (status != STATUS_OK)
        return status;
    if (run.help)
        return print_help();
    if (!check_program(argv[optind]))
        return STATUS_FAILED;
    status = prepare(&run);
    if (status != STATUS_OK)
        return status;
    execvp(argv[optind], argv + optind);
    complain("run: %s: %s", argv[optind], strerror(errno));
    return STATUS_FAILED;
}

const struct command command_run = {
    .name = "run",
    .summary = "run a program so that `xctx dump` can show its threads",
    .run = run_run,
};
