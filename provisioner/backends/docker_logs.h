/* docker_logs.h - the last lines that a container wrote, out of the engine's stream of frames. Pure. */
#ifndef TERMINALS_PROVISIONER_BACKENDS_DOCKER_LOGS_H
#define TERMINALS_PROVISIONER_BACKENDS_DOCKER_LOGS_H

#include <stddef.h>

/* Writes into `out` what GET /containers/{id}/logs answered: the frames' contents (8 bytes of header, the last four the
 * length, then the content), lines joined by " / ", control characters left out, the end rather than the beginning
 * where not all fits. A stream that is not framed (a container with a terminal) is taken as it is. */
void docker_logs_join(const char *stream, size_t length, char *out, size_t size);

#endif
