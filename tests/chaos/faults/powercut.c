/* An LD_PRELOAD shim that journals a process's operations on the files below $POWERCUT_DISK, in order, so that
   tests/chaos/faults/simulated_disk.py can compute what a power cut leaves. The real calls are made too.

   A record is: op (1 byte), file (u32), offset (u64), size (u32), then `size` bytes; all little-endian.
     N  this name now refers to this file (opened with O_CREAT, or first seen); the bytes are the path
     W  these bytes were written at offset          T  the file was truncated to offset
     S  the file was synced                         D  the folder of this path was synced
     U  this name was removed                       R  a file was renamed: "from\0to"          */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define FDS 65536
#define FILES 256
#define FOLDER (-1)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *disk;
static int journal = -1;
static int file_of[FDS];               /* fd -> file, FOLDER, or 0 for other files */
static char *folder_of[FDS];
static struct { char *path; int file; } names[FILES];
static int files;

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) abort();
    return found;
}

__attribute__((constructor)) static void start(void) {
    disk = getenv("POWERCUT_DISK");
    const char *path = getenv("POWERCUT_JOURNAL");
    if (disk && path) journal = REAL(open)(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

/* Writes a record with one call, so that killing the process can truncate only the last record. */
static void record(char op, uint32_t file, uint64_t offset, const void *data, uint32_t size) {
    struct __attribute__((packed)) { char op; uint32_t file; uint64_t offset; uint32_t size; } head =
        {op, file, offset, size};
    struct iovec parts[2] = {{&head, sizeof head}, {(void *)data, size}};
    if (syscall(SYS_writev, journal, parts, 2) != (ssize_t)(sizeof head + size)) abort();
}

static int ours(const char *path) {
    size_t length = disk ? strlen(disk) : 0;
    return journal >= 0 && path && length && strncmp(path, disk, length) == 0;
}

static void opened(int fd, const char *path, int flags) {
    if (fd < 0 || fd >= FDS || !ours(path)) return;
    struct stat about;
    if (fstat(fd, &about)) return;
    pthread_mutex_lock(&lock);
    if (S_ISDIR(about.st_mode)) {
        file_of[fd] = FOLDER;
        free(folder_of[fd]);
        folder_of[fd] = strdup(path);
    } else {
        int at = 0;
        while (at < FILES && names[at].path && strcmp(names[at].path, path)) at++;
        if (at == FILES) abort();
        if (!names[at].path) {
            names[at].path = strdup(path);
            names[at].file = ++files;
            record('N', names[at].file, 0, path, strlen(path));
        }
        file_of[fd] = names[at].file;
        if (flags & O_TRUNC) record('T', file_of[fd], 0, NULL, 0);
    }
    pthread_mutex_unlock(&lock);
}

static int file(int fd) { return fd >= 0 && fd < FDS ? file_of[fd] : 0; }

#define MODE(flags) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | O_TMPFILE)) { va_list more; va_start(more, flags); mode = va_arg(more, mode_t); va_end(more); }

int open(const char *path, int flags, ...) {
    MODE(flags)
    int fd = REAL(open)(path, flags, mode);
    opened(fd, path, flags);
    return fd;
}

int open64(const char *path, int flags, ...) {
    MODE(flags)
    int fd = REAL(open64)(path, flags, mode);
    opened(fd, path, flags);
    return fd;
}

int close(int fd) {
    pthread_mutex_lock(&lock);
    if (fd >= 0 && fd < FDS) file_of[fd] = 0;
    int result = REAL(close)(fd);
    pthread_mutex_unlock(&lock);
    return result;
}

static ssize_t written(int fd, const void *data, ssize_t size, off64_t offset) {
    if (size > 0) record('W', file(fd), offset, data, size);
    return size;
}

ssize_t write(int fd, const void *data, size_t size) {
    if (file(fd) <= 0) return REAL(write)(fd, data, size);
    pthread_mutex_lock(&lock);
    off64_t offset = lseek64(fd, 0, SEEK_CUR);
    ssize_t result = written(fd, data, REAL(write)(fd, data, size), offset);
    pthread_mutex_unlock(&lock);
    return result;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
    if (file(fd) <= 0) return REAL(pwrite)(fd, data, size, offset);
    pthread_mutex_lock(&lock);
    ssize_t result = written(fd, data, REAL(pwrite)(fd, data, size, offset), offset);
    pthread_mutex_unlock(&lock);
    return result;
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
    if (file(fd) <= 0) return REAL(pwrite64)(fd, data, size, offset);
    pthread_mutex_lock(&lock);
    ssize_t result = written(fd, data, REAL(pwrite64)(fd, data, size, offset), offset);
    pthread_mutex_unlock(&lock);
    return result;
}

static int cut(int fd, off64_t size, int result) {
    if (!result && file(fd) > 0) record('T', file(fd), size, NULL, 0);
    return result;
}

int ftruncate(int fd, off_t size) {
    pthread_mutex_lock(&lock);
    int result = cut(fd, size, REAL(ftruncate)(fd, size));
    pthread_mutex_unlock(&lock);
    return result;
}

int ftruncate64(int fd, off64_t size) {
    pthread_mutex_lock(&lock);
    int result = cut(fd, size, REAL(ftruncate64)(fd, size));
    pthread_mutex_unlock(&lock);
    return result;
}

/* The lock is held during the sync, so the order of the records shows that later writes are not part of it. The
   record follows the call, so that nothing counts as synced before it is. */
static int synced(int fd, int (*sync)(int)) {
    if (!file(fd)) return sync(fd);
    pthread_mutex_lock(&lock);
    int result = sync(fd);
    if (!result && file(fd) == FOLDER) record('D', 0, 0, folder_of[fd], strlen(folder_of[fd]));
    else if (!result) record('S', file(fd), 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    return result;
}

int fsync(int fd) { return synced(fd, REAL(fsync)); }

int fdatasync(int fd) { return synced(fd, REAL(fdatasync)); }

static void forget(const char *path) {
    for (int at = 0; at < FILES && names[at].path; at++)
        if (!strcmp(names[at].path, path)) names[at].path = strdup("");
}

int unlink(const char *path) {
    pthread_mutex_lock(&lock);
    int result = REAL(unlink)(path);
    if (!result && ours(path)) {
        record('U', 0, 0, path, strlen(path));
        forget(path);
    }
    pthread_mutex_unlock(&lock);
    return result;
}

int rename(const char *from, const char *to) {
    pthread_mutex_lock(&lock);
    int result = REAL(rename)(from, to);
    if (!result && ours(from) && ours(to)) {
        char both[8192];
        int size = snprintf(both, sizeof both, "%s%c%s", from, 0, to);
        record('R', 0, 0, both, size);
        forget(to);
        for (int at = 0; at < FILES && names[at].path; at++)
            if (!strcmp(names[at].path, from)) names[at].path = strdup(to);
    }
    pthread_mutex_unlock(&lock);
    return result;
}
