/* waiting_checks.h - who waits for the answer of a backend's check() on one instance. One thread only. */
#ifndef TERMINALS_PROVISIONER_BACKENDS_WAITING_CHECKS_H
#define TERMINALS_PROVISIONER_BACKENDS_WAITING_CHECKS_H

#include <stdbool.h>

struct waiting_check; /* a list; NULL: nobody waits */

/* False: no memory, and `checked` will not be called. */
bool waiting_checks_add(struct waiting_check **list, void (*checked)(void *argument, bool alive), void *argument);

/* Calls all, each once. They are off the list by then: from inside the call somebody may ask again. */
void waiting_checks_answer(struct waiting_check **list, bool alive);

/* Forgets all without a call. */
void waiting_checks_drop(struct waiting_check **list);

#endif
