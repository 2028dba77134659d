/* guardian.h - runs a program on a terminal of its own, under a guardian.
 *
 * The guardian is a small fork of ours between us and the program. It leads the terminal's session, so the terminal is
 * the program's controlling one (^C works) and yet background jobs live on when the program ends, which they would not
 * if the program led it. It adopts every orphan below it, so that nothing escapes; it lives until all of them are gone;
 * and it kills them all when we die, however that happens (PR_SET_PDEATHSIG).
 *
 *   SIGHUP to the guardian   the terminal hangs up: SIGHUP to the program's process group, and SIGKILL to the program
 * if that did not end it. What ignores SIGHUP (nohup) stays. SIGTERM to the guardian  SIGKILL to everything below it.
 */
#ifndef TERMINALS_INSTANCE_GUARDIAN_H
#define TERMINALS_INSTANCE_GUARDIAN_H

#include <sys/types.h>

#include "common/error.h"

#define GUARDIAN_HANGUP_GRACE_MS  500
#define GUARDIAN_START_TIMEOUT_MS 10000 /* under a processor quota both of us stand still for seconds */

struct guardian_program {
    const char *path;
    char *const *arguments;
    char *const *environment;
    int folder; /* an open directory, where the program starts; stays the caller's */
    unsigned short rows;
    unsigned short columns;
    bool has_channel; /* standard input and output are `channel`, a socket, instead of the terminal */
    int channel;      /* stays the caller's */
};

struct guardian {
    pid_t pid;
    int terminal; /* the master side, non-blocking */
    int reports;  /* struct guardian_report by struct guardian_report, end of file when nothing is left; non-blocking */
};

enum guardian_report_kind {
    GUARDIAN_STARTED, /* value: the program's process id, which is its process group too */
    GUARDIAN_ENDED,   /* value: its wait status; without a start before it: no process could be made */
};

struct guardian_report {
    int kind;
    int value;
};

/* Lets this process have as many descriptors as it may: what it serves must not stop when a client opens many
 * connections. Programs that are started get the limit that we had before. Call it once, at the start. */
void guardian_raise_descriptor_limit(void);

/* Starts both. Both descriptors are close-on-exec and the caller's. False with *err. */
bool guardian_start(const struct guardian_program *program, struct guardian *guardian, struct error *err);

/* Waits for the first report, which comes within about a millisecond, and returns the program's process id. -1 with
 * *err, ERROR_CAPACITY: no process could be made, or none was within GUARDIAN_START_TIMEOUT_MS. */
pid_t guardian_wait_for_start(const struct guardian *guardian, struct error *err);

/* Reads one report. 1: there is one; 0: not now; -1: there will be none. */
int guardian_read_report(const struct guardian *guardian, struct guardian_report *report);

/* Sets the terminal's size; the program gets SIGWINCH. */
bool guardian_resize(const struct guardian *guardian, unsigned short rows, unsigned short columns);

#endif
