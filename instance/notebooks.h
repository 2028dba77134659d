/* notebooks.h - /notebooks: cells of Jupyter notebooks, run by a kernel that is installed here. */
#ifndef TERMINALS_INSTANCE_NOTEBOOKS_H
#define TERMINALS_INSTANCE_NOTEBOOKS_H

#include <stdbool.h>

struct instance;

/* True if they are wanted and a Jupyter kernel is installed. */
bool notebooks_is_offered(const struct instance *instance);

/* Ends every session; nobody may be waiting for one any more. */
void notebooks_end_all(struct instance *instance);

#endif
