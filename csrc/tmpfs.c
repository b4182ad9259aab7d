/*
 * What is stored in file systems that are in memory. Anybody may have stored
 * it. What a file holds that a process of the job has open for writing is the
 * job's: all of it if it was created since the job began, otherwise what it
 * has grown by while it was open.
 */
#include "tmpfs.h"

#include <sys/statvfs.h>

#include "clock.h"

static uint64_t stored(const mw_tmpfs *tmpfs) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < tmpfs->count; i++) {
        struct statvfs fs;
        if (!fstatvfs(tmpfs->fds[i], &fs) && fs.f_blocks > fs.f_bfree)
            sum += (uint64_t)(fs.f_blocks - fs.f_bfree) * fs.f_frsize;
    }
    return sum;
}

void mw_tmpfs_begin(mw_tmpfs *tmpfs, const int32_t *fds, uint32_t count) {
    tmpfs->count = count < MW_TMPFS_MOST ? count : MW_TMPFS_MOST;
    for (uint32_t i = 0; i < tmpfs->count; i++)
        tmpfs->fds[i] = fds[i];
    tmpfs->now = tmpfs->least = stored(tmpfs);
    tmpfs->began = mw_read_clock(CLOCK_REALTIME);
    tmpfs->file_count = 0;
}

static int is_new(const mw_tmpfs *tmpfs, const mw_written *file) {
    return file->created >= tmpfs->began;
}

/* Updates what the job has written from the size of a file that is open. */
static void count_open(mw_tmpfs_file *known) {
    uint64_t bytes = known->file.bytes;
    if (known->others > bytes)
        known->others = bytes;
    known->written = bytes - known->others;
}

/* Does the same for one that is open again: others may have added to it. */
static void count_reopened(const mw_tmpfs *tmpfs, mw_tmpfs_file *known) {
    uint64_t bytes = known->file.bytes;
    known->others = 0;
    if (!is_new(tmpfs, &known->file) && bytes > known->written)
        known->others = bytes - known->written;
    count_open(known);
}

/* Does the same for one that is not open any more. */
static void count_closed(mw_tmpfs_file *known) {
    if (known->written > known->file.bytes)
        known->written = known->file.bytes;
}

/* Reads a file again. Returns whether it is still there. */
static int reread(const mw_tmpfs *tmpfs, mw_tmpfs_file *known,
                  const mw_platform *platform) {
    int was_open = known->is_open;
    enum mw_written_state state =
        mw_platform_written_again(platform, &known->file);
    known->is_open = state == MW_WRITTEN_OPEN;
    /* What it has at the first look after it was closed is still the job's. */
    if (was_open)
        count_open(known);
    else if (known->is_open)
        count_reopened(tmpfs, known);
    else
        count_closed(known);
    return state != MW_WRITTEN_GONE;
}

void mw_tmpfs_read(mw_tmpfs *tmpfs, const mw_platform *platform) {
    if (!tmpfs->count)
        return;
    uint64_t now = stored(tmpfs);
    int has_changed = now != tmpfs->now;
    tmpfs->now = now;
    if (now < tmpfs->least)
        tmpfs->least = now;
    for (size_t i = 0; i < tmpfs->file_count;) {
        mw_tmpfs_file *known = &tmpfs->files[i];
        if ((has_changed || known->is_open) && !reread(tmpfs, known, platform))
            *known = tmpfs->files[--tmpfs->file_count];
        else
            i++;
    }
}

static mw_tmpfs_file *find(mw_tmpfs *tmpfs, const mw_written *file) {
    for (size_t i = 0; i < tmpfs->file_count; i++) {
        mw_tmpfs_file *known = &tmpfs->files[i];
        if (known->file.inode == file->inode &&
            known->file.device == file->device)
            return known;
    }
    return NULL;
}

/* Returns room for a file in which `written` bytes are the job's: that of the
   smallest file if all is taken, NULL if this one is smaller. */
static mw_tmpfs_file *add(mw_tmpfs *tmpfs, uint64_t written) {
    if (tmpfs->file_count < MW_TMPFS_FILES)
        return &tmpfs->files[tmpfs->file_count++];
    mw_tmpfs_file *smallest = tmpfs->files;
    for (size_t i = 1; i < tmpfs->file_count; i++)
        if (tmpfs->files[i].written < smallest->written)
            smallest = &tmpfs->files[i];
    return smallest->written < written ? smallest : NULL;
}

void mw_tmpfs_note(mw_tmpfs *tmpfs, const mw_written *file) {
    uint64_t others = is_new(tmpfs, file) ? 0 : file->bytes;
    mw_tmpfs_file *known = find(tmpfs, file);
    if (known) {
        int was_open = known->is_open;
        known->file = *file;
        known->is_open = 1;
        if (was_open)
            count_open(known);
        else
            count_reopened(tmpfs, known);
    } else if ((known = add(tmpfs, file->bytes - others))) {
        *known = (mw_tmpfs_file){.file = *file, .others = others, .is_open = 1};
        count_open(known);
    }
}

uint64_t mw_tmpfs_stored(const mw_tmpfs *tmpfs) {
    uint64_t risen = tmpfs->now - tmpfs->least;
    uint64_t written = mw_tmpfs_written(tmpfs);
    /* Others may have removed as much as the job has written. */
    return risen > written ? risen : written;
}

uint64_t mw_tmpfs_written(const mw_tmpfs *tmpfs) {
    uint64_t sum = 0;
    for (size_t i = 0; i < tmpfs->file_count; i++)
        sum += tmpfs->files[i].written;
    return sum;
}
