// LINK: gate
/* Any bytes as the authorizer's answer, and as the chunks of a body: nothing that is broken may allow anybody, and
 * pieces must not matter. The first byte is the size of the pieces. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gate/authorizer_answer.h"
#include "gate/body_framing.h"
#include "gate/fcgi_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_answer(const char *text, size_t length) {
    struct authorizer_answer answer;
    if (!authorizer_answer_parse(&answer, text, length, NULL)) {
        return;
    }
    if (answer.status == 200 && (answer.user == NULL || answer.policy == NULL || answer.context == NULL)) {
        abort();
    }
    authorizer_answer_free(&answer);
}

static void check_records(const uint8_t *bytes, size_t size, size_t piece) {
    struct fcgi_decoder decoder = {0};
    bool is_good = true;
    for (size_t at = 0; is_good && at < size; at += piece) {
        is_good = fcgi_decoder_feed(&decoder, bytes + at, size - at < piece ? size - at : piece, NULL);
    }
    if (is_good && decoder.ended && decoder.output.length > 0) {
        check_answer(decoder.output.data, decoder.output.length);
    }
    fcgi_decoder_free(&decoder);
}

static size_t scan(struct body_framing *framing, const uint8_t *bytes, size_t size, size_t piece) {
    static const struct http_head chunked = {.body = HTTP_BODY_CHUNKED};
    size_t done = 0;
    body_framing_start(framing, &chunked);
    while (done < size && !body_framing_is_done(framing) && !body_framing_is_invalid(framing)) {
        done += body_framing_scan(framing, (const char *)bytes + done, size - done < piece ? size - done : piece);
    }
    return done;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) {
        return 0;
    }
    size_t piece = (size_t)data[0] + 1;
    struct body_framing whole;
    struct body_framing cut;
    check_answer((const char *)data + 1, size - 1);
    check_records(data + 1, size - 1, piece);
    if (scan(&whole, data + 1, size - 1, size) != scan(&cut, data + 1, size - 1, piece) || whole.state != cut.state ||
        whole.data_size != cut.data_size || whole.data_size > size) {
        abort();
    }
    return 0;
}
