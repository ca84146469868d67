/*
 * The private store is volatile: in whatever way its daemon ends, and whoever still has
 * files of it open, its memory is free.
 */
#include "cli.h"

#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/wait.h>

/* Others use shared memory too, so most of it is as good as all. */
enum { MEBI = 1 << 20, WRITTEN = 128 * MEBI, MOST = 80 * MEBI };

/* In bytes, of the whole machine. */
static long shared_memory(void)
{
	char *text = tree_read("/proc/meminfo", NULL);
	char *at = strstr(text, "\nShmem:");
	long kibibytes;

	assert_non_null(at);
	kibibytes = atol(at + strlen("\nShmem:"));
	free(text);
	return kibibytes * 1024;
}

static bool is_given_back(void *full)
{
	return shared_memory() <= *(long *)full - MOST;
}

/* Writes it through the mount and keeps the file open. */
static int fill(const struct cli *cli, long *ret_full)
{
	const char *path = in(cli->mnt, "pkg/__pycache__/mod.cpython-311.pyc");
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0644);
	char *block = calloc(1, MEBI);

	assert_true(fd >= 0);
	assert_non_null(block);
	for (int i = 0; i < WRITTEN / MEBI; i++)
		assert_int_equal(write(fd, block, MEBI), MEBI);
	free(block);
	*ret_full = shared_memory();
	assert_false(*ret_full < WRITTEN);
	return fd;
}

static void an_unmount_frees_it(void **state)
{
	struct cli *cli = *state;
	long full;

	cli_mount(cli, "size=200M");
	close(fill(cli, &full));
	cli_quietly("unmount", cli->mnt, NULL);
	assert_true(eventually(DEADLINE, is_given_back, &full));
}

/* Lazily: it is there for who uses it, and goes with them. */
static void its_last_user_frees_it(void **state)
{
	struct cli *cli = *state;
	long full;
	char byte;
	int fd;

	cli_mount(cli, "size=200M");
	fd = fill(cli, &full);
	cli_quietly("unmount", "--lazy", cli->mnt, NULL);
	assert_int_equal(pread(fd, &byte, 1, WRITTEN - 1), 1);
	close(fd);
	assert_true(eventually(DEADLINE, is_given_back, &full));
}

static void end_by(struct cli *cli, int signal)
{
	pid_t daemon = cli_mount(cli, "size=200M");
	long full;
	int fd = fill(cli, &full);
	const char *mapped = mmap(NULL, MEBI, PROT_READ, MAP_SHARED, fd, 0);

	assert_true(mapped != MAP_FAILED);
	assert_int_equal(mapped[0], 0);
	assert_int_equal(kill(daemon, signal), 0);
	assert_int_equal(waitpid(daemon, NULL, 0), daemon);
	assert_true(eventually(DEADLINE, is_given_back, &full));
	munmap((void *)(uintptr_t)mapped, MEBI);
	close(fd);
	if (signal == SIGKILL)
		assert_int_equal(umount2(cli->mnt, MNT_DETACH), 0);
}

static void a_signal_frees_it_though_files_are_open(void **state)
{
	end_by(*state, SIGTERM);
}

static void a_kill_frees_it_though_files_are_open(void **state)
{
	end_by(*state, SIGKILL);
}

int main(void)
{
	int skip = cli_possible();
	const struct CMUnitTest tests[] = {
		CLI(an_unmount_frees_it),
		CLI(its_last_user_frees_it),
		CLI(a_signal_frees_it_though_files_are_open),
		CLI(a_kill_frees_it_though_files_are_open),
	};

	if (skip)
		return skip;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
