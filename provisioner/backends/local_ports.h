/* local_ports.h - which ports of 127.0.0.1 our instances have. */
#ifndef TERMINALS_PROVISIONER_BACKENDS_LOCAL_PORTS_H
#define TERMINALS_PROVISIONER_BACKENDS_LOCAL_PORTS_H

#include <stdbool.h>
#include <stdint.h>

struct local_ports {
    uint16_t first;          /* TERMINALS_LOCAL_PORT_RANGE_START */
    uint8_t used[65536 / 8]; /* a bit a port */
};

/* Takes the first port from `first` on that none of our instances has and nobody listens on. 0: there is none. */
uint16_t local_ports_take(struct local_ports *ports);

/* Whether one of our instances has it. */
void local_ports_mark(struct local_ports *ports, uint16_t port, bool used);

/* Whether a server could listen on 127.0.0.1:port this moment. */
bool local_port_is_free(uint16_t port);

#endif
