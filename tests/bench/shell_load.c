/* shell_load.c - a client of many shells over WebSockets (RFC 6455), for the benchmarks: costs little itself, whoever
 * it talks to.
 *
 *   shell_load PORT echo SECONDS PAUSE_US   each shell runs a raw `cat`; one byte there and back, again and again, with
 * a pause between shell_load PORT bulk BYTES              the first shell runs `cat big`, a file of so many bytes in
 * its home shell_load PORT hold                    opens all, says so, and keeps them until its standard input ends
 *
 * Standard input begins with a line for each shell, `PATH TOKEN` (the token goes into the first message), and an empty
 * line. One line of JSON comes out for each phase. Any surprise ends the program with a message and 1.
 */
#include <arpa/inet.h>
#include <err.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SHELLS_MAX   20000
#define BUCKETS      1000000 /* of a microsecond each */
#define CHUNK_BYTES  (256 * 1024)
#define TEXT_FRAME   0x81
#define BINARY_FRAME 0x82

struct shell {
    int fd;
    /* Where its stream of frames stands: the header read so far, and what is left of the payload. */
    unsigned char header[10];
    size_t header_length;
    uint64_t payload_left;
    bool is_data; /* this frame's payload counts */
    uint64_t sent_at_ns;
};

static struct shell shells[SHELLS_MAX];
static size_t shell_count;
static uint32_t latency_us[BUCKETS];

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

static void send_all(const struct shell *shell, const void *data, size_t length) {
    const char *at = data;
    while (length > 0) {
        const ssize_t sent = send(shell->fd, at, length, MSG_NOSIGNAL);
        if (sent < 0) {
            err(1, "send");
        }
        at += sent;
        length -= (size_t)sent;
    }
}

/* A short frame with a mask of zeros, which is a valid one (§5.3). */
static void send_frame(const struct shell *shell, unsigned char opcode, const char *payload, size_t length) {
    unsigned char frame[8 + 65536] = {opcode};
    size_t at = 2;
    if (length < 126) {
        frame[1] = (unsigned char)(0x80 | length);
    } else if (length <= 65535) {
        frame[1] = 0x80 | 126;
        frame[at++] = (unsigned char)(length >> 8);
        frame[at++] = (unsigned char)length;
    } else {
        errx(1, "a message of %zu bytes", length);
    }
    memset(frame + at, 0, 4);
    memcpy(frame + at + 4, payload, length);
    send_all(shell, frame, at + 4 + length);
}

/* Goes through received bytes. Returns how many bytes of payload they hold, and copies up to `room` of those to `into`.
 */
static size_t take(struct shell *shell, const unsigned char *data, size_t length, char *into, size_t room) {
    size_t total = 0;
    while (length > 0) {
        if (shell->payload_left > 0) {
            const size_t part = shell->payload_left < length ? (size_t)shell->payload_left : length;
            if (shell->is_data) {
                const size_t kept = total >= room ? 0 : part < room - total ? part : room - total;
                if (kept > 0) {
                    memcpy(into + total, data, kept);
                }
                total += part;
            }
            shell->payload_left -= part;
            data += part;
            length -= part;
            continue;
        }
        shell->header[shell->header_length++] = *data++;
        length--;
        const unsigned char *header = shell->header;
        const size_t wanted = shell->header_length < 2    ? 2
                              : (header[1] & 0x7F) == 127 ? 10
                              : (header[1] & 0x7F) == 126 ? 4
                                                          : 2;
        if (shell->header_length < wanted) {
            continue;
        }
        uint64_t size = header[1] & 0x7F;
        if (wanted > 2) {
            size = 0;
            for (size_t i = 2; i < wanted; i++) {
                size = size << 8 | header[i];
            }
        }
        if ((header[0] & 0x0F) == 8) {
            errx(1, "the server closed a WebSocket");
        }
        shell->is_data = (header[0] & 0x0F) <= 2;
        shell->payload_left = size;
        shell->header_length = 0;
    }
    return total;
}

static size_t receive(struct shell *shell, char *into, size_t room) {
    static unsigned char data[CHUNK_BYTES];
    const ssize_t got = recv(shell->fd, data, sizeof(data), 0);
    if (got <= 0) {
        err(1, got == 0 ? "the server hung up" : "recv");
    }
    return take(shell, data, (size_t)got, into, room);
}

/* Reads until the shell has printed this. What comes after it in the same moment is lost. */
static void read_until(struct shell *shell, const char *mark) {
    char text[CHUNK_BYTES + 1];
    size_t length = 0;
    for (;;) {
        length += receive(shell, text + length, sizeof(text) - 1 - length);
        text[length < sizeof(text) ? length : sizeof(text) - 1] = '\0';
        if (strstr(text, mark) != NULL) {
            return;
        }
        if (length >= sizeof(text) / 2) {
            errx(1, "a shell says much, but not %s", mark);
        }
    }
}

