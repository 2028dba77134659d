/* haproxy_runtime.h - talking to HAProxy: commands on its runtime socket, and noticing that it restarted or reloaded.
 *
 * Commands in order, one at a time, asynchronously on the event loop; no call blocks. Every answer carries the pid of
 * the process it came from, and one is asked for about once a second: another pid, a shorter life, or a connection that
 * ended, raises `restarted` when HAProxy is back. */
#ifndef TERMINALS_PROVISIONER_HAPROXY_RUNTIME_H
#define TERMINALS_PROVISIONER_HAPROXY_RUNTIME_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct haproxy_runtime;

/* NULL: no memory. `socket_path` is <run dir>/haproxy.sock, `master_path` <run dir>/haproxy-master.sock. */
struct haproxy_runtime *haproxy_runtime_open(const char *socket_path, const char *master_path, struct event_base *base);

/* Calls nobody any more. The maps that use it may be closed before or after, as long as the event loop does not run
 * in between. */
void haproxy_runtime_close(struct haproxy_runtime *runtime);

/* Registers somebody (a map) to be told each time HAProxy is another process than before, the first included. */
bool haproxy_runtime_on_restart(struct haproxy_runtime *runtime, void (*restarted)(void *argument), void *argument);

/* Whether it answered the last time it was asked. */
bool haproxy_runtime_is_up(const struct haproxy_runtime *runtime);

/* Whether no HAProxy runs, master or worker, so that nothing comes through any. One that stands still, or that we
 * cannot ask (no descriptors), is not gone: what it holds is not known. */
bool haproxy_runtime_is_gone(const struct haproxy_runtime *runtime);

/* Until when there was an HAProxy that is no more, or seems so, and what it knew of activity (monotonic); 0: there was
 * none in our life. A reload is no such end: old workers are still asked while they have anything to finish. */
int64_t haproxy_runtime_lost_ms(const struct haproxy_runtime *runtime);

/* The worker that answered last, as it calls itself; 0: none has yet. In another container that may be nobody's pid
 * here, or somebody else's. */
pid_t haproxy_runtime_pid(const struct haproxy_runtime *runtime);

/* The event loop that it runs on. */
struct event_base *haproxy_runtime_event_base(const struct haproxy_runtime *runtime);

/* Sends one command (with its payload, if any; all of it below tune.bufsize) and calls `done` with the answer, or with
 * NULL if HAProxy is not there or went away before answering (then perhaps from inside the call). `command` is copied.
 */
void haproxy_runtime_command(struct haproxy_runtime *runtime, const char *command,
                             void (*done)(void *argument, const char *answer), void *argument);

/* One tenant's traffic as the stick table `tenants` knows it. */
struct route_activity {
    char route_key[65]; /* upper-case hex */
    long long idle_ms;  /* since bytes last flowed */
    unsigned in_flight; /* requests under way (conn_cur) */
};

/* Reads the stick table of the current worker and of every old worker that is still finishing (master CLI: `show proc`,
 * `@!pid …`) and calls `done` with all entries (a route may occur once per worker). ok is false if the current worker
 * or the master could not be asked: nobody then knows what the old ones hold. A reload under way is waited for.
 * `done` may be called from inside. */
void haproxy_runtime_activity(struct haproxy_runtime *runtime,
                              void (*done)(void *argument, bool ok, const struct route_activity *routes, size_t count),
                              void *argument);

#endif
