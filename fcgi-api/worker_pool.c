#include "fcgi-api/worker_pool.h"

#include <errno.h>
#include <fcgiapp.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/ipc_client.h"
#include "common/log.h"
#include "fcgi-api/token_waiter.h"

#define STACK_BYTES      (256 * 1024)
#define PEER_PATIENCE_S  5
#define ACCEPT_PAUSE_MS  100
#define BODY_PATIENCE_MS 10000
#define LINGER_MS        200
#define FASTCGI_VERSION  1

/* A request with its connection, on its way through a thread or put aside. */
struct job {
    struct token_waiter waiter; /* at the top: what resume() is given is the job */
    struct worker_pool *pool;
    struct job *next;
    FCGX_Request fcgi;
    struct request request;
    int connection;
    bool is_left;    /* the thread that put it aside has let go of it */
    bool is_resumed; /* before that thread had */
};

struct worker_pool {
    struct worker_pool_options options;
    pthread_mutex_t accepting; /* held by the one thread that waits for a connection */
    pthread_mutex_t lock;      /* for what follows */
    struct job *resumed;       /* in need of a thread */
    struct job **resumed_last;
    size_t put_aside;
    int resumed_fd; /* counts `resumed` */
    size_t started;
    pthread_t threads[];
};

/* The first job that was resumed, or NULL. */
static struct job *take_resumed(struct worker_pool *pool) {
    eventfd_t count = 0;
    if (eventfd_read(pool->resumed_fd, &count) != 0) {
        return NULL;
    }
    pthread_mutex_lock(&pool->lock);
    struct job *job = pool->resumed;
    if (job != NULL) {
        pool->resumed = job->next;
        pool->resumed_last = job->next == NULL ? &pool->resumed : pool->resumed_last;
    }
    pthread_mutex_unlock(&pool->lock);
    return job;
}

/* Waits for a connection, or for a job that was put aside to be resumed. Only one thread of the pool does at a time, so
 * that either wakes one thread and not all of them. -1 and no job: it is time to stop. */
static int next_connection(struct worker_pool *pool, struct job **job) {
    struct pollfd waiting[] = {{.fd = pool->options.stop_fd, .events = POLLIN},
                               {.fd = pool->options.listener, .events = POLLIN},
                               {.fd = pool->resumed_fd, .events = POLLIN}};
    int fd = -1;
    *job = NULL;
    pthread_mutex_lock(&pool->accepting);
    while (fd < 0) {
        if (poll(waiting, 3, -1) < 0 && errno != EINTR) {
            log_error(NULL, "wait on %s: errno %d", pool->options.name, errno);
            poll(NULL, 0, ACCEPT_PAUSE_MS);
            continue;
        }
        *job = waiting[2].revents != 0 ? take_resumed(pool) : NULL;
        if (*job != NULL || waiting[0].revents != 0) {
            break;
        }
        fd = accept4(pool->options.listener, NULL, NULL, SOCK_CLOEXEC);
        /* EAGAIN: a predecessor that is ending shares the listener and was faster. */
        if (fd < 0 && errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
            log_error(NULL, "accept on %s: errno %d", pool->options.name, errno);
            poll(&waiting[0], 1, ACCEPT_PAUSE_MS);
        }
    }
    pthread_mutex_unlock(&pool->accepting);
    return fd;
}

/* HAProxy checks our health by asking for our limits (FCGI_GET_VALUES, FastCGI 1.0 §4.1), or just connects and leaves.
 * We name none. libfcgi would answer too, but only once something follows the question. Returns true if that was all.
 */
static bool serve_health_check(int connection) {
    enum { HEADER_BYTES = 8, TYPE = 1, GET_VALUES = 9, GET_VALUES_RESULT = 10 };
    static const unsigned char no_values[HEADER_BYTES] = {FASTCGI_VERSION, GET_VALUES_RESULT};
    unsigned char header[HEADER_BYTES];
    ssize_t length = recv(connection, header, HEADER_BYTES, MSG_PEEK | MSG_WAITALL);
    if (length == HEADER_BYTES && header[TYPE] == GET_VALUES) {
        /* What is read is not lost by closing; what is not may become a reset that overtakes the answer. */
        recv(connection, header, HEADER_BYTES, 0);
        send(connection, no_values, HEADER_BYTES, MSG_NOSIGNAL);
        return true;
    }
    return length <= 0;
}

/* Reads the request that comes on a connection of ours. libfcgi has no call for that: FCGX_Accept_r() accepts by itself
 * unless the request has a connection left from an earlier one (ipcFd) that is kept (keepConnection, which the new
 * request sets anew). So we make it look like that, and get timeouts and a prompt stop, neither of which its own accept
 * has. It has no listening socket to fall back to when the request turns out to be none. */
static bool read_request(FCGX_Request *request, int connection) {
    request->ipcFd = connection;
    request->keepConnection = 1;
    /* libfcgi takes parameters that end in the middle, at the end of the connection, for whole. */
    return FCGX_Accept_r(request) == 0 && FCGX_GetError(request->in) == 0;
}

