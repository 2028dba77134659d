// LINK: fcgi-api
/* Any parameters and any body, in both roles: no crash, and every answer is one that the other side can read. Input:
 * lines of `NAME=value`, the body that of `BODY`; a provisioner that answers everything. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "fcgi-api/authorizer.h"
#include "fcgi-api/responder.h"

#define PARAMETERS_MAX 64
#define KEY            "k"

static struct json_object *answer_all(void *argument, struct json_object *request, int timeout_ms, struct error *err) {
    (void)argument;
    (void)timeout_ms;
    /* What goes out must come through the provisioner's parser. */
    size_t length = 0;
    const char *text = json_text(request, &length);
    struct json_object *again = json_parse_object(text, length, err);
    if (again == NULL) {
        abort();
    }
    json_object_put(again);
    json_object_put(request);
    static const char answer[] = "{\"tenant\":{},\"tenants\":[],\"total\":1,\"stats\":{},\"status\":{},\"config\":{},"
                                 "\"policy\":{},\"policies\":[],\"terminals\":[],\"result\":{},\"audit_logs\":[],"
                                 "\"document\":{\"paths\":{\"/\":{\"get\":{\"security\":[]}}}}}";
    return json_parse_object(answer, sizeof answer - 1, err);
}

/* Headers are lines without stray CR or LF, and the body is JSON. */
static void check(const struct answer *answer) {
    struct buffer text = {0};
    if (!answer_write(answer, &text) || memcmp(text.data, "Status: ", strlen("Status: ")) != 0) {
        abort();
    }
    char *body = strstr(text.data, "\r\n\r\n");
    if (body == NULL) {
        abort();
    }
    for (char *at = text.data; at < body; at++) {
        bool is_line_end = at[0] == '\r' && at[1] == '\n';
        if ((unsigned char)*at < 0x20 && !is_line_end) {
            abort();
        }
        at += is_line_end;
    }
    body += 4;
    size_t length = text.length - (size_t)(body - text.data);
    struct error err = {0};
    if (length > 0) {
        struct json_object *json = json_parse(body, length, &err);
        if (err.code != ERROR_NONE) {
            abort();
        }
        json_object_put(json);
    }
    buffer_free(&text);
}

static int read_body(void *argument, size_t max_bytes, struct buffer *body) {
    const char *text = request_parameter(argument, "BODY");
    if (text != NULL && strlen(text) > max_bytes) {
        return 413;
    }
    return text == NULL || buffer_append_string(body, text) ? 0 : 500;
}

static void ask(const struct api *api, const uint8_t *data, size_t size, int role) {
    char *text = strndup((const char *)data, size);
    char *parameters[PARAMETERS_MAX + 1] = {0};
    size_t count = 0;
    char *rest = text;
    for (char *line = strsep(&rest, "\n"); line != NULL && count < PARAMETERS_MAX; line = strsep(&rest, "\n")) {
        parameters[count++] = line;
    }
    struct request request = {.parameters = parameters, .read_body = read_body};
    request.body_argument = &request;
    struct provisioner provisioner = {answer_all, NULL};
    struct answer answer = {0};
    if (role == 0) {
        authorizer_answer(api, &request, &answer);
    } else {
        responder_answer(api, &provisioner, role == 1, &request, &answer);
    }
    check(&answer);
    answer_free(&answer);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static char key[] = KEY;
    /* The first byte chooses the mode, so that most inputs get past the credentials. */
    struct settings settings = {.start_timeout_seconds = 1};
    settings.open = size > 0 && data[0] != 'k';
    settings.api_key = settings.open ? NULL : key;
    struct api api = {.settings = &settings, .openapi = "{}"};
    if (!authenticator_init(&api.authenticator, &settings, NULL)) {
        abort();
    }
    for (int role = 0; role < 3 && size > 0; role++) {
        ask(&api, data + 1, size - 1, role);
    }
    authenticator_free(&api.authenticator);
    return 0;
}
