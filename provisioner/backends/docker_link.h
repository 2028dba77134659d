/* docker_link.h - the connection to the engine: is it there, what is it like, and what happens in it.
 *
 *   CONNECTING ──answers──▶ UP ──event stream ends──▶ CONNECTING
 *   CONNECTING ──does not──▶ AWAY ──answers (tried again and again)──▶ UP
 *
 * UP means that the event stream is open, so that nothing that happens to a container from then on is missed; what
 * happened before is for `changed` to find out. */
#ifndef TERMINALS_PROVISIONER_BACKENDS_DOCKER_LINK_H
#define TERMINALS_PROVISIONER_BACKENDS_DOCKER_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "common/json.h"
#include "provisioner/backends/docker_engine.h"
#include "provisioner/backends/docker_labels.h"

enum docker_link_state { DOCKER_LINK_CONNECTING, DOCKER_LINK_UP, DOCKER_LINK_AWAY };

/* Something happened to a container that some Terminals made. Borrowed during the call. */
struct docker_event {
    const char *action; /* "die", "pause", … */
    const char *container_id;
    struct docker_labels labels;
    int64_t exit_code; /* of "die"; else -1 */
};

struct docker_link_callbacks {
    void *argument;
    void (*changed)(void *argument, enum docker_link_state state);
    void (*event)(void *argument, const struct docker_event *event);
};

struct docker_link;

/* Begins to connect. `makes_network`: the network of docker_network.h is made before it is UP. NULL: no memory. */
struct docker_link *docker_link_open(struct docker_engine *engine, struct event_base *base, bool makes_network,
                                     const struct docker_link_callbacks *callbacks);
void docker_link_close(struct docker_link *link);

/* Where it stands at the moment. */
enum docker_link_state docker_link_state(const struct docker_link *link);
void docker_link_away_error(const struct docker_link *link, struct error *err); /* ERROR_CAPACITY: why it is away */

int64_t docker_link_cpus(const struct docker_link *link); /* of its machine; 0: unknown */

/* `path` as the engine's machine calls it (docker_paths.h). NULL with *err. */
char *docker_link_translate(const struct docker_link *link, const char *path, struct error *err);

/* One line of the event stream; false if it is none. For tests. */
bool docker_event_read(struct json_object *json, struct docker_event *out);

#endif
