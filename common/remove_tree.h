/* remove_tree.h - removes a tree that somebody hostile has filled. Thread-safe; blocks. */
#ifndef TERMINALS_COMMON_REMOVE_TREE_H
#define TERMINALS_COMMON_REMOVE_TREE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "common/error.h"

/* Removes everything in the folder `trash` (a descriptor) but not the folder itself. Needs two descriptors and no stack
 * for any depth: a folder inside a folder is moved up into `trash` first. Links are not followed, mounts not crossed
 * (they make it fail). Stops early, with ERROR_CAPACITY, when *cancelled becomes true. */
bool remove_tree_contents(int trash, const atomic_bool *cancelled, struct error *err);

#endif
