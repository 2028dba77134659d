#include "fcgi-api/open_webui.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>
#include <utlist.h>

#include "common/buffer.h"
#include "common/clock.h"
#include "common/log.h"
#include "fcgi-api/jwt.h"
#include "fcgi-api/open_webui_answer.h"
#include "fcgi-api/verdicts.h"

#define PATH              "/api/v1/auths/"
#define TIMEOUT_MS        10000L
#define CONNECTIONS_MAX   32L
#define ANSWER_MAX_BYTES  (1024 * 1024) /* Open WebUI puts the user's picture in */
#define IDLE_MS           60000
#define MILLISECONDS_IN_S 1000

/* One question, from open_webui_check() until its outcome is known. */
struct question {
    struct question *next; /* not asked yet */
    char digest[DIGEST_HEX_SIZE];
    int64_t token_expires_at_ms;
    CURL *curl;
    struct curl_slist *headers; /* hold the token */
    struct buffer answer;
    bool is_too_long;
    struct token_waiter *waiters;
    bool is_shared;
    UT_hash_handle hh; /* those that may be shared, and are not answered yet */
};

struct open_webui {
    char *url; /* of the call */
    int64_t ttl_ms;
    struct identity_announcer *announcer;
    CURLM *multi; /* the thread's own, but for curl_multi_wakeup() */
    pthread_mutex_t lock;
    bool is_stopping;
    struct verdicts *verdicts;
    struct question *by_digest;
    struct question *new_questions;
    struct question *asked; /* the thread's own list */
    bool is_failing;        /* the thread's own: was said in the log */
};

static void question_free(struct question *question) {
    if (question == NULL) {
        return;
    }
    curl_easy_cleanup(question->curl);
    if (question->headers != NULL && question->headers->data != NULL) {
        explicit_bzero(question->headers->data, strlen(question->headers->data));
    }
    curl_slist_free_all(question->headers);
    buffer_free(&question->answer);
    free(question);
}

struct open_webui *open_webui_new(const char *url, int64_t ttl_seconds, struct identity_announcer *announcer,
                                  struct error *err) {
    struct open_webui *open_webui = calloc(1, sizeof *open_webui);
    if (open_webui == NULL || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        free(open_webui);
        error_set(err, ERROR_INTERNAL, "out of memory, or libcurl does not start");
        return NULL;
    }
    pthread_mutex_init(&open_webui->lock, NULL);
    open_webui->ttl_ms = ttl_seconds * MILLISECONDS_IN_S;
    open_webui->announcer = announcer;
    open_webui->multi = curl_multi_init();
    open_webui->verdicts = verdicts_new();
    if (asprintf(&open_webui->url, "%s" PATH, url) < 0) {
        open_webui->url = NULL;
    }
    if (open_webui->multi == NULL || open_webui->verdicts == NULL || open_webui->url == NULL ||
        curl_multi_setopt(open_webui->multi, CURLMOPT_MAX_HOST_CONNECTIONS, CONNECTIONS_MAX) != CURLM_OK) {
        open_webui_free(open_webui);
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    return open_webui;
}

void open_webui_free(struct open_webui *open_webui) {
    if (open_webui == NULL) {
        return;
    }
    curl_multi_cleanup(open_webui->multi);
    verdicts_free(open_webui->verdicts);
    pthread_mutex_destroy(&open_webui->lock);
    free(open_webui->url);
    free(open_webui);
    curl_global_cleanup();
}

/* --- a question --------------------------------------------------------------------------------------------------- */

static size_t take_bytes(char *bytes, size_t size, size_t count, void *argument) {
    struct question *question = argument;
    size_t length = size * count;
    question->is_too_long = question->answer.length + length > ANSWER_MAX_BYTES;
    return !question->is_too_long && buffer_append(&question->answer, bytes, length) ? length : 0;
}

static struct curl_slist *make_headers(const char *token) {
    char *header = NULL;
    if (asprintf(&header, "Authorization: Bearer %s", token) < 0) {
        return NULL;
    }
    struct curl_slist *headers = curl_slist_append(NULL, header);
    explicit_bzero(header, strlen(header));
    free(header);
    return headers;
}

/* Straight to the URL, with nothing that could bring the token elsewhere: no proxy, no redirect, no other protocol, and
 * a certificate that is verified. */
static bool prepare(struct question *question, const char *url) {
    CURL *curl = question->curl;
    return curl_easy_setopt(curl, CURLOPT_URL, url) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_PROXY, "") == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 2L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, TIMEOUT_MS) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_HTTPHEADER, question->headers) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_bytes) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_WRITEDATA, question) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_PRIVATE, question) == CURLE_OK;
}

