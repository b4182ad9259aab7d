/* Which sizes of transparent huge pages are enabled. */
#ifndef MW_HUGE_PAGES_H
#define MW_HUGE_PAGES_H

#include <stdint.h>

/* Returns the size of a transparent huge page, or 0 if they are switched off;
   MW_ANY_SIZE where smaller sizes are enabled as well, Linux 6.8 and later
   (admin-guide/mm/transhuge.rst of the kernel's documentation). `folder` has
   the kernel's settings. */
uint64_t mw_huge_page_size(const char *folder);

#endif
