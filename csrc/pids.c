/* Lists of process ids that grow. */
#include "pids.h"

#include "grow.h"

static const size_t FIRST_CAPACITY = 64;

int mw_pids_add(mw_pids *pids, int32_t pid) {
    void *memory = pids->pid;
    int error = mw_grow(&memory, &pids->capacity, pids->count + 1,
                        sizeof *pids->pid, FIRST_CAPACITY);
    pids->pid = memory;
    if (!error)
        pids->pid[pids->count++] = pid;
    return error;
}

int mw_pids_have(const mw_pids *pids, int32_t pid) {
    for (size_t i = 0; i < pids->count; i++)
        if (pids->pid[i] == pid)
            return 1;
    return 0;
}
