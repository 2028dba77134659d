// LINK: instance
/* What a client of a shell sends after the handshake: frames of any kind, in pieces of any size. The first byte says
 * how large the pieces are, the second how much came together with the handshake. */
#include <fcntl.h>

#include "instance/utf8.h"
#include "instance/websocket.c" // NOLINT(bugprone-suspicious-include)

static bool is_closed;

static void on_message(void *owner, bool is_text, const char *bytes, size_t length) {
    if (length > WEBSOCKET_MESSAGE_MAX_BYTES || (is_text && !utf8_is_valid(bytes, length))) {
        abort();
    }
    if (length % 3 == 0) {
        websocket_send(*(struct websocket **)owner, bytes, length);
    } else if (length % 7 == 0) {
        websocket_close(*(struct websocket **)owner, 1000, "enough");
    }
}

static void on_drained(void *owner) {
    (void)owner;
}

static void on_closed(void *owner) {
    (void)owner;
    if (is_closed) {
        abort();
    }
    is_closed = true;
}

static void drain(int fd) {
    char bytes[4096];
    while (recv(fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0) {
    }
}

static void feed(struct websocket *websocket, int peer, const char *bytes, size_t length, size_t piece) {
    while (length > 0 && !is_closed) {
        size_t now = piece < length ? piece : length;
        if (send(peer, bytes, now, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)now) {
            return;
        }
        work(websocket, EPOLLIN);
        drain(peer);
        bytes += now;
        length -= now;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const struct websocket_events events = {on_message, on_drained, on_closed};
    static _Alignas(16) char server[4096]; /* all that is done with it is a flag that is set */
    static struct instance instance;
    int ends[2];
    if (size < 2 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) != 0) {
        return 0;
    }
    if (instance.loop == NULL) {
        instance.loop = loop_new(NULL, NULL);
    }
    is_closed = false;
    const char *bytes = (const char *)data + 2;
    size_t early = data[1] < size - 2 ? data[1] : size - 2;
    struct opening opening = {&instance, (struct http_server *)server, &events, NULL, NULL};
    struct websocket *websocket = websocket_new(&opening, ends[0], NULL, bytes, early);
    if (websocket != NULL) {
        websocket->owner = &websocket;
        work(websocket, EPOLLIN);
        feed(websocket, ends[1], bytes + early, size - 2 - early, data[0] % 64 + 1);
        if (!is_closed) {
            websocket_drop(websocket);
        }
    }
    close(ends[0]);
    close(ends[1]);
    return 0;
}
