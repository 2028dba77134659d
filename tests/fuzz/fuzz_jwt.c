// LINK: fcgi-api
/* Any text as a token: no crash, and none is anybody's unless it was signed with our secret, which the fuzzer does not
 * know; and the same text as Open WebUI's answer. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-api/jwt.h"
#include "fcgi-api/open_webui_answer.h"

#define SECRET "a secret that no fuzzer comes upon: 2a41d6b7"
#define NOW_MS 1800000000000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct jwt_claims claims;
    struct token_outcome outcome;
    struct error err = {0};
    char *text = strndup((const char *)data, size);
    if (text == NULL) {
        return 0;
    }
    if (jwt_verify(text, SECRET, NOW_MS, &claims, &err) || err.code != ERROR_UNAUTHORIZED) {
        abort();
    }
    (void)jwt_expiry_ms(text);
    (void)jwt_is_bearer_token(text);
    open_webui_read_answer(200, text, strlen(text), &outcome);
    if ((outcome.err.code == ERROR_NONE) != (outcome.user_id[0] != '\0') || strcmp(outcome.user_id, "*") == 0) {
        abort();
    }
    free(text);
    return 0;
}
