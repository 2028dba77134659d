#include "cli/backup_file.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/write_whole.h"

#define CHUNK_BYTES   (1024UL * 1024)
#define ARGUMENTS_MAX 32
#define DIGEST_BYTES  32
#define LINE_FORMAT   "\nterminals-backup 1 bytes=%020lld sha256=%s\n"
#define LINE_BYTES    (sizeof "\nterminals-backup 1 bytes= sha256=\n" - 1 + 20 + 2UL * DIGEST_BYTES)
#define TAR_CHANGED   1 /* its exit status, GNU tar manual, "Synopsis" */

static void cleanup_digest_function(EVP_MD_CTX **digest) {
    EVP_MD_CTX_free(*digest);
}
#define cleanup_digest __attribute__((cleanup(cleanup_digest_function)))

static EVP_MD_CTX *digest_begin(struct error *err) {
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    if (digest != NULL && EVP_DigestInit_ex(digest, EVP_sha256(), NULL) == 1) {
        return digest;
    }
    EVP_MD_CTX_free(digest);
    error_set(err, ERROR_INTERNAL, "begin a checksum");
    return NULL;
}

/* The line behind an archive of `length` bytes. */
static bool format_line(EVP_MD_CTX *digest, int64_t length, char line[LINE_BYTES + 1], struct error *err) {
    unsigned char bytes[DIGEST_BYTES];
    char hex[2 * DIGEST_BYTES + 1];
    if (EVP_DigestFinal_ex(digest, bytes, NULL) != 1) {
        return error_set(err, ERROR_INTERNAL, "end a checksum");
    }
    for (size_t i = 0; i < DIGEST_BYTES; i++) {
        snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
    }
    snprintf(line, LINE_BYTES + 1, LINE_FORMAT, (long long)length, hex);
    return true;
}

/* As much as there is, `size` at most; -1 with errno. */
static ssize_t read_some(int fd, char *bytes, size_t size) {
    ssize_t length;
    do {
        length = read(fd, bytes, size);
    } while (length < 0 && errno == EINTR);
    return length;
}

/* --- tar ---------------------------------------------------------------------------------------------------------- */

/* Starts it with one end of a pipe as its descriptor `which`; returns the other end. -1 with *err. */
static int start_tar(const char *const *arguments, int which, pid_t *pid, struct error *err) {
    const char *argv[ARGUMENTS_MAX + 2] = {"tar"};
    int ends[2];
    for (int i = 0; i < ARGUMENTS_MAX && arguments[i] != NULL; i++) {
        argv[i + 1] = arguments[i];
    }
    if (pipe2(ends, O_CLOEXEC) != 0) {
        error_set_errno(err, ERROR_INTERNAL, "open a pipe");
        return -1;
    }
    int theirs = ends[which == STDIN_FILENO ? 0 : 1];
    int ours = ends[which == STDIN_FILENO ? 1 : 0];
    *pid = fork();
    if (*pid == 0) {
        unsetenv("TAR_OPTIONS");
        if (dup2(theirs, which) >= 0) {
            execvp("tar", (char *const *)argv);
        }
        fprintf(stderr, "terminals: run `tar`: %s\n", strerror(errno));
        _exit(127);
    }
    int failure = errno;
    close(theirs);
    if (*pid < 0) {
        close(ours);
        errno = failure;
        error_set_errno(err, ERROR_INTERNAL, "start another process");
        return -1;
    }
    return ours;
}

