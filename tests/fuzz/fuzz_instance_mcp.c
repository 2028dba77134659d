// LINK: instance
/* What a client of the Model Context Protocol sends: a call of a tool, with any name and arguments. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/openapi_document.h"
#include "instance/mcp_tools.h"

static void check(const struct mcp_tool_call *call) {
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/?&=%";
    /* A target with anything else in it could smuggle a second request into the first. */
    if (call->target[0] != '/' || strspn(call->target, allowed) != strlen(call->target)) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const names[] = {"run_command",  "get_process_status", "send_process_input",
                                        "kill_process", "list_files",         "read_file",
                                        "grep_search",  "glob_search",        "replace_file_content"};
    static struct json_object *document;
    if (document == NULL) {
        document = json_parse_object(openapi_document, openapi_document_length, NULL);
    }
    struct json_object *arguments = size > 0 ? json_parse_object((const char *)data + 1, size - 1, NULL) : NULL;
    struct mcp_tool_call call;
    if (arguments != NULL &&
        mcp_tool_call_make(document, names[data[0] % (sizeof names / sizeof names[0])], arguments, &call, NULL)) {
        check(&call);
        mcp_tool_call_free(&call);
    }
    json_object_put(arguments);
    return 0;
}
