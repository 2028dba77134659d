/* quantity.h - Kubernetes quantities (`500m`, `2`, `1.5`, `512Mi`, `1e3`), as they limit CPU, memory and storage.
 *
 * The rules are those of k8s.io/apimachinery/pkg/api/resource: an optional sign, digits with at most one decimal point
 * (`1.` and `.5` are numbers), then nothing, one of `n u m k M G T P E`, one of `Ki Mi Gi Ti Pi Ei`, or `e` or `E` and
 * a whole exponent. Case matters. Thread-safe. */
#ifndef TERMINALS_COMMON_QUANTITY_H
#define TERMINALS_COMMON_QUANTITY_H

#include <stdbool.h>
#include <stdint.h>

#define QUANTITY_MAX_BYTES 64 /* of the text */

/* `text` in units (bytes, say) or in thousandths of one (millicores). A fraction is rounded away from zero, and what
 * does not fit is the largest there is, as Kubernetes has it. False if it is no quantity. */
bool quantity_units(const char *text, int64_t *units);
bool quantity_thousandths(const char *text, int64_t *thousandths);

#endif
