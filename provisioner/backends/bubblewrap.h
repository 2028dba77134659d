/* bubblewrap.h - the sandbox of a local instance: bwrap(1) with its own mount, PID, IPC, UTS, cgroup and user
 * namespace.
 *
 * An instance sees a read-only system (/usr, and the parts of /etc that programs need and that hold no secret), its own
 * /tmp, /dev and /proc, and its own home, the one place it can write to. The network is shared: it must be reachable.
 */
#ifndef TERMINALS_PROVISIONER_BACKENDS_BUBBLEWRAP_H
#define TERMINALS_PROVISIONER_BACKENDS_BUBBLEWRAP_H

#include <stdbool.h>

#include "common/error.h"
#include "provisioner/backends/sandbox_etc.h"
#include "provisioner/backends/string_list.h"

#define BUBBLEWRAP_HOME "/home/user"
#define BUBBLEWRAP_USER "user"

struct bubblewrap {
    char *program;               /* bwrap's path */
    char *binary;                /* the instance's program, outside */
    char *interpreter_folder;    /* a Python virtual environment that the binary is a script of, else NULL */
    char *folder;                /* ours, below the run folder */
    struct sandbox_etc *etc;     /* what it sees of /etc, in that folder */
    const char *hidden_variable; /* removed from the environment of what runs inside */
    bool user_namespaces_off;    /* nothing inside may make user namespaces of its own: bwrap 0.8 */
};

/* Finds bwrap in PATH, makes the sandboxes' /etc below `run_dir` and runs `true` in a sandbox, which takes some 10 ms.
 * False with a sentence that tells what to do, and ERROR_BACKEND if bwrap cannot be used on this machine, another code
 * if that is not known (a full disk, no memory, a machine too busy); *sandbox then needs no close. */
bool bubblewrap_open(struct bubblewrap *sandbox, const char *run_dir, const char *binary, const char *hidden_variable,
                     struct error *err);
void bubblewrap_close(struct bubblewrap *sandbox);

/* Makes /etc as all sandboxes see it like the machine's again, those that run included. What goes wrong is logged. */
void bubblewrap_refresh(const struct bubblewrap *sandbox);

/* Refreshes. Without a `home` (NULL) it has an empty one, over which one can be mounted later. Adds to `arguments`
 * bwrap and the path of the instance's program inside, which that program's own follow, and to `words` what bwrap is to
 * be told once it runs (spawn.h). It reports the namespace's init on `info_fd` (-1: not). */
void bubblewrap_add_command(const struct bubblewrap *sandbox, const char *home, int info_fd,
                            struct string_list *arguments, struct string_list *words);

/* The pid, in our namespace, of a sandbox's init as bwrap has written it to info_fd; -1 if `text` does not tell. */
int bubblewrap_parse_info(const char *text);

#endif
