#include "cli/admin_client.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/api_key.h"
#include "common/buffer.h"
#include "common/cleanup.h"
#include "common/secret.h"

#define TIMEOUT_SECONDS  60
#define ANSWER_MAX_BYTES (64 * 1024 * 1024)
#define LOCAL_URL        "http://localhost"
#define SOCKET_NAME      "haproxy-local.sock"

struct admin_client {
    CURL *curl;
    struct curl_slist *headers; /* holds the key */
    char *url;                  /* without a slash at the end */
};

static void headers_free(struct curl_slist *headers) {
    for (struct curl_slist *header = headers; header != NULL; header = header->next) {
        explicit_bzero(header->data, strlen(header->data));
    }
    curl_slist_free_all(headers);
}

void admin_client_close(struct admin_client *client) {
    if (client == NULL) {
        return;
    }
    headers_free(client->headers);
    if (client->curl != NULL) {
        curl_easy_cleanup(client->curl);
    }
    free(client->url);
    free(client);
    curl_global_cleanup();
}

static bool add_header(struct admin_client *client, const char *text) {
    struct curl_slist *longer = curl_slist_append(client->headers, text);
    if (longer != NULL) {
        client->headers = longer;
    }
    return longer != NULL;
}

/* The first of several; NULL with *err. The caller frees with secret_free(). */
static char *find_key(const struct settings *settings, struct error *err) {
    if (settings->api_key != NULL) {
        char *key = strndup(settings->api_key, strcspn(settings->api_key, ","));
        if (key == NULL) {
            error_set(err, ERROR_INTERNAL, "out of memory");
        }
        return key;
    }
    cleanup_free char *path = api_key_path(settings);
    if (path == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    char *key = api_key_load(path, err);
    if (key == NULL && err->code == ERROR_NONE) {
        error_set(err, ERROR_INVALID, "no API key: TERMINALS_API_KEY is not set, and there is no `%s`", path);
    }
    return key;
}

static bool set_key(struct admin_client *client, const struct settings *settings, struct error *err) {
    if (settings->open) {
        return true;
    }
    cleanup_secret char *key = find_key(settings, err);
    cleanup_secret char *header = NULL;
    if (key == NULL) {
        return false;
    }
    if (asprintf(&header, "Authorization: Bearer %s", key) < 0) {
        header = NULL;
    }
    return (header != NULL && add_header(client, header)) || error_set(err, ERROR_INTERNAL, "out of memory");
}

static bool set_place(struct admin_client *client, const struct settings *settings, const char *url,
                      struct error *err) {
    cleanup_free char *path = NULL;
    client->url = strdup(url == NULL ? LOCAL_URL : url);
    if (client->url == NULL || asprintf(&path, "%s/" SOCKET_NAME, settings->run_dir) < 0) {
        path = NULL;
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    size_t length = strlen(client->url);
    if (length > 0 && client->url[length - 1] == '/') {
        client->url[length - 1] = '\0';
    }
    return url != NULL ||
           (curl_easy_setopt(client->curl, CURLOPT_UNIX_SOCKET_PATH, path) == CURLE_OK &&
            curl_easy_setopt(client->curl, CURLOPT_PROXY, "") == CURLE_OK) ||
           error_set(err, ERROR_INTERNAL, "out of memory");
}

struct admin_client *admin_client_open(const struct settings *settings, const char *url, struct error *err) {
    *err = (struct error){0};
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        error_set(err, ERROR_INTERNAL, "start libcurl");
        return NULL;
    }
    struct admin_client *client = calloc(1, sizeof *client);
    if (client == NULL) {
        curl_global_cleanup();
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    client->curl = curl_easy_init();
    if (client->curl == NULL || !add_header(client, "Content-Type: application/json")) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        admin_client_close(client);
        return NULL;
    }
    if (!set_place(client, settings, url, err) || !set_key(client, settings, err)) {
        admin_client_close(client);
        return NULL;
    }
    return client;
}

static size_t on_body(char *data, size_t size, size_t count, void *argument) {
    struct buffer *body = argument;
    bool fits = body->length + size * count <= ANSWER_MAX_BYTES && buffer_append(body, data, size * count);
    return fits ? size * count : 0;
}

static enum error_code code_of(long status) {
    return status == 404                    ? ERROR_NOT_FOUND
           : status == 409                  ? ERROR_CONFLICT
           : status == 400 || status == 422 ? ERROR_INVALID
                                            : ERROR_BACKEND;
}

static struct json_object *read_answer(long status, const struct buffer *body, struct error *err) {
    struct json_object *value = json_parse(body->data == NULL ? "" : body->data, body->length, err);
    if (status >= 200 && status < 300 && value != NULL) {
        return value;
    }
    struct json_object *detail = NULL;
    bool says_why = json_object_is_type(value, json_type_object) && json_object_object_get_ex(value, "detail", &detail);
    if (json_object_is_type(detail, json_type_string)) {
        error_set(err, code_of(status), "%s", json_object_get_string(detail));
    } else {
        error_set(err, code_of(status), "status %ld%s%.300s", status, says_why ? ": " : "",
                  says_why ? json_object_to_json_string(detail) : "");
    }
    json_object_put(value);
    return NULL;
}

struct json_object *admin_client_call(struct admin_client *client, const char *method, const char *path,
                                      struct json_object *body, struct error *err) {
    CURL *curl = client->curl;
    cleanup_free char *url = NULL;
    cleanup_buffer struct buffer answer = {0};
    const char *text = body == NULL ? NULL : json_text(body, &(size_t){0});
    if (asprintf(&url, "%s/api/v1%s", client->url, path) < 0) {
        url = NULL;
    }
    if (url == NULL || (body != NULL && text == NULL)) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    long status = 0;
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, client->headers);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)TIMEOUT_SECONDS);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer);
    curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L);
    if (text != NULL) {
        curl_easy_setopt(curl, CURLOPT_POST, 1L);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)strlen(text));
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, text);
    }
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    CURLcode result = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    if (result != CURLE_OK) {
        error_set(err, ERROR_BACKEND, "ask %s: %s", client->url, curl_easy_strerror(result));
        return NULL;
    }
    return read_answer(status, &answer, err);
}
