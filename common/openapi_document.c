#include "common/openapi_document.h"

/* The assembler copies the file (relative to the top of the tree, where make runs). */
__asm__(".section .rodata\n"
        ".globl openapi_document\n"
        "openapi_document:\n"
        ".incbin \"instance/openapi.json\"\n"
        ".Lopenapi_document_end:\n"
        ".byte 0\n"
        ".balign 8\n"
        ".globl openapi_document_length\n"
        "openapi_document_length:\n"
        ".quad .Lopenapi_document_end - openapi_document\n"
        ".text\n");
