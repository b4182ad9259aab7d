/*
 * csrc/linux/written.c on the descriptors of this process.
 *
 *     test_written_linux FOLDER
 *
 * FOLDER is empty, and takes the place of a file system in memory.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "state.h"

static const size_t KIB = 1024;

static struct mw_platform platform;
static const char *folder;

/* What the last search has found. */
static mw_written found[8];
static size_t count;

static void note(void *context, const mw_written *file) {
    CHECK(context == found && count < sizeof found / sizeof *found);
    found[count++] = *file;
}

static size_t search(int32_t pid) {
    count = 0;
    CHECK(mw_platform_written(&platform, pid, note, found) > 0);
    return count;
}

static const char *path_of(const char *name) {
    static char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static int make(const char *path, int flags) {
    int fd = open(path, flags | O_CREAT | O_CLOEXEC, 0644);
    CHECK(fd >= 0);
    return fd;
}

static void store(int fd, size_t kib) {
    static char data[1024];
    memset(data, 1, sizeof data);
    while (kib--)
        CHECK(write(fd, data, sizeof data) == (ssize_t)sizeof data);
    CHECK(!fsync(fd));
}

static enum mw_written_state again(mw_written *file) {
    return mw_platform_written_again(&platform, file);
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    folder = argv[1];
    int32_t mount = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    mw_sampler_options options = {.tmpfs = &mount, .tmpfs_count = 1};
    mw_mounts_open(&platform.mounts, &options);
    CHECK(platform.mounts.count == 1);
    platform.proc_fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(platform.proc_fd >= 0);
    int32_t self = getpid();
    struct stat seen;

    CHECK(mw_platform_written(&platform, INT32_MAX, note, found) < 0);
    CHECK(!search(self));

    /* Only a file in the folder, and only one that is open for writing. */
    int file = make(path_of("file"), O_WRONLY);
    store(file, 64);
    int reader = open(path_of("file"), O_RDONLY | O_CLOEXEC);
    int elsewhere = open("/dev/null", O_RDWR | O_CLOEXEC);
    int ends[2];
    CHECK(reader >= 0 && elsewhere >= 0 && !pipe(ends));
    CHECK(search(self) == 1);
    CHECK(!fstat(file, &seen));
    mw_written known = found[0];
    CHECK(known.inode == seen.st_ino && known.bytes == 64 * KIB);
    CHECK(known.pid == self && known.fd == file);
    CHECK(!strcmp(known.path, path_of("file")));
    CHECK(!known.created || known.created / 1000000000 >= seen.st_ctime - 60);

    /* It grows, it is closed and grows on, and it is removed. */
    store(file, 64);
    CHECK(again(&known) == MW_WRITTEN_OPEN && known.bytes == 128 * KIB);
    close(file);
    CHECK(!search(self));
    CHECK(again(&known) == MW_WRITTEN_CLOSED && known.bytes == 128 * KIB);
    file = make(path_of("other"), O_RDWR);
    CHECK(known.fd == file && again(&known) == MW_WRITTEN_CLOSED);
    CHECK(!unlink(path_of("file")));
    CHECK(again(&known) == MW_WRITTEN_GONE);

    /* One that is removed is known while it is open. */
    CHECK(search(self) == 1);
    known = found[0];
    CHECK(!unlink(path_of("other")));
    store(file, 64);
    CHECK(again(&known) == MW_WRITTEN_OPEN && known.bytes == 64 * KIB);
    CHECK(search(self) == 1 && found[0].bytes == 64 * KIB);
    /* Another file takes its name. */
    int same_name = make(path_of("other"), O_RDONLY);
    close(file);
    CHECK(again(&known) == MW_WRITTEN_GONE);
    close(same_name);
    CHECK(!unlink(path_of("other")));

    /* A longer path than is kept. */
    char name[256];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    file = make(path_of(name), O_WRONLY);
    CHECK(search(self) == 1 && !found[0].path[0]);
    known = found[0];
    CHECK(again(&known) == MW_WRITTEN_OPEN);
    close(file);
    CHECK(again(&known) == MW_WRITTEN_GONE);
    CHECK(!unlink(path_of(name)));
    return 0;
}
