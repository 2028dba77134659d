#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/error.h"
#include "instance/cors.h"
#include "instance/http_request.h"

#define SOURCE_BLOCK_BYTES (16 * 1024)

static const char out_of_memory[] = "{\"detail\":\"Internal Server Error\"}";

void http_respond(struct http_request *request, int status, struct MHD_Response *response) {
    if (request->response != NULL) {
        if (response != NULL) {
            MHD_destroy_response(response);
        }
        return;
    }
    if (response == NULL) {
        status = 500;
        response =
            MHD_create_response_from_buffer(sizeof out_of_memory - 1, (void *)out_of_memory, MHD_RESPMEM_PERSISTENT);
        if (response != NULL) {
            MHD_add_response_header(response, "Content-Type", "application/json");
        }
    }
    request->response = response;
    request->status = status;
    if (request->is_suspended) {
        http_resume(request);
    }
}

enum MHD_Result http_send(struct http_request *request) {
    if (request->response == NULL) {
        return MHD_NO;
    }
    for (const struct http_extra_header *header = request->extra_headers; header != NULL; header = header->next) {
        MHD_add_response_header(request->response, header->name, header->value);
    }
    cors_add_headers(request, request->response);
    return MHD_queue_response(request->connection, (unsigned)request->status, request->response);
}

void http_add_header(struct http_request *request, const char *name, const char *value) {
    for (const char *c = value; *c != '\0'; c++) {
        if (((unsigned char)*c < 0x20 && *c != '\t') || *c == 0x7f) {
            return;
        }
    }
    size_t name_size = strlen(name) + 1;
    size_t value_size = strlen(value) + 1;
    struct http_extra_header *header = malloc(sizeof *header + name_size + value_size);
    if (header == NULL) {
        return;
    }
    memcpy(header->name, name, name_size);
    header->value = header->name + name_size;
    memcpy(header->value, value, value_size);
    header->next = NULL;
    struct http_extra_header **last = &request->extra_headers;
    while (*last != NULL) {
        last = &(*last)->next;
    }
    *last = header;
}

static struct MHD_Response *with_type(struct MHD_Response *response, const char *content_type) {
    if (response != NULL && content_type != NULL) {
        MHD_add_response_header(response, "Content-Type", content_type);
    }
    return response;
}

static void release_json(void *object) {
    json_object_put(object);
}

void http_respond_json(struct http_request *request, int status, struct json_object *body) {
    size_t length = 0;
    const char *text = body != NULL ? json_text(body, &length) : NULL;
    struct MHD_Response *response = NULL;
    if (text != NULL) {
        /* The text belongs to the object, so the object lives as long as the response. */
        response = MHD_create_response_from_buffer_with_free_callback_cls(length, (void *)text, release_json, body);
    }
    if (response == NULL) {
        json_object_put(body);
    }
    http_respond(request, status, with_type(response, "application/json"));
}

void http_respond_error(struct http_request *request, int status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    cleanup_free char *detail = NULL;
    if (vasprintf(&detail, format, arguments) < 0) {
        detail = NULL;
    }
    va_end(arguments);
    struct json_object *body = json_object_new_object();
    if (detail == NULL || body == NULL || !json_add_string(body, "detail", detail)) {
        json_object_put(body);
        body = NULL;
    }
    http_respond_json(request, status, body);
}

void http_respond_buffer(struct http_request *request, int status, const char *content_type, struct buffer *body) {
    size_t length = body->length;
    char *bytes = buffer_take(body);
    struct MHD_Response *response = NULL;
    if (bytes != NULL) {
        response = MHD_create_response_from_buffer(length, bytes, MHD_RESPMEM_MUST_FREE);
        if (response == NULL) {
            free(bytes);
        }
    }
    buffer_free(body);
    http_respond(request, status, with_type(response, content_type));
}

void http_respond_static(struct http_request *request, int status, const char *content_type, const void *bytes,
                         size_t length) {
    http_respond(
        request, status,
        with_type(MHD_create_response_from_buffer(length, (void *)bytes, MHD_RESPMEM_PERSISTENT), content_type));
}

void http_respond_file(struct http_request *request, int status, const char *content_type, int fd, off_t offset,
                       uint64_t length) {
    struct MHD_Response *response = length == 0 ? MHD_create_response_from_buffer(0, "", MHD_RESPMEM_PERSISTENT)
                                                : MHD_create_response_from_fd_at_offset64(length, fd, (uint64_t)offset);
    if (response == NULL || length == 0) {
        close(fd);
    }
    http_respond(request, status, with_type(response, content_type));
}

struct source {
    struct http_request *request;
    ssize_t (*read)(void *state, char *out, size_t size);
    void *state;
    void (*release)(void *state);
};

static ssize_t read_source(void *cls, uint64_t position, char *out, size_t size) {
    (void)position;
    struct source *source = cls;
    source->request->is_resume_due = false;
    ssize_t length = source->read(source->state, out, size);
    switch (length) {
    case HTTP_SOURCE_LATER:
        http_suspend(source->request);
        return 0;
    case HTTP_SOURCE_END:
        return MHD_CONTENT_READER_END_OF_STREAM;
    case HTTP_SOURCE_FAILED:
        return MHD_CONTENT_READER_END_WITH_ERROR;
    default:
        return length;
    }
}

static void release_source(void *cls) {
    struct source *source = cls;
    if (source->release != NULL) {
        source->release(source->state);
    }
    free(source);
}

void http_respond_source(struct http_request *request, int status, const char *content_type, uint64_t length,
                         ssize_t (*read)(void *state, char *out, size_t size), void *state,
                         void (*release)(void *state)) {
    struct source *source = malloc(sizeof *source);
    struct MHD_Response *response = NULL;
    if (source != NULL) {
        *source = (struct source){request, read, state, release};
        response = MHD_create_response_from_callback(length == HTTP_LENGTH_UNKNOWN ? MHD_SIZE_UNKNOWN : length,
                                                     SOURCE_BLOCK_BYTES, read_source, source, release_source);
    }
    if (response == NULL) {
        if (release != NULL) {
            release(state);
        }
        free(source);
    }
    http_respond(request, status, with_type(response, content_type));
}
