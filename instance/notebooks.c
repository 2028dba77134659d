#include "instance/notebooks.h"

#include "common/cleanup.h"
#include "instance/instance.h"
#include "instance/jupyter.h"
#include "instance/options.h"

bool notebooks_is_offered(const struct instance *instance) {
    cleanup_free char *python = instance->options->is_notebooks_enabled ? jupyter_find_python() : NULL;
    return python != NULL;
}
