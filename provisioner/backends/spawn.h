/* spawn.h - starts a process that does nothing yet, and lets it run at our word.
 *
 * Between spawn_held() and spawn_release() the caller writes down that the process exists. If we die meanwhile, the
 * socket that the process waits on closes and it exits: nothing runs that nobody knows of.
 *
 * A program that reads arguments or a word from a descriptor (bwrap --args, our open-terminal --wait-fd) runs at once
 * and waits itself, for these `words`: it shares our memory until its execve(2) (vfork), so that a start costs the same
 * however large we are. Without them it has nothing to do and ends. Any other program is waited for by a copy of us
 * (fork). */
#ifndef TERMINALS_PROVISIONER_BACKENDS_SPAWN_H
#define TERMINALS_PROVISIONER_BACKENDS_SPAWN_H

#include <stdbool.h>
#include <sys/types.h>

#include "common/error.h"
#include "provisioner/backends/string_list.h"

#define SPAWN_INFO_FD  3 /* the number that `info_fd` has in the process */
#define SPAWN_WORDS_FD 4 /* and what it reads `words` from */

struct spawn_request {
    char *const *arguments;          /* arguments[0] is the program's path; no secret: ps shows them */
    const struct string_list *words; /* NULL: it waits for none */
    char *const *environment;        /* all of it */
    const char *folder;              /* working folder */
    int output_fd;                   /* becomes standard output and error; -1: /dev/null */
    int info_fd;                     /* becomes SPAWN_INFO_FD; -1: none. Nothing else is inherited */
};

struct spawned {
    pid_t pid;
    int pidfd;
    int go_fd;   /* our end of the socket it waits on */
    char *words; /* each with its NUL */
    size_t words_length;
};

/* The process is in a session of its own, has default signal handling and limits, and waits. False with ERROR_BACKEND
 * or ERROR_INTERNAL. The caller calls spawn_release() or spawn_abandon() and owns pidfd. */
bool spawn_held(const struct spawn_request *request, struct spawned *spawned, struct error *err);

/* Lets it run. An execve(2) that fails, here or in spawn_held(), says why on the process's standard error and exits
 * with 127. */
void spawn_release(struct spawned *spawned);

/* Kills it before it has done anything; it has not been reaped yet, and is to be as any other. */
void spawn_abandon(struct spawned *spawned);

#endif
