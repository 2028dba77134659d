/* openapi.h - the instance API's OpenAPI document as our clients may see it: an instance's own key is no business of
 * theirs, so the parts that ask for one go. Thread-safe. */
#ifndef TERMINALS_FCGI_API_OPENAPI_H
#define TERMINALS_FCGI_API_OPENAPI_H

#include "common/error.h"
#include "common/json.h"

/* Removes `components.securitySchemes` and `security` of the document and of each operation (OpenAPI 3.1 §4.8), and
 * nothing else: a schema may have a property of that name. */
void openapi_strip_security(struct json_object *document);

/* The built-in document (common/openapi_document.h), stripped, as text the caller frees. NULL with *err. */
char *openapi_built_in(struct error *err);

#endif
