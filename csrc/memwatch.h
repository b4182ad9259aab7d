/* api.h with the types it needs. api.h itself has no preprocessor lines. */
#ifndef MW_MEMWATCH_H
#define MW_MEMWATCH_H

#include <stddef.h>
#include <stdint.h>

#include "api.h"

#endif
