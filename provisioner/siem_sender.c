#include "provisioner/siem_sender.h"

#include <curl/curl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/buffer.h"
#include "common/cleanup.h"

#define IDLE_POLL_MS                (3600 * 1000)
#define TROUBLE_PAUSE_US            200000
#define IDLE_CONNECTION_MAX_SECONDS 55L /* most servers keep theirs for a minute or more */

struct siem_sender {
    void (*done)(void *argument, const struct siem_answer *answer);
    void *argument;
    CURLM *multi;
    CURL *easy;
    struct curl_slist *headers;
    size_t received; /* of the answer's body */
    char failure[CURL_ERROR_SIZE];
    int answered_fd; /* eventfd: an answer lies there */
    struct event *answered;
    pthread_t thread;
    bool has_thread;

    pthread_mutex_t lock; /* of the rest */
    bool is_stopping;
    char *body; /* to be posted, until the thread takes it */
    struct siem_answer answer;
};

/* --- the thread ----------------------------------------------------------------------------------------------------
 */

/* Instances are forked off beside us: none may inherit a connection. */
static curl_socket_t open_socket(void *argument, curlsocktype purpose, struct curl_sockaddr *address) {
    (void)argument;
    (void)purpose;
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static size_t take_body(const char *data, size_t size, size_t count, void *argument) {
    (void)data;
    struct siem_sender *sender = argument;
    sender->received += size * count;
    return sender->received > SIEM_ANSWER_MAX_BYTES ? 0 : size * count;
}

/* What libcurl itself says may quote parts of the URL; of TLS it tells what is wrong with a certificate. */
static void describe(const struct siem_sender *sender, CURLcode code, char *out, size_t size) {
    bool is_about_tls = code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CONNECT_ERROR;
    snprintf(out, size, "%.60s%s%.90s", curl_easy_strerror(code),
             is_about_tls && sender->failure[0] != '\0' ? ": " : "", is_about_tls ? sender->failure : "");
}

static struct siem_answer read_answer(const struct siem_sender *sender, CURLcode code) {
    struct siem_answer answer = {0};
    long status = 0;
    curl_off_t retry_after = 0;
    curl_easy_getinfo(sender->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(sender->easy, CURLINFO_RETRY_AFTER, &retry_after);
    /* An answer whose body we did not want to read to its end is an answer all the same. */
    if (code == CURLE_OK || (code == CURLE_WRITE_ERROR && sender->received > SIEM_ANSWER_MAX_BYTES)) {
        answer.status = (int)status;
        answer.retry_after_s = retry_after;
    }
    if (answer.status == 0) {
        describe(sender, code, answer.failure, sizeof answer.failure);
    }
    return answer;
}

static void tell(struct siem_sender *sender, const struct siem_answer *answer) {
    const uint64_t one = 1;
    pthread_mutex_lock(&sender->lock);
    sender->answer = *answer;
    pthread_mutex_unlock(&sender->lock);
    if (write(sender->answered_fd, &one, sizeof one) != sizeof one) {
        abort(); /* an eventfd that holds 0 or 1 takes one more */
    }
}

static void begin(struct siem_sender *sender, const char *body) {
    sender->received = 0;
    sender->failure[0] = '\0';
    CURLcode code = curl_easy_setopt(sender->easy, CURLOPT_POSTFIELDSIZE, (long)strlen(body));
    if (code == CURLE_OK) {
        code = curl_easy_setopt(sender->easy, CURLOPT_POSTFIELDS, body);
    }
    if (code == CURLE_OK && curl_multi_add_handle(sender->multi, sender->easy) != CURLM_OK) {
        code = CURLE_OUT_OF_MEMORY;
    }
    if (code != CURLE_OK) {
        const struct siem_answer answer = read_answer(sender, code);
        tell(sender, &answer);
    }
}

static void collect(struct siem_sender *sender) {
    int left = 0;
    for (CURLMsg *message; (message = curl_multi_info_read(sender->multi, &left)) != NULL;) {
        if (message->msg == CURLMSG_DONE) {
            const struct siem_answer answer = read_answer(sender, message->data.result);
            curl_multi_remove_handle(sender->multi, sender->easy);
            tell(sender, &answer);
        }
    }
}

static void *run(void *argument) {
    struct siem_sender *sender = argument;
    cleanup_free char *body = NULL; /* libcurl reads it while it posts */
    for (;;) {
        pthread_mutex_lock(&sender->lock);
        bool is_stopping = sender->is_stopping;
        char *next = steal_pointer(&sender->body);
        pthread_mutex_unlock(&sender->lock);
        if (is_stopping) {
            free(next);
            break;
        }
        if (next != NULL) {
            free(body);
            body = next;
            begin(sender, body);
        }
        int running = 0;
        curl_multi_perform(sender->multi, &running);
        collect(sender);
        if (curl_multi_poll(sender->multi, NULL, 0, IDLE_POLL_MS, NULL) != CURLM_OK) {
            usleep(TROUBLE_PAUSE_US); /* out of memory: it gets better or it does not, but not by asking at once */
        }
    }
    curl_multi_remove_handle(sender->multi, sender->easy);
    return NULL;
}

/* --- the event loop ------------------------------------------------------------------------------------------------
 */

static void on_answered(evutil_socket_t fd, short what, void *argument) {
    (void)what;
    struct siem_sender *sender = argument;
    uint64_t count = 0;
    if (read(fd, &count, sizeof count) != sizeof count) {
        return; /* not ours yet */
    }
    pthread_mutex_lock(&sender->lock);
    const struct siem_answer answer = sender->answer;
    pthread_mutex_unlock(&sender->lock);
    sender->done(sender->argument, &answer);
}

void siem_sender_post(struct siem_sender *sender, char *body) {
    pthread_mutex_lock(&sender->lock);
    free(sender->body);
    sender->body = body;
    pthread_mutex_unlock(&sender->lock);
    curl_multi_wakeup(sender->multi);
}

static bool add_header(struct siem_sender *sender, const char *header) {
    struct curl_slist *longer = curl_slist_append(sender->headers, header);
    sender->headers = longer == NULL ? sender->headers : longer;
    return longer != NULL;
}

static bool add_headers(struct siem_sender *sender, const char *token) {
    if (!add_header(sender, "Content-Type: application/json") || !add_header(sender, "User-Agent: terminals") ||
        !add_header(sender, "Expect:")) { /* no waiting for 100-continue */
        return false;
    }
    if (token == NULL) {
        return true;
    }
    cleanup_buffer struct buffer header = {0};
    bool ok =
        buffer_append_format(&header, "Authorization: %s%s", strchr(token, ' ') == NULL ? "Bearer " : "", token) &&
        add_header(sender, header.data);
    if (header.data != NULL) {
        explicit_bzero(header.data, header.capacity);
    }
    return ok;
}

static bool set_options(struct siem_sender *sender, const char *url) {
    const char *certificates = getenv("SSL_CERT_FILE"); /* as OpenSSL and curl(1) know it */
    CURL *easy = sender->easy;
    bool ok = curl_easy_setopt(easy, CURLOPT_URL, url) == CURLE_OK &&
              curl_easy_setopt(easy, CURLOPT_POST, 1L) == CURLE_OK &&
              curl_easy_setopt(easy, CURLOPT_HTTPHEADER, sender->headers) == CURLE_OK &&
              curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
              curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
              curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) == CURLE_OK &&
              curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, (long)SIEM_CONNECT_TIMEOUT_SECONDS) == CURLE_OK &&
              curl_easy_setopt(easy, CURLOPT_TIMEOUT, (long)SIEM_POST_TIMEOUT_SECONDS) == CURLE_OK &&
              curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, IDLE_CONNECTION_MAX_SECONDS) == CURLE_OK &&
              curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
              curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket) == CURLE_OK &&
              curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body) == CURLE_OK &&
              curl_easy_setopt(easy, CURLOPT_WRITEDATA, sender) == CURLE_OK &&
              curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, sender->failure) == CURLE_OK;
    /* A name server that does not answer shall not delay our end. */
    ok = ok && curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L) == CURLE_OK;
    return ok && (certificates == NULL || curl_easy_setopt(easy, CURLOPT_CAINFO, certificates) == CURLE_OK);
}

