#include "provisioner/backends/curl_answer.h"

#include <string.h>

#include "common/cleanup.h"

static size_t take_bytes(char *bytes, size_t size, size_t count, void *argument) {
    struct curl_answer *answer = argument;
    size_t length = size * count;
    if (length > answer->max_bytes - answer->bytes.length) {
        answer->is_too_long = true;
        return 0;
    }
    return buffer_append(&answer->bytes, bytes, length) ? length : 0;
}

void curl_answer_begin(struct curl_answer *answer, CURL *easy) {
    answer->easy = easy;
    answer->error[0] = '\0';
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, answer->error);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_bytes);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, answer);
}

bool curl_answer_has_line(const struct curl_answer *answer) {
    long status = 0;
    if (answer->line == NULL || answer->easy == NULL || answer->bytes.length == 0) {
        return false;
    }
    curl_easy_getinfo(answer->easy, CURLINFO_RESPONSE_CODE, &status);
    return status == 200 && memchr(answer->bytes.data, '\n', answer->bytes.length) != NULL;
}

bool curl_answer_deliver(struct curl_answer *answer) {
    bool is_gone = false;
    /* cppcheck-suppress autoVariables ; it is taken back, or `answer` is gone, before this returns */
    answer->is_gone = &is_gone;
    while (!is_gone && curl_answer_has_line(answer)) {
        const char *end = memchr(answer->bytes.data, '\n', answer->bytes.length);
        size_t length = (size_t)(end - answer->bytes.data);
        cleanup_free char *line = strndup(answer->bytes.data, length);
        buffer_consume(&answer->bytes, length + 1);
        if (line != NULL) {
            answer->line(answer->argument, line, strlen(line));
        }
    }
    if (!is_gone) {
        answer->is_gone = NULL;
    }
    return !is_gone;
}

const char *curl_answer_failure(const struct curl_answer *answer, CURLcode result) {
    if (result == CURLE_OK && !answer->bytes.failed) {
        return NULL;
    }
    return answer->is_too_long     ? "its answer is too long"
           : answer->bytes.failed  ? "out of memory"
           : answer->error[0] != 0 ? answer->error
                                   : curl_easy_strerror(result);
}

void curl_answer_clear(struct curl_answer *answer) {
    if (answer->is_gone != NULL) {
        *answer->is_gone = true;
        answer->is_gone = NULL;
    }
    if (answer->bytes.data != NULL) {
        explicit_bzero(answer->bytes.data, answer->bytes.length);
    }
    buffer_free(&answer->bytes);
    answer->bytes = (struct buffer){0};
    answer->is_too_long = false;
    answer->easy = NULL;
}