/* Its exit status; 255 if a signal ended it. */
static int end_of_tar(pid_t pid) {
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

/* From tar to the file, through the checksum. */
static bool copy_out(int from, int to, EVP_MD_CTX *digest, int64_t *total, struct error *err) {
    cleanup_free char *chunk = malloc(CHUNK_BYTES);
    for (;;) {
        ssize_t length = chunk == NULL ? -1 : read_some(from, chunk, CHUNK_BYTES);
        if (length <= 0) {
            return length == 0 || error_set_errno(err, ERROR_INTERNAL, "read what tar writes");
        }
        if (EVP_DigestUpdate(digest, chunk, (size_t)length) != 1 || !write_whole(to, chunk, (size_t)length)) {
            return error_set_errno(err, ERROR_CAPACITY, "write the backup");
        }
        *total += length;
    }
}

bool backup_file_write(int fd, const char *const *arguments, bool *changed, struct error *err) {
    cleanup_digest EVP_MD_CTX *digest = digest_begin(err);
    char line[LINE_BYTES + 1];
    int64_t total = 0;
    pid_t pid = 0;
    cleanup_close int pipe = digest == NULL ? -1 : start_tar(arguments, STDOUT_FILENO, &pid, err);
    if (pipe < 0) {
        return false;
    }
    bool ok = copy_out(pipe, fd, digest, &total, err);
    close(steal_fd(&pipe)); /* ends a tar that still writes */
    int status = end_of_tar(pid);
    if (!ok) {
        return false;
    }
    if (status > TAR_CHANGED) {
        return error_set(err, ERROR_BACKEND, "tar failed (exit status %d), and has said why", status);
    }
    *changed = status == TAR_CHANGED;
    return format_line(digest, total, line, err) && ((write_whole(fd, line, LINE_BYTES) && fsync(fd) == 0) ||
                                                     error_set_errno(err, ERROR_CAPACITY, "write the backup"));
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

/* Reads `length` bytes from the start through the checksum, into `to` as well (-1: nowhere), and compares the line.
 * tar may have had enough before the end: it stops at the end of the archive. */
static bool copy_in(int fd, const char *path, int64_t length, int to, struct error *err) {
    cleanup_free char *chunk = malloc(CHUNK_BYTES);
    cleanup_digest EVP_MD_CTX *digest = chunk == NULL ? NULL : digest_begin(err);
    char expected[LINE_BYTES + 1];
    char found[LINE_BYTES + 1] = "";
    if (digest == NULL || lseek(fd, 0, SEEK_SET) != 0) {
        return error_set(err, ERROR_INTERNAL, "read `%s`", path);
    }
    for (int64_t left = length; left > 0;) {
        ssize_t now = read_some(fd, chunk, left < (int64_t)CHUNK_BYTES ? (size_t)left : CHUNK_BYTES);
        if (now <= 0) {
            return error_set_errno(err, ERROR_INTERNAL, "read `%s`", path);
        }
        if (EVP_DigestUpdate(digest, chunk, (size_t)now) != 1 ||
            (to >= 0 && !write_whole(to, chunk, (size_t)now) && errno != EPIPE)) {
            return error_set_errno(err, ERROR_INTERNAL, "unpack `%s`", path);
        }
        left -= now;
    }
    return format_line(digest, length, expected, err) &&
           ((pread(fd, found, LINE_BYTES, length) == (ssize_t)LINE_BYTES && strcmp(found, expected) == 0) ||
            error_set(err, ERROR_INVALID, "`%s` is damaged: its checksum is another one", path));
}

int64_t backup_file_verify(int fd, const char *path, struct error *err) {
    struct stat status;
    char line[LINE_BYTES + 1] = "";
    long long said = -1;
    if (fstat(fd, &status) != 0) {
        error_set_errno(err, ERROR_INTERNAL, "look at `%s`", path);
        return -1;
    }
    int64_t length = status.st_size - (int64_t)LINE_BYTES;
    bool has_line = length > 0 && pread(fd, line, LINE_BYTES, length) == (ssize_t)LINE_BYTES &&
                    sscanf(line, "\nterminals-backup 1 bytes=%20lld", &said) == 1 && said == length;
    if (!has_line) {
        error_set(err, ERROR_INVALID, "`%s` is no backup, or only a part of one", path);
        return -1;
    }
    return copy_in(fd, path, length, -1, err) ? length : -1;
}

bool backup_file_read(int fd, const char *path, int64_t length, const char *const *arguments, struct error *err) {
    pid_t pid = 0;
    cleanup_close int pipe = start_tar(arguments, STDIN_FILENO, &pid, err);
    if (pipe < 0) {
        return false;
    }
    bool ok = copy_in(fd, path, length, pipe, err);
    close(steal_fd(&pipe));
    int status = end_of_tar(pid);
    return ok &&
           (status == 0 || error_set(err, ERROR_BACKEND, "tar failed (exit status %d), and has said why", status));
}
