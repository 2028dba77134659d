/* text_relations.h - the parts of an Office Open XML document that an index names, in its order: slides, sheets. */
#ifndef TERMINALS_INSTANCE_TEXT_RELATIONS_H
#define TERMINALS_INSTANCE_TEXT_RELATIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "instance/text_package.h"

struct relation {
    char *id;
    char *name; /* NULL: it has none */
    char *path; /* in the package; NULL: it leads nowhere */
};

struct relations {
    struct relation *list;
    size_t count;
    const char *element; /* of the index, that names a part */
    const char *index;
    bool failed; /* no memory */
};

/* Reads `index` ("xl/workbook.xml"), in which each `element` ("sheet") names a part by its r:id, and the relations that
 * belong to it. False: it cannot be read. The relations are to be freed in any case. */
bool relations_read(struct package *package, const char *index, const char *element, struct relations *relations);
void relations_free(struct relations *relations);

#endif
