/* text_child.h - reads a document in a process of its own (text_reader.h), which has limits of time and memory. */
#ifndef TERMINALS_INSTANCE_TEXT_CHILD_H
#define TERMINALS_INSTANCE_TEXT_CHILD_H

#include <stdbool.h>

enum text_child_word {
    TEXT_CHILD_READ,
    TEXT_CHILD_BINARY,
    TEXT_CHILD_DAMAGED, /* or it took too long, or too much memory */
    TEXT_CHILD_NO_TOOL,
};

struct text_child {
    int text; /* read from here: UTF-8 */
    int word; /* for text_child_word() */
};

/* What reads a document of this media type ("pdf", "docx", …), NULL if it is none. */
const char *text_child_kind(const char *media_type);

/* What has to be installed to read that kind, for people. */
const char *text_child_tool(const char *kind);

/* Starts to read `document`, a regular file, from its start: `kind` is one of the above, or "encoded" for text that is
 * no UTF-8. May be called from any thread, and touches nothing of it but the offset of `document`. False: errno says.
 */
bool text_child_start(int document, const char *kind, struct text_child *child);

/* How it ended: to be asked when child->text has ended. */
enum text_child_word text_child_word(const struct text_child *child);

/* Closes its descriptors; a child that is not done dies of it. Fine on {-1, -1}. */
void text_child_close(struct text_child *child);

#endif
