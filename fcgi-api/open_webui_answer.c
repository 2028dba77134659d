#include "fcgi-api/open_webui_answer.h"

#include <string.h>

#include "common/json.h"

#define ANYBODY "*"

static void read_user(const char *body, size_t length, struct token_outcome *outcome) {
    cleanup_json struct json_object *user = json_parse_object(body, length, NULL);
    const char *id = user == NULL ? NULL : json_get_string(user, "id");
    const char *role = user == NULL ? NULL : json_get_string(user, "role");
    if (id == NULL || !name_check_user_id(id, NULL) || strcmp(id, ANYBODY) == 0) {
        error_set(&outcome->err, ERROR_BACKEND,
                  "Open WebUI's answer names no user: is TERMINALS_OPEN_WEBUI_URL the address of Open WebUI itself?");
    } else if (role != NULL && strcmp(role, "pending") == 0) {
        error_set(&outcome->err, ERROR_UNAUTHORIZED, "Invalid token");
    } else {
        memcpy(outcome->user_id, id, strlen(id) + 1);
    }
}

void open_webui_read_answer(long status, const char *body, size_t length, struct token_outcome *outcome) {
    *outcome = (struct token_outcome){0};
    if (status == 200) {
        read_user(body, length, outcome);
    } else if (status == 401 || status == 403) {
        error_set(&outcome->err, ERROR_UNAUTHORIZED, "Invalid token");
    } else {
        error_set(&outcome->err, ERROR_BACKEND, "Open WebUI cannot check tokens: it answered %ld", status);
    }
}
