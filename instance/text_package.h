/* text_package.h - documents that are ZIP files full of XML: Office Open XML, OpenDocument, EPUB.
 *
 * Nothing is unpacked to disk or as a whole: the XML is read as it is unpacked. A document that declares entities of
 * its own is refused, so none can grow without end or fetch anything; how much is unpacked at all is limited. */
#ifndef TERMINALS_INSTANCE_TEXT_PACKAGE_H
#define TERMINALS_INSTANCE_TEXT_PACKAGE_H

#include <stdbool.h>
#include <stddef.h>

struct package;

/* Names of elements and attributes come without their prefix ("w:p" is "p"); attributes as name, value, …, NULL. */
struct xml_events {
    void (*start)(void *state, const char *name, const char **attributes);
    void (*end)(void *state, const char *name);
    void (*text)(void *state, const char *text, size_t length);
};

/* The document on standard input; NULL: it is no ZIP file. */
struct package *package_open(void);
void package_close(struct package *package);

/* Reads the XML of one member. False: there is none of that name, or it is damaged; what came before that was told. Any
 * of the events may be NULL. */
bool package_parse(struct package *package, const char *member, const struct xml_events *events, void *state);

/* The value of an attribute, NULL if there is none. */
const char *xml_attribute(const char **attributes, const char *name);

/* The path of `target`, a relative reference in the member `base`, in the package ("../a" in "x/y/z" is "x/a"); percent
 * signs are decoded and a fragment is cut off. For the caller to free; NULL: no memory. */
char *package_resolve(const char *base, const char *target);

#endif