/* Signals are the main thread's. */
static bool start_thread(struct siem_sender *sender) {
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    sender->has_thread = pthread_create(&sender->thread, NULL, run, sender) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return sender->has_thread;
}

struct siem_sender *siem_sender_open(const char *url, const char *token, struct event_base *base,
                                     void (*done)(void *argument, const struct siem_answer *answer), void *argument,
                                     struct error *err) {
    struct siem_sender *sender = calloc(1, sizeof *sender);
    if (sender == NULL || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        free(sender);
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    sender->done = done;
    sender->argument = argument;
    pthread_mutex_init(&sender->lock, NULL);
    sender->answered_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    sender->multi = curl_multi_init();
    sender->easy = curl_easy_init();
    sender->answered = sender->answered_fd < 0
                           ? NULL
                           : event_new(base, sender->answered_fd, EV_READ | EV_PERSIST, on_answered, sender);
    if (sender->multi == NULL || sender->easy == NULL || sender->answered == NULL ||
        event_add(sender->answered, NULL) < 0 || !add_headers(sender, token) || !set_options(sender, url) ||
        !start_thread(sender)) {
        error_set(err, ERROR_INTERNAL, "set up the SIEM webhook: out of memory, threads or descriptors");
        siem_sender_close(sender);
        return NULL;
    }
    return sender;
}

void siem_sender_close(struct siem_sender *sender) {
    if (sender == NULL) {
        return;
    }
    if (sender->has_thread) {
        pthread_mutex_lock(&sender->lock);
        sender->is_stopping = true;
        pthread_mutex_unlock(&sender->lock);
        curl_multi_wakeup(sender->multi);
        pthread_join(sender->thread, NULL);
    }
    if (sender->answered != NULL) {
        event_free(sender->answered);
    }
    curl_easy_cleanup(sender->easy);
    curl_multi_cleanup(sender->multi);
    for (struct curl_slist *header = sender->headers; header != NULL; header = header->next) {
        explicit_bzero(header->data, strlen(header->data));
    }
    curl_slist_free_all(sender->headers);
    if (sender->answered_fd >= 0) {
        close(sender->answered_fd);
    }
    pthread_mutex_destroy(&sender->lock);
    curl_global_cleanup();
    free(sender->body);
    free(sender);
}
