/* docker_pull.h - fetches images that are missing, each once however many wait for it.
 *
 * A pull goes on when those who wait have left (their starts took too long): the next start finds the image. One of
 * which the engine has said nothing for a minute hangs, as with a registry that has gone silent: whoever joins it then
 * has the engine asked anew, for all who wait. */
#ifndef TERMINALS_PROVISIONER_BACKENDS_DOCKER_PULL_H
#define TERMINALS_PROVISIONER_BACKENDS_DOCKER_PULL_H

#include "provisioner/backends/docker_engine.h"

struct docker_pull;
struct docker_pull_wait; /* one who waits */

/* `pulls` is the list of those under way, NULL at first. `done` is called once, later, unless cancelled before: err is
 * NULL when the image is there. `progress` is called now and then with a sentence for people. NULL: no memory. */
struct docker_pull_wait *docker_pull_join(struct docker_pull **pulls, struct docker_engine *engine, const char *image,
                                          void (*progress)(void *argument, const char *text),
                                          void (*done)(void *argument, const struct error *err), void *argument);

/* NULL is fine. */
void docker_pull_leave(struct docker_pull_wait *wait);

/* At the end: forgets all pulls and who waits for them, without a call. */
void docker_pull_free_all(struct docker_pull **pulls);

/* "registry:5000/name:tag" as fromImage and tag of POST /images/create: `latest` where there is none, and "" for a
 * digest, which is part of the name. The caller frees both. False: no memory. */
bool docker_pull_split(const char *image, char **name, char **tag);

#endif
