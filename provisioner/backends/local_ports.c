#include "provisioner/backends/local_ports.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "common/cleanup.h"

bool local_port_is_free(uint16_t port) {
    cleanup_close int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    const int yes = 1;
    /* As the instance will do it: old connections in TIME_WAIT are no obstacle, a listener is. */
    return fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) == 0 &&
           bind(fd, (const struct sockaddr *)&address, sizeof address) == 0 && listen(fd, 1) == 0;
}

void local_ports_mark(struct local_ports *ports, uint16_t port, bool used) {
    uint8_t bit = (uint8_t)(1U << (port % 8));
    if (used) {
        ports->used[port / 8] |= bit;
    } else {
        ports->used[port / 8] &= (uint8_t)~bit;
    }
}

uint16_t local_ports_take(struct local_ports *ports) {
    for (unsigned port = ports->first; port <= UINT16_MAX; port++) {
        bool used = (ports->used[port / 8] & (1U << (port % 8))) != 0;
        if (!used && local_port_is_free((uint16_t)port)) {
            local_ports_mark(ports, (uint16_t)port, true);
            return (uint16_t)port;
        }
    }
    return 0;
}
