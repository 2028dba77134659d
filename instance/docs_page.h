/* docs_page.h - the page at /docs, from instance/docs.html, linked into the program as it is. It shows openapi.json and
 * loads nothing else: see the policy that meta.c sends with it. */
#ifndef TERMINALS_INSTANCE_DOCS_PAGE_H
#define TERMINALS_INSTANCE_DOCS_PAGE_H

/* Ends with a NUL. DOCS_PAGE_NONCE stands where the nonce of this answer belongs. */
extern const char docs_page[];

#define DOCS_PAGE_NONCE "@NONCE@"

#endif
