/* SPDX-License-Identifier: MIT */
/* xctx_serve_start(): what somebody who asks gets, and what those get who ask in a wrong way. */
#include <dirent.h>
#include <elf.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/procfs.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "../support/target.h"
#include "core/serve.h"

static socklen_t make_address(struct sockaddr_un *address, pid_t pid)
{
    memset(address, 0, sizeof(*address));
    address->sun_family = AF_UNIX;
    int length = snprintf(address->sun_path + 1, sizeof(address->sun_path) - 1, XCTX__SERVE_NAME, (int)pid);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length);
}

/* A connection, or a negative errno. */
static int connect_to(pid_t pid)
{
    struct sockaddr_un address;
    socklen_t size = make_address(&address, pid);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    if (connect(fd, (const struct sockaddr *)&address, size) == 0)
        return fd;
    int error = -errno;
    close(fd);
    return error;
}

static struct serve_request make_request(void)
{
    return (struct serve_request){.magic = XCTX__SERVE_MAGIC,
                                  .version = XCTX__SERVE_VERSION,
                                  .size = sizeof(struct serve_request),
                                  .capture = XCTX_CAPTURE_LOCALS | XCTX_CAPTURE_STATE,
                                  .timeout = 30 * SECOND};
}

/* Sends a request with `count` copies of `fd`. */
static void send_request(int connection, const void *request, size_t size, int fd, size_t count)
{
    int fds[4] = {fd, fd, fd, fd};
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(fds))];
    } control = {.bytes = {0}};
    struct iovec part = {(void *)(uintptr_t)request, size};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    CHECK(count <= 4);
    if (count) {
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(rights), fds, count * sizeof(int));
    }
    CHECK(sendmsg(connection, &message, MSG_NOSIGNAL) == (ssize_t)size);
}

static struct serve_reply receive_reply(int connection)
{
    struct serve_reply reply;
    ssize_t size;
    while ((size = recv(connection, &reply, sizeof(reply), 0)) < 0)
        CHECK(errno == EINTR);
    CHECK(size == sizeof(reply));
    CHECK(reply.magic == XCTX__SERVE_MAGIC && reply.size == sizeof(reply));
    return reply;
}

/* Asks a process in the right way; the core file is in `fd`. */
static struct serve_reply ask(pid_t pid, int fd)
{
    struct serve_request request = make_request();
    int connection = connect_to(pid);
    CHECK(connection >= 0);
    send_request(connection, &request, sizeof(request), fd, 1);
    struct serve_reply reply = receive_reply(connection);
    close(connection);
    return reply;
}

static int make_file(void)
{
    int fd = memfd_create("core", MFD_CLOEXEC);
    CHECK(fd >= 0);
    return fd;
}

/* Whether a core file has a thread. */
static bool core_has(int fd, int tid)
{
    off_t size = lseek(fd, 0, SEEK_END);
    CHECK(size > (off_t)sizeof(Elf64_Ehdr));
    const char *bytes = mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, fd, 0);
    CHECK(bytes != MAP_FAILED);
    const Elf64_Ehdr *header = (const void *)bytes;
    const Elf64_Phdr *parts = (const void *)(bytes + header->e_phoff);
    bool found = false;
    CHECK(memcmp(header->e_ident, ELFMAG, SELFMAG) == 0 && header->e_type == ET_CORE);
    for (unsigned i = 0; i < header->e_phnum; i++) {
        if (parts[i].p_type != PT_NOTE)
            continue;
        for (size_t at = parts[i].p_offset; at < parts[i].p_offset + parts[i].p_filesz;) {
            const Elf64_Nhdr *note = (const void *)(bytes + at);
            size_t description = at + sizeof(*note) + (note->n_namesz + 3u) / 4 * 4;
            struct elf_prstatus status;
            if (note->n_type == NT_PRSTATUS && note->n_descsz == sizeof(status)) {
                memcpy(&status, bytes + description, sizeof(status));
                found = found || status.pr_pid == tid;
            }
            at = description + (note->n_descsz + 3u) / 4 * 4;
        }
    }
    munmap((void *)(uintptr_t)bytes, (size_t)size);
    return found;
}

