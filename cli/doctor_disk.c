/* doctor_disk.c - the folders that we write to: are they ours alone, can they be written, and is there room? */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "cli/doctor_checks.h"
#include "common/cleanup.h"

#define MEBIBYTE         (1024ULL * 1024)
#define FULL_BYTES       (64 * MEBIBYTE) /* below: broken */
#define FULL_PERCENT     1
#define SCARCE_BYTES     (1024 * MEBIBYTE) /* below, and below the percentage: a warning */
#define SCARCE_PERCENT   10
#define OTHERS_MAY_ENTER 0077
#define OTHERS_MAY_WRITE 0022

/* Our folders: who else may be in there. */
struct folder {
    const char *what; /* the setting */
    const char *path;
    mode_t forbidden; /* of its mode */
};

/* A folder that is made at the first start: the nearest one above it that is there. The caller frees it. */
static char *nearest(const char *path) {
    char *found = strdup(path);
    while (found != NULL && access(found, F_OK) != 0 && errno == ENOENT) {
        char *slash = strrchr(found, '/');
        if (slash == NULL) {
            strcpy(found, "."); /* NOLINT: there is at least one character, else it would be there */
        } else {
            slash[slash == found] = '\0';
        }
    }
    return found;
}

static void check_rights(struct doctor *doctor, const struct folder *folder, const char *there) {
    struct stat status;
    struct findings *findings = &doctor->findings;
    static const char advice[] = "give it to the user that runs Terminals (chown), with `chmod 700`";
    if (stat(there, &status) != 0 || !S_ISDIR(status.st_mode)) {
        findings_add(findings, folder->what, FINDING_FAIL, "make it a folder of the user that runs Terminals",
                     "`%s` is no folder, or cannot be looked at", there);
    } else if (access(there, R_OK | W_OK | X_OK) != 0) {
        findings_add(findings, folder->what, FINDING_FAIL, advice, "`%s` cannot be written: %s", there,
                     strerror(errno));
    } else if (strcmp(there, folder->path) == 0 && (status.st_mode & folder->forbidden) != 0) {
        findings_add(findings, folder->what, FINDING_WARN, advice,
                     "`%s` has mode %04o: other users of this machine may %s", there, status.st_mode & 07777,
                     (status.st_mode & OTHERS_MAY_WRITE) != 0 ? "write to it" : "enter it");
    } else {
        findings_add(findings, folder->what, FINDING_OK, NULL, "`%s`%s", folder->path,
                     strcmp(there, folder->path) == 0 ? " is ours" : " will be made");
    }
}

static enum finding_status judge(unsigned long long free, unsigned long long total, unsigned long long full,
                                 unsigned long long scarce) {
    unsigned long long percent = total == 0 ? 100 : free * 100 / total;
    return free < full || percent < FULL_PERCENT       ? FINDING_FAIL
           : free < scarce && percent < SCARCE_PERCENT ? FINDING_WARN
                                                       : FINDING_OK;
}

static void check_room(struct doctor *doctor, const char *what, const char *path) {
    struct statvfs room;
    static const char advice[] = "make room: `terminals gc`, a shorter TERMINALS_AUDIT_RETENTION_DAYS, a larger disk";
    if (statvfs(path, &room) != 0) {
        return; /* said by the check of its rights */
    }
    unsigned long long free_bytes = (unsigned long long)room.f_bavail * room.f_frsize;
    unsigned long long total_bytes = (unsigned long long)room.f_blocks * room.f_frsize;
    enum finding_status bytes = judge(free_bytes, total_bytes, FULL_BYTES, SCARCE_BYTES);
    /* Some file systems make inodes as they need them, and say 0. */
    enum finding_status inodes = room.f_files == 0 ? FINDING_OK : judge(room.f_favail, room.f_files, 1000, 100000);
    enum finding_status status = bytes > inodes ? bytes : inodes;
    findings_add(&doctor->findings, "disk", status, status == FINDING_OK ? NULL : advice,
                 "%s: %llu MiB free (%llu %%), %llu inodes%s", what, free_bytes / MEBIBYTE,
                 total_bytes == 0 ? 100 : free_bytes * 100 / total_bytes, (unsigned long long)room.f_favail,
                 status == FINDING_FAIL ? ": nothing can be written" : "");
}

/* The folder of an SQLite file; NULL: another database, or no memory. */
static char *database_folder(const char *url) {
    const char *path = strncmp(url, "sqlite", strlen("sqlite")) == 0 ? strstr(url, ":///") : NULL;
    if (path == NULL) {
        return NULL;
    }
    path += strlen(":///");
    const char *slash = strrchr(path, '/');
    return slash == NULL ? strdup(".") : strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

void doctor_check_disk(struct doctor *doctor) {
    const struct settings *settings = doctor->settings;
    cleanup_free char *database = database_folder(settings->database_url);
    const struct folder folders[] = {
        {"run folder", settings->run_dir, OTHERS_MAY_ENTER},
        {"data folder", settings->data_dir, OTHERS_MAY_WRITE},
        {"database folder", database, OTHERS_MAY_WRITE},
    };
    bool has_homes = settings->backend == BACKEND_LOCAL || settings->backend == BACKEND_DOCKER;
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        if (folders[i].path == NULL || (folders[i].path == settings->data_dir && !has_homes)) {
            continue;
        }
        cleanup_free char *there = nearest(folders[i].path);
        if (there == NULL) {
            doctor->findings.is_incomplete = true;
            continue;
        }
        check_rights(doctor, &folders[i], there);
        check_room(doctor, folders[i].what, there);
    }
}
