/* local_processes.h - the processes of a local instance: the one that was forked (bwrap, or the instance itself) and
 * the init of its sandbox. When they begin and end, local_instance.h says. The event loop's thread only. */
#ifndef TERMINALS_PROVISIONER_BACKENDS_LOCAL_PROCESSES_H
#define TERMINALS_PROVISIONER_BACKENDS_LOCAL_PROCESSES_H

#include "provisioner/backends/local_instance.h"

/* Takes a port, forks, has the instance written down (`created`) and lets it run: killed at any point, we leave nothing
 * behind that nobody knows of. `on_end` is called with the instance when what was forked has ended, and when the
 * sandbox's init has. False with *err: nothing has run, but what was forked may still have to end. */
bool local_processes_start(struct local_instance *instance, void (*on_end)(void *argument), struct error *err);

/* Takes the processes that `reference` names into our hands, as if we had started them. Not so, with *err: they are not
 * what it names any more, or not all of it (GONE), or we cannot look (UNSEEN). */
enum local_adoption { ADOPTION_DONE, ADOPTION_GONE, ADOPTION_UNSEEN };
enum local_adoption local_processes_adopt(struct local_instance *instance, const struct local_reference *reference,
                                          void (*on_end)(void *argument), struct error *err);

/* Whether all of it is in our hands: in a sandbox that takes the init, whose pid bwrap tells while it starts. */
bool local_processes_are_held(struct local_instance *instance);

/* What an instance writes to standard error matters until it is ready, and so does what bwrap tells. */
void local_processes_close_channels(struct local_instance *instance);

/* "it ended (exit status 1): bwrap: no such file", from what the process left behind. */
void local_processes_describe_end(const struct local_instance *instance, char *out, size_t size);

/* SIGTERM to the instance itself: in a sandbox it is the init's first child. The init would ignore it
 * (pid_namespaces(7)), and bwrap would leave what is inside running. False: there is nobody to be asked. */
bool local_processes_terminate(struct local_instance *instance);

/* SIGKILL to what was forked and to the init, with which everything inside ends. `on_end` follows. */
void local_processes_kill(struct local_instance *instance);

/* Lets go of them, running or not, and of their port. */
void local_processes_forget(struct local_instance *instance);

#endif