static void handshake(struct shell *shell, const char *path, const char *token) {
    char text[8192];
    int length = snprintf(text, sizeof(text),
                          "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
                          path);
    send_all(shell, text, (size_t)length);
    size_t got = 0;
    do {
        /* Byte by byte, so that no frame is taken with the head. */
        if (got == sizeof(text) - 1 || recv(shell->fd, text + got, 1, 0) != 1) {
            errx(1, "no answer to the handshake: %.*s", (int)got, text);
        }
        text[++got] = '\0';
    } while (strstr(text, "\r\n\r\n") == NULL);
    if (strncmp(text, "HTTP/1.1 101", 12) != 0) {
        errx(1, "the handshake was answered: %s", text);
    }
    length = snprintf(text, sizeof(text), "{\"type\":\"auth\",\"token\":\"%s\"}", token);
    send_frame(shell, TEXT_FRAME, text, (size_t)length);
}

static void open_shell(struct shell *shell, uint16_t port, const char *path, const char *token) {
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    shell->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (shell->fd < 0 || connect(shell->fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
        err(1, "connect");
    }
    setsockopt(shell->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    handshake(shell, path, token);
}

static void say(struct shell *shell, const char *line, const char *expected) {
    send_frame(shell, BINARY_FRAME, line, strlen(line));
    read_until(shell, expected);
}

static void press_key(struct shell *shell) {
    static const unsigned char frame[] = {BINARY_FRAME, 0x81, 0, 0, 0, 0, 'x'};
    shell->sent_at_ns = now_ns();
    send_all(shell, frame, sizeof(frame));
}

static double percentile(uint64_t count, double share) {
    uint64_t seen = 0;
    for (size_t i = 0; i < BUCKETS; i++) {
        seen += latency_us[i];
        if ((double)seen >= share * (double)count) {
            return (double)i;
        }
    }
    return BUCKETS;
}

static void echo(double seconds, useconds_t pause_us) {
    const int queue = epoll_create1(EPOLL_CLOEXEC);
    for (size_t i = 0; i < shell_count; i++) {
        say(&shells[i], "stty raw -echo; PS1=; echo raw-$((1+1))\n", "raw-2\n");
        say(&shells[i], "echo cat-$((1+1)); exec cat\n", "cat-2\n");
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &shells[i]};
        epoll_ctl(queue, EPOLL_CTL_ADD, shells[i].fd, &event);
    }
    const uint64_t began = now_ns();
    for (size_t i = 0; i < shell_count; i++) {
        press_key(&shells[i]);
    }
    uint64_t count = 0;
    while ((double)(now_ns() - began) < seconds * 1e9) {
        struct epoll_event events[256];
        const int ready = epoll_wait(queue, events, 256, 5000);
        if (ready <= 0) {
            errx(1, "no echo within 5 s");
        }
        for (int i = 0; i < ready; i++) {
            struct shell *shell = events[i].data.ptr;
            char byte;
            if (receive(shell, &byte, 1) == 0) {
                continue; /* half a frame, or one of control */
            }
            const uint64_t took_us = (now_ns() - shell->sent_at_ns) / 1000;
            latency_us[took_us < BUCKETS ? took_us : BUCKETS - 1]++;
            count++;
            if (pause_us > 0) {
                usleep(pause_us);
            }
            press_key(shell);
        }
    }
    printf("{\"rate\": %.1f, \"count\": %llu, \"median_us\": %.1f, \"late_us\": %.1f}\n", (double)count / seconds,
           (unsigned long long)count, percentile(count, 0.5), percentile(count, 0.99));
    close(queue);
}

static void bulk(uint64_t size) {
    struct shell *shell = &shells[0];
    say(shell, "stty raw -echo; PS1=; echo raw-$((1+1))\n", "raw-2\n");
    const uint64_t began = now_ns();
    send_frame(shell, BINARY_FRAME, "cat big\n", 8);
    for (uint64_t got = 0; got < size;) {
        got += receive(shell, NULL, 0);
    }
    printf("{\"bytes_per_second\": %.0f}\n", (double)size / ((double)(now_ns() - began) / 1e9));
}

int main(int argc, char **argv) {
    const char *mode = argc > 2 ? argv[2] : "";
    if (!(strcmp(mode, "echo") == 0 && argc == 5) && !(strcmp(mode, "bulk") == 0 && argc == 4) &&
        !(strcmp(mode, "hold") == 0 && argc == 3)) {
        errx(2, "usage: shell_load PORT echo SECONDS PAUSE_US | PORT bulk BYTES | PORT hold");
    }
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files); /* where it stays too low, socket() says so */
    }
    const uint16_t port = (uint16_t)strtoul(argv[1], NULL, 10);
    char line[4096];
    char path[2048];
    char token[2048];
    while (fgets(line, sizeof(line), stdin) != NULL && sscanf(line, "%2047s %2047s", path, token) == 2) {
        if (shell_count == SHELLS_MAX) {
            errx(1, "more than %d shells", SHELLS_MAX);
        }
        open_shell(&shells[shell_count++], port, path, token);
    }
    if (shell_count == 0) {
        errx(1, "no shells in the input");
    }
    if (strcmp(mode, "echo") == 0) {
        echo(strtod(argv[3], NULL), (useconds_t)strtoul(argv[4], NULL, 10));
    } else if (strcmp(mode, "bulk") == 0) {
        bulk(strtoull(argv[3], NULL, 10));
    } else {
        printf("{\"open\": %zu}\n", shell_count);
        fflush(stdout);
        while (fgets(line, sizeof(line), stdin) != NULL) {
        }
    }
    return 0;
}
