/* Which sizes of transparent huge pages are enabled. */
#include "huge_pages.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "platform.h"
#include "procfs.h"

/* Reads a file of `folder` as a string: whether it could. */
static int read_setting(const char *folder, const char *name, char text[64]) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    memset(text, 0, 64);
    return mw_procfs_read(AT_FDCWD, path, text, 63) > 0;
}

/* Returns whether pages of one size are given out. `is_off`: those that inherit
   the setting of the machine are not. */
static int is_enabled(const char *folder, const char *size, int is_off) {
    char name[300], text[64];
    snprintf(name, sizeof name, "%s/enabled", size);
    if (!read_setting(folder, name, text))
        return 0;
    return !strstr(text, "[never]") && !(is_off && strstr(text, "[inherit]"));
}

uint64_t mw_huge_page_size(const char *folder) {
    char text[64];
    if (!read_setting(folder, "enabled", text))
        return 0;
    int is_off = strstr(text, "[never]") != NULL;
    if (!read_setting(folder, "hpage_pmd_size", text))
        return 0;
    uint64_t largest = strtoull(text, NULL, 10);
    uint64_t found = is_off ? 0 : largest;
    DIR *sizes = opendir(folder);
    const struct dirent *entry;
    while (sizes && (entry = readdir(sizes))) {
        unsigned long long kib;
        if (sscanf(entry->d_name, "hugepages-%llukB", &kib) != 1 ||
            !is_enabled(folder, entry->d_name, is_off))
            continue;
        if (kib << 10 != largest)
            found = MW_ANY_SIZE;
        else if (!found)
            found = largest;
    }
    if (sizes)
        closedir(sizes);
    return found;
}
