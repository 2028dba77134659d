#include "instance/docs_page.h"

/* The assembler copies the file (relative to the top of the tree, where make runs). */
__asm__(".section .rodata\n"
        ".globl docs_page\n"
        "docs_page:\n"
        ".incbin \"instance/docs.html\"\n"
        ".byte 0\n"
        ".text\n");