static struct question *question_new(const char *url, const char *token, const char *digest) {
    struct question *question = calloc(1, sizeof *question);
    if (question == NULL) {
        return NULL;
    }
    memcpy(question->digest, digest, strnlen(digest, DIGEST_HEX_LENGTH));
    question->token_expires_at_ms = jwt_expiry_ms(token);
    question->curl = curl_easy_init();
    question->headers = make_headers(token);
    if (question->curl == NULL || question->headers == NULL || !prepare(question, url)) {
        question_free(question);
        return NULL;
    }
    return question;
}

/* The lock is held. */
static bool ask(struct open_webui *open_webui, const char *token, const char *digest, struct token_waiter *waiter) {
    struct question *question = NULL;
    HASH_FIND_STR(open_webui->by_digest, digest, question);
    if (question == NULL) {
        question = question_new(open_webui->url, token, digest);
        if (question == NULL) {
            return false;
        }
        question->is_shared = open_webui->ttl_ms > 0;
        if (question->is_shared) {
            HASH_ADD_STR(open_webui->by_digest, digest, question);
        }
        question->next = open_webui->new_questions;
        open_webui->new_questions = question;
        curl_multi_wakeup(open_webui->multi);
    }
    waiter->next = question->waiters;
    question->waiters = waiter;
    return true;
}

bool open_webui_check(struct open_webui *open_webui, const char *token, const char *digest, bool familiar_only,
                      struct token_waiter *waiter, struct token_outcome *outcome) {
    bool is_known = true;
    *outcome = (struct token_outcome){0};
    pthread_mutex_lock(&open_webui->lock);
    int64_t now_ms = clock_monotonic_ms();
    enum verdict verdict = verdicts_find(open_webui->verdicts, digest, now_ms, outcome->user_id);
    if (verdict == VERDICT_UNKNOWN && familiar_only && !verdicts_is_familiar(open_webui->verdicts, digest, now_ms)) {
        verdict = VERDICT_REFUSED;
    }
    if (verdict == VERDICT_REFUSED) {
        error_set(&outcome->err, ERROR_UNAUTHORIZED, "Invalid token");
    } else if (verdict == VERDICT_UNKNOWN && (waiter == NULL || open_webui->is_stopping)) {
        error_set(&outcome->err, ERROR_CAPACITY, "Too many tokens are being checked");
    } else if (verdict == VERDICT_UNKNOWN) {
        is_known = !ask(open_webui, token, digest, waiter);
        if (is_known) {
            error_set(&outcome->err, ERROR_INTERNAL, "out of memory");
        }
    }
    pthread_mutex_unlock(&open_webui->lock);
    return is_known;
}

/* --- the answers -------------------------------------------------------------------------------------------------- */

/* What is good is remembered until then, by us and in the map; 0: not at all. */
static int64_t remember_until_ms(const struct open_webui *open_webui, const struct question *question, int64_t now_ms) {
    int64_t until_ms = now_ms + open_webui->ttl_ms;
    until_ms = question->token_expires_at_ms < until_ms ? question->token_expires_at_ms : until_ms;
    return until_ms > now_ms ? until_ms : 0;
}

static void remember(struct open_webui *open_webui, const struct question *question,
                     const struct token_outcome *outcome) {
    int64_t now_ms = clock_unix_ms();
    int64_t monotonic_ms = clock_monotonic_ms();
    if (outcome->err.code == ERROR_UNAUTHORIZED) {
        verdicts_refuse(open_webui->verdicts, question->digest, monotonic_ms);
        return;
    }
    if (outcome->err.code != ERROR_NONE) {
        return;
    }
    int64_t until_ms = remember_until_ms(open_webui, question, now_ms);
    verdicts_accept(open_webui->verdicts, question->digest, outcome->user_id, monotonic_ms,
                    until_ms > 0 ? monotonic_ms + until_ms - now_ms : monotonic_ms);
    if (until_ms > 0) {
        identity_announcer_tell(open_webui->announcer, question->digest, outcome->user_id, until_ms);
    }
}

