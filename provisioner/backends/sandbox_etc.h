/* sandbox_etc.h - the /etc of the sandboxes: one folder of ours that looks like the machine's, without its secrets.
 *
 * Files are copies: each sandbox then needs one mount for all of them, and a copy that is still right costs one
 * stat(2). Folders are empty places over which the machine's own are mounted, since these may hold hundreds of files.
 * All sandboxes share it, read-only, and those that run already see a copy change as it is renewed.
 *
 * A copy is written beside its place and renamed into it, so that nobody ever sees half of one. What a crash leaves is
 * put right by the next open, which trusts nothing that it finds. One user at a time: the folder's only writer. Not
 * thread-safe. */
#ifndef TERMINALS_PROVISIONER_BACKENDS_SANDBOX_ETC_H
#define TERMINALS_PROVISIONER_BACKENDS_SANDBOX_ETC_H

#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"
#include "provisioner/backends/string_list.h"

struct sandbox_etc;

/* A file that is ours and not the machine's, under a name that is none of the machine's visible ones. */
struct sandbox_file {
    const char *name; /* below /etc */
    const char *content;
};

/* Makes or puts right `<folder>/etc`, where folder exists; `original` is /etc itself, or what stands for it in a test.
 * NULL with ERROR_INTERNAL. */
struct sandbox_etc *sandbox_etc_open(const char *folder, const char *original, const struct sandbox_file *files,
                                     size_t count, struct error *err);

/* The folder stays: instances that run use it. NULL is fine. */
void sandbox_etc_close(struct sandbox_etc *etc);

/* Makes it like the machine's again. What cannot be copied (a full disk) stays as it was, and all else goes on: false
 * with the first reason. */
bool sandbox_etc_refresh(struct sandbox_etc *etc, struct error *err);

/* bwrap's words for it: the mount of the folder, and those inside it. */
void sandbox_etc_add_mounts(const struct sandbox_etc *etc, struct string_list *arguments);

#endif
