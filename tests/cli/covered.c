/*
 * Only our own mount is ever taken away: not what somebody mounts on top of it.
 */
#include "cli.h"

#include <sys/mount.h>
#include <sys/statvfs.h>

static void cover(const char *path)
{
	assert_int_equal(mount("none", path, "tmpfs", 0, "size=64k"), 0);
	tree_write(in(path, "theirs"), "x", -1);
}

static void uncover(const char *path)
{
	assert_int_equal(access(in(path, "theirs"), F_OK), 0);
	assert_int_equal(umount2(path, 0), 0);
}

/* Mounts @words (in the foreground, at @place), covers that and ends the daemon. */
static void end_covered(const struct cli *cli, const char *place,
			const char *const *words, int signal)
{
	pid_t daemon = cli_foreground(cli, place, words);

	cover(place);
	assert_int_equal(kill(daemon, signal), 0);
	cli_wait_left(0);
	assert_int_equal(cli_mounts_at(place), 2);
	char *log = tree_read(cli->log, NULL);
	assert_non_null(strstr(log, "something else is mounted on top"));
	assert_non_null(strstr(log, place));
	free(log);
	uncover(place);
	/* What nobody serves any more gives errors and keeps nobody waiting. */
	struct statvfs vfs;
	assert_int_equal(statvfs(place, &vfs), -1);
	assert_int_equal(errno, ENOTCONN);
}

static void a_signal_leaves_what_is_mounted_on_top(void **state)
{
	struct cli *cli = *state;
	const char *elsewhere[] = { cli->source, cli->mnt, NULL };
	const char *in_place[] = { cli->source, NULL };
	pid_t daemon;

	end_covered(cli, cli->mnt, elsewhere, SIGTERM);
	/* The next mount clears what is left of ours. */
	daemon = cli_mount(cli, NULL);
	assert_int_equal(cli_mounts_at(cli->mnt), 1);
	cli_assert_usable(cli->mnt);
	cli_quietly("unmount", cli->mnt, NULL);
	cli_assert_ended(daemon, cli->mnt);

	end_covered(cli, cli->source, in_place, SIGINT);
	cli_quietly("unmount", cli->source, NULL);
	end_covered(cli, cli->source, in_place, SIGHUP);
	cli_quietly("unmount", cli->source, NULL);
}

/* Also when the one on top is dead itself: then it goes first. */
static void dead_mounts_that_lie_on_each_other_are_cleared(void **state)
{
	struct cli *cli = *state;
	const char *words[] = { cli->source, cli->mnt, NULL };
	pid_t daemon;

	for (int i = 0; i < 2; i++) {
		daemon = cli_foreground(cli, cli->mnt, words);
		cover(cli->mnt);
		assert_int_equal(kill(daemon, SIGKILL), 0);
		cli_wait_left(0);
		if (i == 0)
			uncover(cli->mnt);
	}
	uncover(cli->mnt);
	daemon = cli_mount(cli, NULL);
	assert_int_equal(cli_mounts_at(cli->mnt), 1);
	cli_assert_usable(cli->mnt);
	cli_quietly("unmount", cli->mnt, NULL);
	cli_assert_ended(daemon, cli->mnt);
}

static void a_covered_mount_is_not_unmounted(void **state)
{
	struct cli *cli = *state;
	pid_t daemon = cli_mount(cli, NULL);

	cover(cli->mnt);
	for (int lazy = 0; lazy < 2; lazy++) {
		struct command command = lazy ?
			cli_run("unmount", "--lazy", cli->mnt, NULL) :
			cli_run("unmount", cli->mnt, NULL);

		cli_assert_complaint(command.err, "mounted on top");
		assert_string_equal(command.out, "");
		assert_int_equal(command.status, 1);
		command_free(&command);
	}
	assert_int_equal(cli_mounts_at(cli->mnt), 2);
	uncover(cli->mnt);
	cli_assert_usable(cli->mnt);
	cli_quietly("unmount", cli->mnt, NULL);
	cli_assert_ended(daemon, cli->mnt);
}

/*
 * A daemon may be slow to notice that its mount is gone.  The kernel gives the next
 * one the lowest device and mount numbers that are free, so that of the dead: here
 * another mount keeps those for the second daemon's store.
 */
static void a_late_daemon_leaves_its_successor_alone(void **state)
{
	static const struct {
		const char *options;
		int end;
	} cases[] = {
		{ "size=8M", SIGCONT }, { "size=8M", SIGTERM },
		{ "auto_unmount", SIGCONT }, { "auto_unmount", SIGKILL },
	};
	struct cli *cli = *state;
	char place[128];

	snprintf(place, sizeof(place), "%s/place", cli->top);
	assert_int_equal(mkdir(place, 0755), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		pid_t first, second;

		cover(place);
		first = cli_mount(cli, cases[i].options);
		assert_int_equal(kill(first, SIGSTOP), 0);
		assert_int_equal(umount2(cli->mnt, 0), 0);
		uncover(place);

		cli_quietly(cli->source, cli->mnt, NULL);
		assert_int_equal(kill(first, cases[i].end), 0);
		assert_int_equal(kill(first, SIGCONT), 0);
		cli_wait(first);
		cli_wait_left(1);
		assert_int_equal(cli_processes(&second), 1);
		assert_int_not_equal(second, first);
		cli_assert_usable(cli->mnt);
		cli_quietly("unmount", cli->mnt, NULL);
		cli_assert_ended(second, cli->mnt);
	}
}

/* By its bind mount, too, which is another mount of the same filesystem. */
static void a_bind_mount_of_ours_is_no_reason_to_stay(void **state)
{
	struct cli *cli = *state;
	pid_t daemon = cli_mount(cli, NULL);
	struct statvfs vfs;
	char other[128];

	snprintf(other, sizeof(other), "%s/other", cli->top);
	assert_int_equal(mkdir(other, 0755), 0);
	assert_int_equal(mount(cli->mnt, other, NULL, MS_BIND, NULL), 0);
	assert_int_equal(kill(daemon, SIGTERM), 0);
	cli_assert_ended(daemon, cli->mnt);
	assert_int_equal(cli_mounts_at(other), 1);
	assert_int_equal(statvfs(other, &vfs), -1);
	assert_int_equal(errno, ENOTCONN);
	assert_int_equal(umount2(other, 0), 0);
}

/* A directory above it was renamed, or the mount was moved. */
static void a_signal_unmounts_where_it_has_gone_to(void **state)
{
	struct cli *cli = *state;
	char place[160], before[128];
	pid_t daemon = cli_mount_and_rename(cli, "size=8M", place);

	/* Another takes the old place. */
	snprintf(before, sizeof(before), "%s/before/mnt", cli->top);
	cover(before);
	assert_int_equal(kill(daemon, SIGTERM), 0);
	cli_assert_ended(daemon, place);
	uncover(before);
}

int main(void)
{
	int skip = cli_possible();
	const struct CMUnitTest tests[] = {
		CLI(a_signal_leaves_what_is_mounted_on_top),
		CLI(dead_mounts_that_lie_on_each_other_are_cleared),
		CLI(a_covered_mount_is_not_unmounted),
		CLI(a_late_daemon_leaves_its_successor_alone),
		CLI(a_bind_mount_of_ours_is_no_reason_to_stay),
		CLI(a_signal_unmounts_where_it_has_gone_to),
	};

	if (skip)
		return skip;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