static long count_descriptors(void)
{
    long count = 0;
    DIR *folder = opendir("/proc/self/fd");
    CHECK(folder);
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

TEST(server_that_is_asked_hands_over_a_core_of_all_threads_but_its_own)
{
    NEEDS_SIGNALS_AT_ONCE;
    struct target target;
    int fd = make_file();
    target_start(&target, wait_in_read);
    assert_int_equal(xctx_serve_start(), 0);
    struct serve_reply reply = ask(getpid(), fd);
    assert_int_equal(reply.error, 0);
    assert_true(reply.threads >= 2);
    assert_int_equal(reply.silent, 0);
    assert_true(core_has(fd, own_tid()));
    assert_true(core_has(fd, target.tid));
    assert_false(core_has(fd, 1));
    assert_int_equal(xctx_serve_stop(), 0);
    target_stop(&target);
    close(fd);
}

TEST(server_that_is_asked_has_or_names_threads_that_do_not_answer)
{
    NEEDS_SIGNALS_AT_ONCE;
    struct target target;
    int fd = make_file();
    target_start(&target, wait_with_all_blocked);
    assert_int_equal(xctx_serve_start(), 0);
    struct serve_reply reply = ask(getpid(), fd);
    assert_int_equal(reply.error, 0);
    /* It waits, so it can be seen from outside, where the system allows that. */
    bool named = reply.silent > 0;
    assert_int_equal(reply.silent, named);
    assert_int_equal(reply.silent_tids[0], named ? target.tid : 0);
    assert_int_equal(core_has(fd, target.tid), !named);
    assert_int_equal(xctx_serve_stop(), 0);
    target_stop(&target);
    close(fd);
}

TEST(server_started_twice_is_refused)
{
    assert_int_equal(xctx_serve_start(), 0);
    assert_int_equal(xctx_serve_start(), -EALREADY);
    assert_int_equal(xctx_serve_stop(), 0);
}

TEST(server_stopped_without_a_start_is_refused)
{
    assert_int_equal(xctx_serve_stop(), -EINVAL);
}

TEST(server_stopped_is_not_there_any_more_and_can_be_started_again)
{
    NEEDS_SIGNALS_AT_ONCE;
    for (int i = 0; i < 20; i++) {
        int fd = make_file();
        assert_int_equal(xctx_serve_start(), 0);
        assert_int_equal(ask(getpid(), fd).error, 0);
        assert_int_equal(xctx_serve_stop(), 0);
        assert_int_equal(connect_to(getpid()), -ECONNREFUSED);
        close(fd);
    }
}

TEST(server_whose_name_somebody_else_has_is_refused)
{
    struct sockaddr_un address;
    socklen_t size = make_address(&address, getpid());
    int other = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(other, (const struct sockaddr *)&address, size), 0);
    long before = count_descriptors();
    assert_int_equal(xctx_serve_start(), -EADDRINUSE);
    assert_int_equal(count_descriptors(), before);
    assert_int_equal(xctx_serve_stop(), -EINVAL);
    close(other);
}

/* What the server says to a request. */
static int reply_to(const void *request, size_t size, int fd, size_t count)
{
    int connection = connect_to(getpid());
    CHECK(connection >= 0);
    send_request(connection, request, size, fd, count);
    int error = receive_reply(connection).error;
    close(connection);
    return error;
}

TEST(request_that_is_none_is_refused)
{
    NEEDS_SIGNALS_AT_ONCE;
    int fd = make_file();
    struct serve_request request = make_request();
    assert_int_equal(xctx_serve_start(), 0);
    assert_int_equal(reply_to("?", 1, fd, 1), -EBADMSG);
    assert_int_equal(reply_to(&request, sizeof(request) - 1, fd, 1), -EBADMSG);
    char longer[sizeof(request) + 1] = {0};
    memcpy(longer, &request, sizeof(request));
    assert_int_equal(reply_to(longer, sizeof(longer), fd, 1), -EBADMSG);
    request.magic++;
    assert_int_equal(reply_to(&request, sizeof(request), fd, 1), -EBADMSG);
    request = make_request();
    request.version++;
    assert_int_equal(reply_to(&request, sizeof(request), fd, 1), -EBADMSG);
    request = make_request();
    request.capture = 0x8000;
    assert_int_equal(reply_to(&request, sizeof(request), fd, 1), -EBADMSG);
    request = make_request();
    request.timeout = INT64_MAX;
    assert_int_equal(reply_to(&request, sizeof(request), fd, 1), -EBADMSG);
    request = make_request();
    request.stack_limit = UINT64_MAX;
    assert_int_equal(reply_to(&request, sizeof(request), fd, 1), -EBADMSG);
    assert_int_equal(lseek(fd, 0, SEEK_END), 0);
    assert_int_equal(ask(getpid(), fd).error, 0); /* it goes on */
    assert_int_equal(xctx_serve_stop(), 0);
    close(fd);
}

