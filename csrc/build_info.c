/* Facts about this build, as the build defines them. */
#include "memwatch.h"

const char *mw_build_date(void) { return MW_BUILD_DATE; }

const char *mw_build_target(void) { return MW_BUILD_TARGET; }