static void resume_all(struct token_waiter *waiters, const struct token_outcome *outcome) {
    while (waiters != NULL) {
        struct token_waiter *waiter = waiters;
        waiters = waiter->next;
        waiter->outcome = *outcome;
        waiter->is_settled = true;
        waiter->resume(waiter);
    }
}

/* Frees the question. From the moment its waiters are taken off nobody can find it any more. */
static void settle(struct open_webui *open_webui, struct question *question, const struct token_outcome *outcome) {
    curl_multi_remove_handle(open_webui->multi, question->curl);
    LL_DELETE(open_webui->asked, question);
    pthread_mutex_lock(&open_webui->lock);
    remember(open_webui, question, outcome);
    if (question->is_shared) {
        HASH_DEL(open_webui->by_digest, question);
    }
    struct token_waiter *waiters = question->waiters;
    pthread_mutex_unlock(&open_webui->lock);
    question_free(question);
    resume_all(waiters, outcome);
}

/* A line when it begins and one when it is over, however many wait. */
static void log_failure(struct open_webui *open_webui, const struct error *err) {
    bool is_failing = err->code != ERROR_NONE && err->code != ERROR_UNAUTHORIZED;
    if (is_failing && !open_webui->is_failing) {
        log_error(NULL, "users' tokens cannot be checked: %s", err->message);
    } else if (!is_failing && open_webui->is_failing) {
        log_info(NULL, "Open WebUI answers again");
    }
    open_webui->is_failing = is_failing;
}

static void take_answer(struct open_webui *open_webui, struct question *question, CURLcode result) {
    struct token_outcome outcome = {0};
    long status = 0;
    curl_easy_getinfo(question->curl, CURLINFO_RESPONSE_CODE, &status);
    if (question->is_too_long) {
        error_set(&outcome.err, ERROR_BACKEND, "Open WebUI's answer is too long");
    } else if (result != CURLE_OK) {
        error_set(&outcome.err, ERROR_BACKEND, "Open WebUI is not reachable: %s", curl_easy_strerror(result));
    } else {
        const char *body = question->answer.data == NULL ? "" : question->answer.data;
        open_webui_read_answer(status, body, question->answer.length, &outcome);
    }
    log_failure(open_webui, &outcome.err);
    settle(open_webui, question, &outcome);
}

static void take_answers(struct open_webui *open_webui) {
    int left = 0;
    for (CURLMsg *message = curl_multi_info_read(open_webui->multi, &left); message != NULL;
         message = curl_multi_info_read(open_webui->multi, &left)) {
        char *question = NULL;
        CURLcode result = message->data.result;
        if (message->msg == CURLMSG_DONE &&
            curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &question) == CURLE_OK) {
            take_answer(open_webui, (struct question *)(void *)question, result);
        }
    }
}

static void fail(struct open_webui *open_webui, struct question *question, enum error_code code, const char *why) {
    struct token_outcome outcome = {0};
    error_set(&outcome.err, code, "%s", why);
    settle(open_webui, question, &outcome);
}

/* Returns whether it is time to stop. */
static bool take_questions(struct open_webui *open_webui) {
    pthread_mutex_lock(&open_webui->lock);
    bool is_stopping = open_webui->is_stopping;
    struct question *questions = open_webui->new_questions;
    open_webui->new_questions = NULL;
    pthread_mutex_unlock(&open_webui->lock);
    while (questions != NULL) {
        struct question *question = questions;
        questions = question->next;
        LL_PREPEND(open_webui->asked, question);
        if (curl_multi_add_handle(open_webui->multi, question->curl) != CURLM_OK) {
            fail(open_webui, question, ERROR_INTERNAL, "out of memory");
        }
    }
    return is_stopping;
}

void open_webui_run(struct open_webui *open_webui) {
    int running = 0;
    while (!take_questions(open_webui)) {
        curl_multi_perform(open_webui->multi, &running);
        take_answers(open_webui);
        curl_multi_poll(open_webui->multi, NULL, 0, IDLE_MS, NULL);
    }
    while (open_webui->asked != NULL) {
        fail(open_webui, open_webui->asked, ERROR_CAPACITY, "Terminals is shutting down");
    }
}

void open_webui_stop(struct open_webui *open_webui) {
    if (open_webui != NULL) {
        pthread_mutex_lock(&open_webui->lock);
        open_webui->is_stopping = true;
        pthread_mutex_unlock(&open_webui->lock);
        curl_multi_wakeup(open_webui->multi);
    }
}
