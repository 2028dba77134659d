/* openapi_document.h - the instance API's OpenAPI 3.1 document, from instance/openapi.json, linked into the program as
 * it is (the Makefile makes an object of it). */
#ifndef TERMINALS_COMMON_OPENAPI_DOCUMENT_H
#define TERMINALS_COMMON_OPENAPI_DOCUMENT_H

#include <stddef.h>

/* JSON text, followed by a NUL that is not counted. */
extern const char openapi_document[];
extern const size_t openapi_document_length;

#endif
