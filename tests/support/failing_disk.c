/*
 * A disk that fails, and a clock that jumps, for the process that preloads this library and for its forks.
 *
 * What is to happen stands in a file of one struct (failing_disk.py writes it), mapped by every process at once, so
 * that their file operations are counted together. An operation counts when its class is watched and its path begins
 * with one of the watched ones. The at-th of them fails with the error given, and, where the disk stays bad, all the
 * later ones too; or, when a jump is given instead of an error, from then on the clock is that many seconds wrong.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { WRITE = 1, SYNC = 2, CUT = 4, NAME = 8, READ = 16 };

struct control {
    int64_t watched; /* classes; 0: nothing */
    int64_t at;      /* 1 for the first; 0: only count */
    int64_t stays;   /* 1: all from there on */
    int64_t error;   /* errno; 0: the clock jumps instead */
    int64_t jump;    /* seconds */
    int64_t seen;
    int64_t failed;
    char what[512];   /* the first that failed */
    char places[512]; /* paths that are watched, each ended by a newline */
};

static struct control *control;
static int jumped(void);

#define REAL(name) static __typeof__(name) *real; if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

__attribute__((constructor)) static void map_control(void)
{
    const char *path = getenv("FAILING_DISK");
    int file = path ? (int)open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *found = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (found != MAP_FAILED) control = found;
}

static int watched_path(const char *path)
{
    for (const char *place = control->places; *place;) {
        const char *end = strchr(place, '\n');
        if (!end) break;
        if (!strncmp(path, place, (size_t)(end - place))) return 1;
        place = end + 1;
    }
    return 0;
}

/* 1 if the operation must fail; errno says how */
static int fails(int64_t class, const char *name, const char *path)
{
    if (!(control->watched & class) || !watched_path(path)) return 0;
    int64_t number = __atomic_add_fetch(&control->seen, 1, __ATOMIC_SEQ_CST);
    if (!control->at || number < control->at || (number > control->at && !control->stays)) return 0;
    if (number == control->at) snprintf(control->what, sizeof control->what, "%s %s", name, path);
    if (!control->error) return 0;
    __atomic_add_fetch(&control->failed, 1, __ATOMIC_SEQ_CST);
    errno = (int)control->error;
    return 1;
}

static int file_fails(int64_t class, const char *name, int file)
{
    char link[64], path[PATH_MAX];
    if (!control || !(control->watched & class)) return 0;
    int before = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    errno = before;
    if (length < 0) return 0;
    path[length] = 0;
    return fails(class, name, path);
}

static int path_fails(int64_t class, const char *name, int folder, const char *path)
{
    char link[64], whole[2 * PATH_MAX];
    if (!control || !(control->watched & class)) return 0;
    if (*path == '/') return fails(class, name, path);
    int before = errno;
    if (folder == AT_FDCWD) snprintf(link, sizeof link, "/proc/self/cwd");
    else snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    ssize_t length = readlink(link, whole, PATH_MAX - 1);
    errno = before;
    if (length < 0) return 0;
    snprintf(whole + length, sizeof whole - (size_t)length, "/%s", path);
    return fails(class, name, whole);
}

ssize_t write(int file, const void *data, size_t size)
{ REAL(write); return file_fails(WRITE, "write", file) ? -1 : real(file, data, size); }
ssize_t pwrite(int file, const void *data, size_t size, off_t at)
{ REAL(pwrite); return file_fails(WRITE, "pwrite", file) ? -1 : real(file, data, size, at); }
ssize_t pwrite64(int file, const void *data, size_t size, off64_t at)
{ REAL(pwrite64); return file_fails(WRITE, "pwrite", file) ? -1 : real(file, data, size, at); }
ssize_t writev(int file, const struct iovec *parts, int count)
{ REAL(writev); return file_fails(WRITE, "writev", file) ? -1 : real(file, parts, count); }
ssize_t read(int file, void *data, size_t size)
{ REAL(read); return file_fails(READ, "read", file) ? -1 : real(file, data, size); }
ssize_t pread(int file, void *data, size_t size, off_t at)
{ REAL(pread); return file_fails(READ, "pread", file) ? -1 : real(file, data, size, at); }
ssize_t pread64(int file, void *data, size_t size, off64_t at)
{ REAL(pread64); return file_fails(READ, "pread", file) ? -1 : real(file, data, size, at); }
int fsync(int file)
{ REAL(fsync); return file_fails(SYNC, "fsync", file) ? -1 : real(file); }
int fdatasync(int file)
{ REAL(fdatasync); return file_fails(SYNC, "fdatasync", file) ? -1 : real(file); }
int ftruncate(int file, off_t size)
{ REAL(ftruncate); return file_fails(CUT, "ftruncate", file) ? -1 : real(file, size); }
int ftruncate64(int file, off64_t size)
{ REAL(ftruncate64); return file_fails(CUT, "ftruncate", file) ? -1 : real(file, size); }
int fallocate(int file, int mode, off_t at, off_t size)
{ REAL(fallocate); return file_fails(CUT, "fallocate", file) ? -1 : real(file, mode, at, size); }
int posix_fallocate(int file, off_t at, off_t size)
{ REAL(posix_fallocate); return file_fails(CUT, "posix_fallocate", file) ? errno : real(file, at, size); }
int mkdir(const char *path, mode_t mode)
{ REAL(mkdir); return path_fails(NAME, "mkdir", AT_FDCWD, path) ? -1 : real(path, mode); }
int rename(const char *old, const char *new)
{ REAL(rename); return path_fails(NAME, "rename", AT_FDCWD, new) ? -1 : real(old, new); }

static int creates(int folder, const char *path, int flags)
{
    return control && (flags & O_CREAT) && faccessat(folder, path, F_OK, 0) != 0 &&
           path_fails(NAME, "create", folder, path);
}

#define OPENING(name, folder, ...)                                                                                    \
    mode_t mode = 0;                                                                                                  \
    if (flags & (O_CREAT | O_TMPFILE)) {                                                                              \
        va_list more;                                                                                                 \
        va_start(more, flags);                                                                                        \
        mode = va_arg(more, mode_t);                                                                                  \
        va_end(more);                                                                                                 \
    }                                                                                                                 \
    REAL(name);                                                                                                       \
    return creates(folder, path, flags) ? -1 : real(__VA_ARGS__, flags, mode)

int open(const char *path, int flags, ...) { OPENING(open, AT_FDCWD, path); }
int open64(const char *path, int flags, ...) { OPENING(open64, AT_FDCWD, path); }
int openat(int folder, const char *path, int flags, ...) { OPENING(openat, folder, folder, path); }
int openat64(int folder, const char *path, int flags, ...) { OPENING(openat64, folder, folder, path); }

static int jumped(void)
{
    return control && control->watched && !control->error && control->jump && control->at &&
           __atomic_load_n(&control->seen, __ATOMIC_SEQ_CST) >= control->at;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    REAL(clock_gettime);
    int done = real(clock, now);
    if (clock == CLOCK_REALTIME && jumped()) now->tv_sec += control->jump;
    return done;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    REAL(gettimeofday);
    int done = real(now, zone);
    if (jumped()) now->tv_sec += control->jump;
    return done;
}

time_t time(time_t *out)
{
    REAL(time);
    time_t now = real(NULL) + (jumped() ? control->jump : 0);
    if (out) *out = now;
    return now;
}
