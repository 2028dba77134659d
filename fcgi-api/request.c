#include "fcgi-api/request.h"

#include <stdlib.h>
#include <string.h>

#include "common/names.h"
#include "common/text.h"

#define REQUEST_ID_MAX_BYTES   128
#define FOREIGN_TEXT_MAX_BYTES 512

/* The value if `parameter` is the one called `name`. */
static char *value_if_named(char *parameter, const char *name) {
    size_t length = strlen(name);
    return strncmp(parameter, name, length) == 0 && parameter[length] == '=' ? parameter + length + 1 : NULL;
}

const char *request_parameter(const struct request *request, const char *name) {
    for (char **parameter = request->parameters; *parameter != NULL; parameter++) {
        const char *value = value_if_named(*parameter, name);
        if (value != NULL) {
            return value;
        }
    }
    return NULL;
}

size_t request_header_count(const struct request *request, const char *name, const char *count_name) {
    size_t count = 0;
    for (char **parameter = request->parameters; *parameter != NULL; parameter++) {
        count += value_if_named(*parameter, name) != NULL;
    }
    const char *told = count_name == NULL ? NULL : request_parameter(request, count_name);
    unsigned long told_count = told == NULL ? 0 : strtoul(told, NULL, 10);
    return told_count > count ? told_count : count;
}

bool request_single_header(const struct request *request, const char *name, const char *count_name, const char *title,
                           const char **value, struct error *err) {
    *value = request_parameter(request, name);
    return request_header_count(request, name, count_name) <= 1 ||
           error_set(err, ERROR_INVALID, "%s was sent more than once", title);
}

bool request_user_id(const struct request *request, const char **user_id, struct error *err) {
    return request_single_header(request, "HTTP_X_USER_ID", "TERMINALS_USER_ID_COUNT", "X-User-Id", user_id, err) &&
           name_check_user_id(*user_id, err);
}

const char *request_id(const struct request *request) {
    const char *id = request_parameter(request, "TERMINALS_REQUEST_ID");
    if (id == NULL) {
        id = request_parameter(request, "HTTP_X_REQUEST_ID");
    }
    size_t length = 0;
    for (; id != NULL && id[length] != '\0'; length++) {
        if (length == REQUEST_ID_MAX_BYTES || id[length] < 0x21 || id[length] > 0x7e) {
            return NULL;
        }
    }
    return length == 0 ? NULL : id;
}

bool request_add_foreign_text(struct json_object *object, const char *key, const char *text) {
    if (text == NULL || text[0] == '\0') {
        return true;
    }
    char clean[FOREIGN_TEXT_MAX_BYTES + 1];
    size_t used = 0;
    while (*text != '\0') {
        size_t length = text_utf8_character_length(text);
        size_t taken = length == 0 ? 1 : length;
        if (used + taken > FOREIGN_TEXT_MAX_BYTES) {
            break;
        }
        if (length == 0) {
            clean[used] = '?';
        } else {
            memcpy(clean + used, text, length);
        }
        used += taken;
        text += taken;
    }
    clean[used] = '\0';
    return json_add_string(object, key, clean);
}

const char *request_client(const struct request *request) {
    const char *told = request_parameter(request, "TERMINALS_CLIENT");
    const char *seen = request_parameter(request, "REMOTE_ADDR");
    return told != NULL ? told : seen != NULL ? seen : "";
}

struct json_object *request_actor(const struct request *request) {
    struct json_object *actor = json_object_new_object();
    if (actor != NULL &&
        !(request_add_foreign_text(actor, "request_id", request_id(request)) &&
          request_add_foreign_text(actor, "ip", request_client(request)) &&
          request_add_foreign_text(actor, "user_agent", request_parameter(request, "HTTP_USER_AGENT")))) {
        json_object_put(actor);
        return NULL;
    }
    return actor;
}

void request_forget_credentials(struct request *request) {
    for (char **parameter = request->parameters; *parameter != NULL; parameter++) {
        char *value = value_if_named(*parameter, "HTTP_AUTHORIZATION");
        if (value != NULL) {
            explicit_bzero(value, strlen(value));
        }
    }
}