/* For struct request. libfcgi blocks until something comes, and no longer than the socket's patience: the time is
 * looked at whenever something has come. */
static int read_body(void *argument, size_t max_bytes, struct buffer *body) {
    FCGX_Request *fcgi = argument;
    const char *told = FCGX_GetParam("CONTENT_LENGTH", fcgi->envp);
    unsigned long long length = told == NULL ? 0 : strtoull(told, NULL, 10);
    int64_t deadline_ms = clock_monotonic_ms() + BODY_PATIENCE_MS;
    if (length > max_bytes) {
        return 413;
    }
    for (int byte = FCGX_GetChar(fcgi->in); byte >= 0; byte = FCGX_GetChar(fcgi->in)) {
        size_t more = (size_t)(fcgi->in->stop - fcgi->in->rdNext);
        if (body->length + 1 + more > max_bytes) {
            return 413;
        }
        char *room = buffer_reserve(body, more + 1);
        if (room == NULL) {
            return 500;
        }
        room[0] = (char)byte;
        if (more > 0 && FCGX_GetStr(room + 1, (int)more, fcgi->in) != (int)more) {
            return 400;
        }
        body->length += more + 1;
        if (clock_monotonic_ms() > deadline_ms) {
            return 408;
        }
    }
    bool is_late = FCGX_GetError(fcgi->in) != 0;
    return is_late ? 408 : body->length < length ? 400 : 0;
}

/* token_waiter.h: gives the job to a thread of its pool, unless one still has it. */
static void resume(struct token_waiter *waiter) {
    struct job *job = (struct job *)waiter;
    struct worker_pool *pool = job->pool;
    pthread_mutex_lock(&pool->lock);
    if (job->is_left) {
        pool->put_aside--;
        job->next = NULL;
        *pool->resumed_last = job;
        pool->resumed_last = &job->next;
        eventfd_write(pool->resumed_fd, 1);
    } else {
        job->is_resumed = true;
    }
    pthread_mutex_unlock(&pool->lock);
}

/* Lets go of a job that was put aside. False: it was resumed already, and is still the caller's. */
static bool leave(struct job *job) {
    struct worker_pool *pool = job->pool;
    pthread_mutex_lock(&pool->lock);
    bool is_left = !job->is_resumed;
    job->is_left = is_left;
    pool->put_aside += is_left;
    pthread_mutex_unlock(&pool->lock);
    return is_left;
}

static bool may_be_put_aside(struct worker_pool *pool) {
    pthread_mutex_lock(&pool->lock);
    bool has_room = pool->put_aside < pool->options.put_aside_max;
    pthread_mutex_unlock(&pool->lock);
    return has_room;
}

/* A line of the access log: the path without its query, which may hold a token. */
static void log_access(const struct job *job, const struct answer *answer) {
    const char *method = request_parameter(&job->request, "REQUEST_METHOD");
    const char *target = request_parameter(&job->request, "REQUEST_URI");
    if (job->pool->options.api->settings->access_log && method != NULL && target != NULL) {
        log_info(request_id(&job->request), "%s: %s %.*s answered %d", job->pool->options.name, method,
                 (int)strcspn(target, "?"), target, answer->status);
    }
}

/* False: the request was put aside. */
static bool answer_request(struct job *job, const struct provisioner *provisioner) {
    cleanup_answer struct answer answer = {0};
    cleanup_buffer struct buffer text = {0};
    bool may_wait = job->waiter.is_settled || may_be_put_aside(job->pool);
    job->request.waiter = may_wait ? &job->waiter : NULL;
    job->pool->options.answer(job->pool->options.api, provisioner, &job->request, &answer);
    if (job->request.is_put_aside) {
        return false;
    }
    log_access(job, &answer);
    if (answer_write(&answer, &text)) {
        FCGX_PutStr(text.data, (int)text.length, job->fcgi.out);
    } else {
        log_error(request_id(&job->request), "no memory for an answer");
    }
    return true;
}

static struct json_object *call_provisioner(void *argument, struct json_object *request, int timeout_ms,
                                            struct error *err) {
    return ipc_client_call(argument, request, timeout_ms, err);
}

/* Ends a connection whose peer may still be sending a body that nobody reads: closing at once would be a reset, which
 * overtakes the answer. libfcgi has a way of its own that waits for seconds, as long as the peer pleases. */
static void linger(int connection) {
    char unread[4096];
    struct pollfd waiting = {.fd = connection, .events = POLLIN};
    int64_t deadline_ms = clock_monotonic_ms() + LINGER_MS;
    int64_t left_ms = LINGER_MS;
    shutdown(connection, SHUT_WR);
    while (left_ms > 0 && poll(&waiting, 1, (int)left_ms) > 0 && recv(connection, unread, sizeof unread, 0) > 0) {
        left_ms = deadline_ms - clock_monotonic_ms();
    }
}

