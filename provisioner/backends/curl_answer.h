/* curl_answer.h - what arrives for one transfer of curl_loop.h: collected, or handed out line by line as it comes.
 *
 * Embedded in a call and zeroed with it; what is below `easy` may be set before curl_answer_begin(). One thread only.
 */
#ifndef TERMINALS_PROVISIONER_BACKENDS_CURL_ANSWER_H
#define TERMINALS_PROVISIONER_BACKENDS_CURL_ANSWER_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/buffer.h"

struct curl_answer {
    CURL *easy; /* the call's; NULL while there is no transfer */
    /* Of an answer 200 gets each line, without its line feed; may end the call. NULL: everything is collected. */
    void (*line)(void *argument, char *line, size_t length);
    void *argument;
    size_t max_bytes; /* of a line, or of all; more ends the transfer */
    struct buffer bytes;
    bool is_too_long;
    bool *is_gone; /* while lines are handed out: to be set when the call ends */
    char error[CURL_ERROR_SIZE];
};

/* Directs what `easy` receives here. */
void curl_answer_begin(struct curl_answer *answer, CURL *easy);

/* True if there is a line to hand out. */
bool curl_answer_has_line(const struct curl_answer *answer);

/* Hands out the whole lines that have come. False if that ended the call: `answer` is not there any more. */
bool curl_answer_deliver(struct curl_answer *answer);

/* Why the transfer came to nothing, valid as long as the answer; NULL: it did not. */
const char *curl_answer_failure(const struct curl_answer *answer, CURLcode result);

/* Forgets the transfer and zeroes what came: there are secrets in it. For another try, and before the call is freed. */
void curl_answer_clear(struct curl_answer *answer);

#endif
