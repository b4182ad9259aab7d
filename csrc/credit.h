/* A part of the time that something may take, saved up. */
#ifndef MW_CREDIT_H
#define MW_CREDIT_H

#include <stdint.h>

/* All zero is a valid beginning. */
typedef struct mw_credit {
    int64_t left; /* ns that may be used; below 0 if more was used */
    int64_t from; /* the time that it was last added to; 0: never */
} mw_credit;

/* Adds one part in `parts` of the time since the last call, up to `most`. The
   first call gives all of that. */
static inline void mw_credit_add(mw_credit *credit, int64_t now, int64_t parts,
                                 int64_t most) {
    credit->left += credit->from ? (now - credit->from) / parts : most;
    if (credit->left > most)
        credit->left = most;
    credit->from = now;
}

#endif
