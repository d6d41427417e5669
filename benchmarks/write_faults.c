/* Loaded before libc: counts what a process writes below one folder, and at the n-th time kills it or
 * makes the call fail. Built and armed by benchmarks/write_points.py; nothing happens until then.
 *
 * A point is a call that changes the folder: open with O_CREAT or O_TRUNC, write, pwrite, writev, fsync,
 * fdatasync, ftruncate, rename, unlink, mkdir and their kin.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum mode { COUNT, KILL_BEFORE, KILL_AFTER, KILL_TORN, FAIL_ONCE, FAIL_ONWARDS };
enum verdict { GO_ON, FAIL, TEAR, KILL_WHEN_DONE };

static char folder[PATH_MAX];
static size_t folder_length;
static enum mode mode;
static long target;
static int failure;
static int log_descriptor = -1;
static atomic_long seen;

void faults_arm(const char *below, int what, long point, int error, int log_to)
{
    snprintf(folder, sizeof folder, "%s/", below);
    mode = what;
    target = point;
    failure = error;
    log_descriptor = log_to;
    atomic_store(&seen, 0);
    folder_length = strlen(folder);
}

long faults_seen(void) { return atomic_load(&seen); }

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static void die(void)
{
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

static enum verdict at_point(const char *call, const char *path)
{
    if (folder_length == 0 || strncmp(path, folder, folder_length) != 0)
        return GO_ON;
    long now = atomic_fetch_add(&seen, 1) + 1;
    if (log_descriptor >= 0) {
        char line[PATH_MAX + 32];
        int length = snprintf(line, sizeof line, "%s %s\n", call, path + folder_length);
        ssize_t ignored = REAL(write)(log_descriptor, line, length);
        (void)ignored;
    }
    if (now < target || (now > target && mode != FAIL_ONWARDS))
        return GO_ON;
    switch (mode) {
    case COUNT: return GO_ON;
    case KILL_BEFORE: die(); /* does not return */
        return GO_ON;
    case KILL_AFTER: return KILL_WHEN_DONE;
    case KILL_TORN: return TEAR;
    default: errno = failure; return FAIL;
    }
}

static enum verdict at_descriptor(const char *call, int descriptor)
{
    if (folder_length == 0)
        return GO_ON;
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return GO_ON;
    path[length] = '\0';
    return at_point(call, path);
}

static enum verdict at_name(const char *call, int directory, const char *name)
{
    if (folder_length == 0 || name == NULL)
        return GO_ON;
    if (name[0] == '/')
        return at_point(call, name);
    char link[64], path[2 * PATH_MAX];
    if (directory == AT_FDCWD)
        snprintf(link, sizeof link, "/proc/self/cwd");
    else
        snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0)
        return GO_ON;
    snprintf(path + length, sizeof path - length, "/%s", name);
    return at_point(call, path);
}

/* Do `made` as the verdict says; what cannot be torn is not done at all before the end. */
#define DECIDED(decision, type, made)                                                              \
    do {                                                                                           \
        const enum verdict decided = (decision);                                                   \
        if (decided == FAIL)                                                                       \
            return -1;                                                                             \
        if (decided == TEAR)                                                                       \
            die();                                                                                 \
        type result = (made);                                                                      \
        if (decided == KILL_WHEN_DONE)                                                             \
            die();                                                                                 \
        return result;                                                                             \
    } while (0)

#define CHANGES (O_CREAT | O_TRUNC)
#define OPEN(name)                                                                                 \
    int name(const char *path, int flags, ...)                                                     \
    {                                                                                              \
        va_list rest;                                                                              \
        va_start(rest, flags);                                                                     \
        mode_t bits = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;                    \
        va_end(rest);                                                                              \
        if (!(flags & CHANGES))                                                                    \
            return REAL(name)(path, flags, bits);                                                  \
        DECIDED(at_name("open", AT_FDCWD, path), int, REAL(name)(path, flags, bits));              \
    }
#define OPENAT(name)                                                                               \
    int name(int directory, const char *path, int flags, ...)                                      \
    {                                                                                              \
        va_list rest;                                                                              \
        va_start(rest, flags);                                                                     \
        mode_t bits = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;                    \
        va_end(rest);                                                                              \
        if (!(flags & CHANGES))                                                                    \
            return REAL(name)(directory, path, flags, bits);                                       \
        DECIDED(at_name("open", directory, path), int, REAL(name)(directory, path, flags, bits));  \
    }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

ssize_t write(int descriptor, const void *content, size_t size)
{
    enum verdict said = at_descriptor("write", descriptor);
    if (said == TEAR) {
        ssize_t ignored = REAL(write)(descriptor, content, size / 2);
        (void)ignored;
    }
    DECIDED(said, ssize_t, REAL(write)(descriptor, content, size));
}

#define PWRITE(name, offset_type)                                                                  \
    ssize_t name(int descriptor, const void *content, size_t size, offset_type offset)             \
    {                                                                                              \
        enum verdict said = at_descriptor("pwrite", descriptor);                             \
        if (said == TEAR) {                                                                  \
            ssize_t ignored = REAL(name)(descriptor, content, size / 2, offset);                   \
            (void)ignored;                                                                         \
        }                                                                                          \
        DECIDED(said, ssize_t, REAL(name)(descriptor, content, size, offset));               \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

ssize_t writev(int descriptor, const struct iovec *parts, int count)
{
    enum verdict said = at_descriptor("writev", descriptor);
    if (said == TEAR) {
        ssize_t ignored = REAL(writev)(descriptor, parts, (count + 1) / 2);
        (void)ignored;
    }
    DECIDED(said, ssize_t, REAL(writev)(descriptor, parts, count));
}

#define OF_DESCRIPTOR(name)                                                                        \
    int name(int descriptor)                                                                       \
    {                                                                                              \
        DECIDED(at_descriptor(#name, descriptor), int, REAL(name)(descriptor));                    \
    }
OF_DESCRIPTOR(fsync)
OF_DESCRIPTOR(fdatasync)

int ftruncate(int descriptor, off_t size)
{
    DECIDED(at_descriptor("ftruncate", descriptor), int, REAL(ftruncate)(descriptor, size));
}

int ftruncate64(int descriptor, off64_t size)
{
    DECIDED(at_descriptor("ftruncate", descriptor), int, REAL(ftruncate64)(descriptor, size));
}

int rename(const char *from, const char *to)
{
    DECIDED(at_name("rename", AT_FDCWD, to), int, REAL(rename)(from, to));
}

int renameat(int of_from, const char *from, int of_to, const char *to)
{
    DECIDED(at_name("rename", of_to, to), int, REAL(renameat)(of_from, from, of_to, to));
}

int unlink(const char *path)
{
    DECIDED(at_name("unlink", AT_FDCWD, path), int, REAL(unlink)(path));
}

int unlinkat(int directory, const char *path, int flags)
{
    DECIDED(at_name("unlink", directory, path), int, REAL(unlinkat)(directory, path, flags));
}

int rmdir(const char *path)
{
    DECIDED(at_name("rmdir", AT_FDCWD, path), int, REAL(rmdir)(path));
}

int mkdir(const char *path, mode_t bits)
{
    DECIDED(at_name("mkdir", AT_FDCWD, path), int, REAL(mkdir)(path, bits));
}

int mkdirat(int directory, const char *path, mode_t bits)
{
    DECIDED(at_name("mkdir", directory, path), int, REAL(mkdirat)(directory, path, bits));
}
