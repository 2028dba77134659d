/* meta.c - what an instance says about itself. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/openapi_document.h"
#include "instance/docs_page.h"
#include "instance/instance.h"
#include "instance/notebooks.h"
#include "instance/options.h"
#include "instance/routes.h"
#include "instance/system_info.h"
#include "instance/utf8.h"
#include "instance/work.h"

#define NONCE_BYTES 16

static void get_health(struct http_request *request) {
    static const char body[] = "{\"status\":\"ok\"}";
    http_respond_static(request, 200, "application/json", body, sizeof body - 1);
}

static const char *truth(bool value) {
    return value ? "true" : "false";
}

/* What Open WebUI asks before it offers shells and notebooks and before it asks for /system. */
static void get_config(struct http_request *request) {
    const struct instance *instance = http_instance(request);
    struct buffer body = {0};
    buffer_append_format(&body, "{\"features\":{\"terminal\":%s,\"notebooks\":%s,\"system\":%s}}",
                         truth(instance->options->is_terminal_enabled), truth(notebooks_is_offered(instance)),
                         truth(instance->options->is_system_prompt_enabled));
    http_respond_buffer(request, 200, "application/json", &body);
}

static void append_text_member(struct buffer *body, const char *name, const char *text) {
    buffer_append_format(body, "{\"%s\":", name);
    utf8_append_json(body, text, strlen(text));
    buffer_append_string(body, "}");
}

static bool has_info(const struct instance *instance) {
    return instance->options->info != NULL;
}

static void get_info(struct http_request *request) {
    struct buffer body = {0};
    append_text_member(&body, "info", http_instance(request)->options->info);
    http_respond_buffer(request, 200, "application/json", &body);
}

/* ---- what needs to know the machine: found out once, off the loop's thread ---- */

struct description_work {
    struct work work;
    void (*respond)(struct http_request *request, const char *description);
    char *description;
};

static void describe(struct work *work) {
    ((struct description_work *)work)->description = system_info_describe();
}

static void respond_described(struct work *work) {
    struct description_work *described = (struct description_work *)work;
    struct instance *instance = http_instance(work->request);
    if (described->description == NULL) {
        http_respond_json(work->request, 500, NULL);
        return;
    }
    if (instance->description == NULL) {
        instance->description = described->description;
        described->description = NULL;
    }
    described->respond(work->request, instance->description);
}

static void release_description(struct work *work) {
    struct description_work *described = (struct description_work *)work;
    free(described->description);
    free(described);
}

static void with_description(struct http_request *request,
                             void (*respond)(struct http_request *request, const char *description)) {
    if (http_instance(request)->description != NULL) {
        respond(request, http_instance(request)->description);
        return;
    }
    struct description_work *described = calloc(1, sizeof *described);
    if (described == NULL) {
        http_respond_json(request, 500, NULL);
        return;
    }
    described->work = (struct work){.run = describe, .respond = respond_described, .release = release_description};
    described->respond = respond;
    work_do(request, &described->work, true);
}

static bool has_system_prompt(const struct instance *instance) {
    return instance->options->is_system_prompt_enabled;
}

static void respond_system(struct http_request *request, const char *description) {
    const struct instance *instance = http_instance(request);
    struct buffer prompt = {0};
    struct buffer body = {0};
    buffer_append_format(
        &prompt,
        "You have access to a computer through a set of tools. %s Your home folder is %s.\n\n"
        "- Use the tools to find out, instead of guessing: read files before you change them, and look "
        "at what a command printed before you go on.\n"
        "- Commands run in the background. Wait for their output, and poll the status of those that take "
        "long.\n"
        "- Write files with the file tools rather than with shell redirection.\n"
        "- When something fails, read the error and try to mend its cause.",
        description, instance->home);
    if (!prompt.failed) {
        append_text_member(&body, "prompt", prompt.data);
    }
    body.failed = body.failed || prompt.failed;
    buffer_free(&prompt);
    http_respond_buffer(request, 200, "application/json", &body);
}

static void get_system(struct http_request *request) {
    const char *own = http_instance(request)->options->system_prompt;
    if (own == NULL) {
        with_description(request, respond_system);
        return;
    }
    struct buffer body = {0};
    append_text_member(&body, "prompt", own);
    http_respond_buffer(request, 200, "application/json", &body);
}

/* ---- the description of the API ---- */

