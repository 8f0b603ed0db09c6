/* Faults by plan, for a process that is started with this library preloaded.
 *
 * FAULTS_PLAN names a file of 64-bit numbers that a test writes and every such process maps:
 *   0  seconds that the wall clock is ahead
 *   1  bytes that are left on the disk that holds FAULTS_DISK; negative: as many as there are
 *   2  how many of the next writes to a write-ahead log fail for want of room
 * A file under FAULTS_DISK takes room as it grows, and gives it back when it is deleted or cut.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { CLOCK, ROOM, WAL_FAULTS, NUMBERS };

static volatile int64_t *plan;
static const char *disk;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FAULTS_PLAN");
    int file = path ? open(path, O_RDWR) : -1;
    if (file < 0)
        return;
    void *mapped = mmap(NULL, NUMBERS * sizeof(int64_t), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (mapped != MAP_FAILED)
        plan = mapped;
    disk = getenv("FAULTS_DISK");
}

#define REAL(result, name, ...)                                                                                        \
    static result (*real)(__VA_ARGS__);                                                                                \
    if (!real)                                                                                                         \
        real = (result(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

static int is_on_disk(const char *path) { return plan && disk && plan[ROOM] >= 0 && !strncmp(path, disk, strlen(disk)); }

static int path_of(int file, char *path, size_t size) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, size - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return 1;
}

static __attribute__((noinline)) int takes_by_plan(int file, off_t end) {
    static __thread char path[4096];
    struct stat found;
    if (!path_of(file, path, sizeof path))
        return 1;
    size_t length = strlen(path);
    if (length > 4 && !strcmp(path + length - 4, "-wal") && plan[WAL_FAULTS] > 0) {
        __sync_fetch_and_sub(&plan[WAL_FAULTS], 1);
        return 0;
    }
    if (!is_on_disk(path) || fstat(file, &found) || !S_ISREG(found.st_mode))
        return 1;
    int64_t more = end > found.st_size ? end - found.st_size : 0;
    if (more && __sync_sub_and_fetch(&plan[ROOM], more) < 0) {
        __sync_fetch_and_add(&plan[ROOM], more);
        return 0;
    }
    return 1;
}

/* Take the room that a file needs to grow to `end`; return whether there is so much.
 *
 * Without a fault to make, little of the stack is used: signal handlers write too, on a stack of their own of 16 KiB. */
static int takes(int file, off_t end) {
    return !plan || (plan[WAL_FAULTS] <= 0 && plan[ROOM] < 0) || takes_by_plan(file, end);
}

static void gives_back(int64_t bytes) { __sync_fetch_and_add(&plan[ROOM], bytes); }

static off_t place_of(int file) {
    int flags = fcntl(file, F_GETFL);
    struct stat found;
    if (flags >= 0 && (flags & O_APPEND) && !fstat(file, &found))
        return found.st_size;
    off_t place = lseek(file, 0, SEEK_CUR);
    return place < 0 ? 0 : place;
}

#define FULL (errno = ENOSPC, -1)

ssize_t write(int file, const void *data, size_t size) {
    REAL(ssize_t, "write", int, const void *, size_t);
    return takes(file, place_of(file) + (off_t)size) ? real(file, data, size) : FULL;
}

ssize_t pwrite(int file, const void *data, size_t size, off_t at) {
    REAL(ssize_t, "pwrite", int, const void *, size_t, off_t);
    return takes(file, at + (off_t)size) ? real(file, data, size, at) : FULL;
}

ssize_t pwrite64(int file, const void *data, size_t size, off_t at) { return pwrite(file, data, size, at); }

ssize_t writev(int file, const struct iovec *parts, int many) {
    REAL(ssize_t, "writev", int, const struct iovec *, int);
    size_t size = 0;
    for (int part = 0; part < many; part++)
        size += parts[part].iov_len;
    return takes(file, place_of(file) + (off_t)size) ? real(file, parts, many) : FULL;
}

int posix_fallocate(int file, off_t at, off_t size) {
    REAL(int, "posix_fallocate", int, off_t, off_t);
    return takes(file, at + size) ? real(file, at, size) : ENOSPC;
}

int posix_fallocate64(int file, off_t at, off_t size) { return posix_fallocate(file, at, size); }

int ftruncate(int file, off_t size) {
    REAL(int, "ftruncate", int, off_t);
    char path[4096];
    struct stat before;
    int counts = plan && path_of(file, path, sizeof path) && is_on_disk(path) && !fstat(file, &before);
    int answer = real(file, size);
    if (!answer && counts && size < before.st_size)
        gives_back(before.st_size - size);
    return answer;
}

int ftruncate64(int file, off_t size) { return ftruncate(file, size); }

int unlink(const char *path) {
    REAL(int, "unlink", const char *);
    struct stat found;
    int counts = is_on_disk(path) && !lstat(path, &found) && S_ISREG(found.st_mode) && found.st_nlink == 1;
    int answer = real(path);
    if (!answer && counts)
        gives_back(found.st_size);
    return answer;
}

int statvfs(const char *path, struct statvfs *found) {
    REAL(int, "statvfs", const char *, struct statvfs *);
    int answer = real(path, found);
    if (!answer && is_on_disk(path)) {
        found->f_bavail = found->f_bfree = (fsblkcnt_t)plan[ROOM] / found->f_frsize;
        found->f_blocks = ((fsblkcnt_t)1 << 30) / found->f_frsize; /* a disk of 1 GiB */
    }
    return answer;
}

int statvfs64(const char *path, struct statvfs64 *found) { return statvfs(path, (struct statvfs *)found); }

int clock_gettime(clockid_t clock, struct timespec *moment) {
    REAL(int, "clock_gettime", clockid_t, struct timespec *);
    int answer = real(clock, moment);
    if (!answer && plan && clock == CLOCK_REALTIME)
        moment->tv_sec += plan[CLOCK];
    return answer;
}