TEST(request_without_a_file_in_memory_is_refused)
{
    struct serve_request request = make_request();
    int ends[2];
    FILE *file = fopen("/proc/self/exe", "rb");
    assert_non_null(file);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(xctx_serve_start(), 0);
    assert_int_equal(reply_to(&request, sizeof(request), -1, 0), -EBADMSG);
    assert_int_equal(reply_to(&request, sizeof(request), ends[1], 1), -EINVAL);
    assert_int_equal(reply_to(&request, sizeof(request), fileno(file), 1), -EINVAL);
    assert_int_equal(xctx_serve_stop(), 0);
    close(ends[0]);
    close(ends[1]);
    fclose(file);
}

TEST(server_keeps_no_descriptor_of_its_clients)
{
    NEEDS_SIGNALS_AT_ONCE;
    struct serve_request request = make_request();
    int fd = make_file();
    long before = count_descriptors();
    assert_int_equal(xctx_serve_start(), 0);
    reply_to(&request, sizeof(request), fd, 4);
    reply_to("?", 1, fd, 3);
    assert_int_equal(ask(getpid(), fd).error, 0);
    int silent = connect_to(getpid());
    assert_true(silent >= 0);
    close(silent);
    assert_int_equal(xctx_serve_stop(), 0);
    assert_int_equal(count_descriptors(), before);
    close(fd);
}

TEST(client_that_goes_away_does_not_end_the_program)
{
    NEEDS_SIGNALS_AT_ONCE;
    struct serve_request request = make_request();
    int fd = make_file();
    assert_int_equal(xctx_serve_start(), 0);
    for (int i = 0; i < 4; i++) {
        int connection = connect_to(getpid());
        assert_true(connection >= 0);
        send_request(connection, &request, sizeof(request), fd, 1);
        close(connection);
    }
    int other = make_file();
    assert_int_equal(ask(getpid(), other).error, 0);
    assert_int_equal(xctx_serve_stop(), 0);
    close(other);
    close(fd);
}

TEST(client_that_says_nothing_does_not_keep_others_waiting_for_ever)
{
    NEEDS_SIGNALS_AT_ONCE;
    int fd = make_file();
    assert_int_equal(xctx_serve_start(), 0);
    int silent = connect_to(getpid());
    assert_true(silent >= 0);
    assert_int_equal(ask(getpid(), fd).error, 0);
    close(silent);
    assert_int_equal(xctx_serve_stop(), 0);
    close(fd);
}

TEST(server_whose_descriptor_the_program_closed_can_be_stopped)
{
    assert_int_equal(xctx_serve_start(), 0);
    struct sockaddr_un wanted, address;
    socklen_t size = make_address(&wanted, getpid());
    for (int fd = 3; fd < 100; fd++) {
        socklen_t length = sizeof(address);
        if (getsockname(fd, (struct sockaddr *)&address, &length) == 0 && length == size &&
            memcmp(&address, &wanted, size) == 0)
            assert_int_equal(close(fd), 0);
    }
    assert_int_equal(xctx_serve_stop(), 0);
    /* Its thread waits on the file still: a connection makes it end. */
    int connection = connect_to(getpid());
    if (connection >= 0)
        close(connection);
}

#if !TEST_TSAN
/* A child, out of fork(), that lives until its end of a pipe is closed. */
static pid_t fork_child(int ends[2])
{
    int ready[2];
    char byte;
    CHECK(pipe(ends) == 0 && pipe(ready) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        close(ends[1]);
        alarm(120);
        CHECK(write(ready[1], "", 1) == 1);
        CHECK(read(ends[0], &byte, 1) == 0);
        _exit(0);
    }
    CHECK(read(ready[0], &byte, 1) == 1);
    close(ready[0]);
    close(ready[1]);
    close(ends[0]);
    return child;
}

TEST(child_of_a_fork_answers_under_its_own_number)
{
    int ends[2], status, fd = make_file(), other = make_file();
    assert_int_equal(xctx_serve_start(), 0);
    pid_t child = fork_child(ends);
    assert_int_equal(ask(child, fd).error, 0);
    assert_true(core_has(fd, child));
    assert_int_equal(ask(getpid(), other).error, 0);
    assert_true(core_has(other, own_tid()));
    assert_int_equal(xctx_serve_stop(), 0);
    /* The child has not kept the parent's name. */
    assert_int_equal(xctx_serve_start(), 0);
    assert_int_equal(xctx_serve_stop(), 0);
    close(ends[1]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    close(fd);
    close(other);
}
#endif

int main(void)
{
    return test_main("answering xctx dump");
}