/* The document, with the machine in the description of POST /execute, and with /info if there is one. */
static void respond_openapi(struct http_request *request, const char *description) {
    static const char anchor[] = "\"Run a shell command in the background and return a command ID.";
    static const char paths[] = "\"paths\": {";
    static const char info[] = "\"/info\":{\"get\":{\"summary\":\"Get environment info\",\"description\":\"Return "
                               "operator-provided information "
                               "about this environment. Use this to understand the system you are working "
                               "with.\",\"operationId\":\"get_info\","
                               "\"responses\":{\"200\":{\"description\":\"Successful "
                               "Response\",\"content\":{\"application/json\":{\"schema\":{}}}}},"
                               "\"security\":[{\"HTTPBearer\":[]}]}},";
    const struct options *options = http_instance(request)->options;
    const char *at = strstr(openapi_document, paths) + sizeof paths - 1;
    const char *splice = strstr(at, anchor) + sizeof anchor - 1;
    struct buffer added = {0};
    struct buffer escaped = {0};
    struct buffer body = {0};
    buffer_append_format(&added, "\n\n%s", description);
    if (options->execute_description != NULL) {
        buffer_append_format(&added, "\n\n%s", options->execute_description);
    }
    if (!added.failed && utf8_append_json(&escaped, added.data, added.length)) {
        buffer_append(&body, openapi_document, (size_t)(at - openapi_document));
        buffer_append_string(&body, options->info != NULL ? info : "");
        buffer_append(&body, at, (size_t)(splice - at));
        buffer_append(&body, escaped.data + 1, escaped.length - 2); /* without its quotation marks */
        buffer_append_string(&body, splice);
    }
    body.failed = body.failed || added.failed || escaped.failed;
    buffer_free(&added);
    buffer_free(&escaped);
    http_respond_buffer(request, 200, "application/json", &body);
}

static void get_openapi(struct http_request *request) {
    with_description(request, respond_openapi);
}

/* Nothing but this page's own style and script run, which the nonce proves, and nothing but this server is asked. */
static void get_docs(struct http_request *request) {
    unsigned char random[NONCE_BYTES];
    char nonce[2 * NONCE_BYTES + 1];
    char policy[256];
    while (getrandom(random, sizeof random, 0) != sizeof random) {
        /* Only a signal in early boot interrupts it (getrandom(2)). */
    }
    for (size_t i = 0; i < NONCE_BYTES; i++) {
        snprintf(nonce + 2 * i, 3, "%02x", random[i]);
    }
    snprintf(policy, sizeof policy,
             "default-src 'none'; script-src 'nonce-%s'; style-src 'nonce-%s'; connect-src 'self'; base-uri 'none'; "
             "form-action 'none'; frame-ancestors 'none'",
             nonce, nonce);
    struct buffer body = {0};
    const char *at = docs_page;
    for (const char *mark; (mark = strstr(at, DOCS_PAGE_NONCE)) != NULL; at = mark + sizeof DOCS_PAGE_NONCE - 1) {
        buffer_append(&body, at, (size_t)(mark - at));
        buffer_append_string(&body, nonce);
    }
    buffer_append_string(&body, at);
    http_add_header(request, "Content-Security-Policy", policy);
    http_add_header(request, "X-Content-Type-Options", "nosniff");
    http_respond_buffer(request, 200, "text/html; charset=utf-8", &body);
}

const struct http_route meta_routes[] = {
    {.method = "GET", .pattern = "/health", .is_open = true, .handle = get_health},
    {.method = "GET", .pattern = "/api/config", .is_open = true, .handle = get_config},
    {.method = "GET", .pattern = "/info", .handle = get_info, .is_offered = has_info},
    {.method = "GET", .pattern = "/system", .handle = get_system, .is_offered = has_system_prompt},
    {.method = "GET", .pattern = "/openapi.json", .is_open = true, .handle = get_openapi},
    {.method = "HEAD", .pattern = "/openapi.json", .is_open = true, .handle = get_openapi},
    {.method = "GET", .pattern = "/docs", .is_open = true, .handle = get_docs},
    {.method = "HEAD", .pattern = "/docs", .is_open = true, .handle = get_docs},
    {.method = "GET", .pattern = "/redoc", .is_open = true, .handle = get_docs},
    {.method = "HEAD", .pattern = "/redoc", .is_open = true, .handle = get_docs},
    HTTP_ROUTES_END,
};