/* Also a connection that the peer asked us to keep. */
static void job_free(struct job *job) {
    FCGX_Free(&job->fcgi, 1);
    close(job->connection);
    free(job);
}

/* Answers the request of a job, or leaves it to the waiter. */
static void serve(struct job *job, const struct provisioner *provisioner) {
    while (!answer_request(job, provisioner)) {
        if (leave(job)) {
            return;
        }
    }
    FCGX_Detach(&job->fcgi); /* closes without waiting */
    FCGX_Finish_r(&job->fcgi);
    FCGX_Free(&job->fcgi, 1);
    linger(job->connection);
    job_free(job);
}

/* Takes `connection` over. NULL: no memory, no descriptor, or no request. */
static struct job *job_new(struct worker_pool *pool, int accepted) {
    cleanup_close int connection = accepted;
    struct job *job = calloc(1, sizeof *job);
    /* libfcgi closes the descriptor it is given; with another one the connection lasts until we are done with it. */
    int given = job == NULL ? -1 : fcntl(connection, F_DUPFD_CLOEXEC, 0);
    if (given < 0) {
        log_error(NULL, "no descriptor for a request on %s", pool->options.name);
        free(job);
        return NULL;
    }
    job->pool = pool;
    job->waiter.resume = resume;
    job->connection = steal_fd(&connection);
    FCGX_InitRequest(&job->fcgi, -1, 0);
    if (!read_request(&job->fcgi, given)) {
        log_warning(NULL, "a peer on %s sent no whole request", pool->options.name);
        job_free(job);
        return NULL;
    }
    job->request = (struct request){.parameters = job->fcgi.envp, .read_body = read_body, .body_argument = &job->fcgi};
    return job;
}

static void serve_connection(struct worker_pool *pool, const struct provisioner *provisioner, int connection) {
    static const struct timeval patience = {.tv_sec = PEER_PATIENCE_S};
    setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (serve_health_check(connection)) {
        close(connection);
        return;
    }
    struct job *job = job_new(pool, connection);
    if (job != NULL) {
        serve(job, provisioner);
    }
}

static void *work(void *argument) {
    struct worker_pool *pool = argument;
    struct ipc_client *client = ipc_client_new(pool->options.provisioner_path);
    if (client == NULL) {
        log_error(NULL, "no memory for a thread of %s", pool->options.name);
        return NULL;
    }
    struct provisioner provisioner = {call_provisioner, client};
    struct job *job = NULL;
    for (int connection = next_connection(pool, &job); connection >= 0 || job != NULL;
         connection = next_connection(pool, &job)) {
        if (job != NULL) {
            serve(job, &provisioner);
        } else {
            serve_connection(pool, &provisioner, connection);
        }
    }
    ipc_client_free(client);
    return NULL;
}

static bool start_threads(struct worker_pool *pool, struct error *err) {
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    int problem = 0;
    while (problem == 0 && pool->started < pool->options.threads) {
        problem = pthread_create(&pool->threads[pool->started], &attributes, work, pool);
        pool->started += problem == 0;
    }
    pthread_attr_destroy(&attributes);
    errno = problem;
    return problem == 0 ||
           error_set_errno(err, ERROR_INTERNAL, "start thread %zu of %s", pool->started + 1, pool->options.name);
}

struct worker_pool *worker_pool_start(const struct worker_pool_options *options, struct error *err) {
    int flags = fcntl(options->listener, F_GETFL);
    if (flags < 0 || fcntl(options->listener, F_SETFL, flags | O_NONBLOCK) != 0) {
        error_set_errno(err, ERROR_INTERNAL, "set up the socket %s", options->name);
        return NULL;
    }
    struct worker_pool *pool = calloc(1, sizeof *pool + options->threads * sizeof pool->threads[0]);
    if (pool == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    pool->options = *options;
    pool->resumed_last = &pool->resumed;
    pool->resumed_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE);
    if (pool->resumed_fd < 0) {
        error_set_errno(err, ERROR_INTERNAL, "make an eventfd");
        free(pool);
        return NULL;
    }
    pthread_mutex_init(&pool->accepting, NULL);
    pthread_mutex_init(&pool->lock, NULL);
    /* On failure the pool is leaked: its threads may be running, and the process ends. */
    return start_threads(pool, err) ? pool : NULL;
}

bool worker_pool_join(struct worker_pool *pool, int64_t deadline_ms) {
    /* pthread_clockjoin_np: the wall clock may jump, ours may not. */
    struct timespec deadline = {.tv_sec = deadline_ms / 1000, .tv_nsec = deadline_ms % 1000 * 1000000};
    for (; pool->started > 0; pool->started--) {
        if (pthread_clockjoin_np(pool->threads[pool->started - 1], NULL, CLOCK_MONOTONIC, &deadline) != 0) {
            return false;
        }
    }
    while (pool->resumed != NULL) {
        struct job *job = pool->resumed;
        pool->resumed = job->next;
        job_free(job);
    }
    close(pool->resumed_fd);
    pthread_mutex_destroy(&pool->accepting);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
    return true;
}
