/* limits.h - how long the gate waits for what. Not settings: nobody needs to turn them, but tests shorten them by
 * passing their own to gate_new(). All in milliseconds. */
#ifndef TERMINALS_GATE_LIMITS_H
#define TERMINALS_GATE_LIMITS_H

struct gate_limits {
    int head;             /* for a whole head of a request */
    int auth_message;     /* for the first message of a WebSocket that must prove itself */
    int authorizer_retry; /* while the authorizer is away */
    int authorizer;       /* for its decision */
    int provisioner_away; /* a call waits for the provisioner to come back */
    int lookup;           /* for an answer that starts nothing */
    int health;           /* for the provisioner's sign of life; HAProxy waits 2 s */
    int linger;           /* for a client to take what it was sent, and to go */
    int stream_end;       /* from the end of one side of a stream to the end of the other */
    int shutdown;         /* for exchanges under way when the gate is told to stop */
};

#define GATE_LIMITS_DEFAULT                                                                                            \
    (struct gate_limits) {                                                                                             \
        .head = 10000, .auth_message = 10000, .authorizer_retry = 5000, .authorizer = 15000,                           \
        .provisioner_away = 10000, .lookup = 15000, .health = 1500, .linger = 2000, .stream_end = 500,                 \
        .shutdown = 3000                                                                                               \
    }

#endif
