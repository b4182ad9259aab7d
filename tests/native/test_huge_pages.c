/* Prints what the settings in a folder say: 0, a size, or "any". */
#include <stdio.h>

#include "linux/huge_pages.h"
#include "platform.h"

int main(int argc, char **argv) {
    if (argc != 2)
        return 2;
    uint64_t size = mw_huge_page_size(argv[1]);
    if (size == MW_ANY_SIZE)
        puts("any");
    else
        printf("%llu\n", (unsigned long long)size);
    return 0;
}
