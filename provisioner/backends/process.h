/* process.h - what /proc, pidfds and the kernel's socket tables know about processes that may not be our children.
 *
 * A pid alone names nobody, it is reused: (pid, start time, boot id) does. A process is recognized as ours by a mark in
 * the environment it was started with, which it cannot lose by forking or by losing its parent.
 *
 * What we cannot look at, for want of descriptors or memory, is not gone: errno then says why, and is 0 where the
 * answer is sure. */
#ifndef TERMINALS_PROVISIONER_BACKENDS_PROCESS_H
#define TERMINALS_PROVISIONER_BACKENDS_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PROCESS_BOOT_ID_SIZE 37

/* Whether an errno tells what we lack, and so nothing about the process that was looked for. */
bool process_is_our_lack(int problem);

/* Start time in clock ticks since boot (proc(5), /proc/pid/stat field 22). False: there is no such process, or errno.
 */
bool process_start_time(pid_t pid, unsigned long long *ticks);

/* /proc/sys/kernel/random/boot_id: start times of another boot mean nothing. */
bool process_boot_id(char out[PROCESS_BOOT_ID_SIZE]);

/* The children of a process, oldest first, `max` at most; returns how many. 0 if it is gone, or errno. */
size_t process_children(pid_t pid, pid_t *children, size_t max);

/* The value of a variable in the environment `pid` was started with; "" if it has none, may not be read, or is gone, or
 * errno. Returns false then. */
bool process_environment(pid_t pid, const char *name, char *value, size_t size);

/* Calls `found` for each process whose start environment has `name` with a value that begins with `prefix`. Reads all
 * of /proc: about 10 µs a process. False, with errno: it could not look at all of them. */
bool process_for_each_marked(const char *name, const char *prefix,
                             void (*found)(void *argument, pid_t pid, const char *value), void *argument);

/* Kills (SIGKILL) a process if it still has `name` with this value: never another one that got its pid. */
void process_kill_marked(pid_t pid, const char *name, const char *value);

/* Whether the socket listening on 127.0.0.1:port belongs to `pid` or one of its descendants, as seen from our network
 * namespace. */
enum process_owner { OWNER_YES, OWNER_NO, OWNER_UNKNOWN /* the kernel does not let us see */ };
enum process_owner process_owns_listener(pid_t pid, uint16_t port);

#endif
