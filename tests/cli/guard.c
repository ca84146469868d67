/*
 * auto_unmount: whatever ends the daemon, its mount goes with it, and no other.
 */
#include "cli.h"

#include <sys/mount.h>
#include <sys/wait.h>

/* nobody: fusermount3 mounts only for users who have a name. */
#define USER 65534

/* Kills the daemon and waits until its guard has done its work. */
static void kill_and_wait(pid_t daemon)
{
	assert_int_equal(kill(daemon, SIGKILL), 0);
	/* Only now is the guard a child of ours. */
	assert_int_equal(cli_wait(daemon), 128 + SIGKILL);
	cli_wait_left(0);
}

static void a_killed_daemons_mount_goes(void **state)
{
	struct cli *cli = *state;
	const char *elsewhere[] = {
		"-o", "auto_unmount", cli->source, cli->mnt, NULL,
	};
	const char *in_place[] = { "-o", "auto_unmount", cli->source, NULL };
	pid_t daemon = cli_mount(cli, "auto_unmount");

	cli_assert_usable(cli->mnt);
	kill_and_wait(daemon);
	assert_int_equal(cli_mounts_at(cli->mnt), 0);

	kill_and_wait(cli_foreground(cli, cli->mnt, elsewhere));
	assert_int_equal(cli_mounts_at(cli->mnt), 0);
	kill_and_wait(cli_foreground(cli, cli->source, in_place));
	assert_int_equal(cli_mounts_at(cli->source), 0);
	/* And when it is used. */
	daemon = cli_mount(cli, "auto_unmount");
	int fd = open(in(cli->mnt, "pkg/mod.py"), O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	kill_and_wait(daemon);
	assert_int_equal(cli_mounts_at(cli->mnt), 0);
	close(fd);
}

/* fusermount3 mounts for such a user, and unmounts. */
static pid_t mount_as_user(struct cli *cli, const char *options)
{
	const char *argv[] = {
		cli_program_for_all(cli), "-o", options, cli->source, cli->mnt,
		NULL,
	};
	struct command_options user = {
		.seconds = DEADLINE, .uid = USER, .gid = USER,
	};
	pid_t daemon;

	cli_devices_for_all();
	assert_int_equal(chown(cli->source, USER, USER), 0);
	assert_int_equal(chown(cli->mnt, USER, USER), 0);
	struct command command = command_run(&user, argv);
	assert_string_equal(command.err, "");
	assert_int_equal(command.status, 0);
	command_free(&command);
	assert_int_equal(cli_processes(&daemon), 1);
	assert_int_equal(cli_mounts_at(cli->mnt), 1);
	return daemon;
}

static void a_plain_users_killed_daemons_mount_goes(void **state)
{
	struct cli *cli = *state;

	kill_and_wait(mount_as_user(cli, "auto_unmount"));
	assert_int_equal(cli_mounts_at(cli->mnt), 0);
}

static void a_plain_users_daemon_unmounts_when_told(void **state)
{
	struct cli *cli = *state;
	pid_t daemon = mount_as_user(cli, "size=8M");

	assert_int_equal(kill(daemon, SIGTERM), 0);
	cli_assert_ended(daemon, cli->mnt);
}

static void the_guard_ends_with_its_daemon(void **state)
{
	struct cli *cli = *state;
	pid_t daemon = cli_mount(cli, "auto_unmount");

	cli_quietly("unmount", cli->mnt, NULL);
	cli_assert_ended(daemon, cli->mnt);
	assert_int_equal(cli_processes(NULL), 0);
	daemon = cli_mount(cli, "auto_unmount");
	assert_int_equal(kill(daemon, SIGTERM), 0);
	cli_assert_ended(daemon, cli->mnt);
	assert_int_equal(cli_processes(NULL), 0);
}

static void no_guard_is_left_where_mounting_fails(void **state)
{
	struct cli *cli = *state;
	struct command command = cli_run("-o", "auto_unmount,context=a:b:c:d",
					 cli->source, cli->mnt, NULL);

	/* Where the kernel knows SELinux, it mounts. */
	if (command.status == 0)
		cli_quietly("unmount", cli->mnt, NULL);
	else
		assert_int_equal(cli_processes(NULL), 0);
	command_free(&command);
}

/* A later mount at the same place, after the first was unmounted lazily. */
static void anothers_mount_at_that_place_stays(void **state)
{
	struct cli *cli = *state;
	pid_t first = cli_mount(cli, "auto_unmount"), second;
	int fd = open(in(cli->mnt, "pkg/mod.py"), O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	cli_quietly("unmount", "--lazy", cli->mnt, NULL);
	cli_quietly(cli->source, cli->mnt, NULL);
	assert_int_equal(kill(first, SIGKILL), 0);
	assert_int_equal(cli_wait(first), 128 + SIGKILL);
	close(fd);
	cli_wait_left(1);
	assert_int_equal(cli_processes(&second), 1);
	cli_assert_usable(cli->mnt);
	cli_quietly("unmount", cli->mnt, NULL);
	cli_assert_ended(second, cli->mnt);
}

static void a_mount_on_top_stays_and_so_does_ours(void **state)
{
	struct cli *cli = *state;
	pid_t daemon = cli_mount(cli, "auto_unmount");

	assert_int_equal(mount("none", cli->mnt, "tmpfs", 0, "size=64k"), 0);
	tree_write(in(cli->mnt, "theirs"), "x", -1);
	kill_and_wait(daemon);
	assert_int_equal(cli_mounts_at(cli->mnt), 2);
	assert_int_equal(access(in(cli->mnt, "theirs"), F_OK), 0);
	assert_int_equal(umount2(cli->mnt, 0), 0);
	cli_quietly("unmount", cli->mnt, NULL);
	assert_int_equal(cli_mounts_at(cli->mnt), 0);
}

static void a_mount_is_found_where_it_has_gone_to(void **state)
{
	struct cli *cli = *state;
	char place[160];

	kill_and_wait(cli_mount_and_rename(cli, "auto_unmount", place));
	assert_int_equal(cli_mounts_at(place), 0);
}

/* Who reads the command's output until its end must not wait for the guard. */
static void the_guard_lets_go_of_the_terminal(void **state)
{
	struct cli *cli = *state;
	int ends[2], status;
	pid_t child;
	char byte;

	assert_int_equal(pipe(ends), 0);
	fflush(NULL);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		dup2(ends[1], 1);
		dup2(ends[1], 2);
		execl(fixture_program(), fixture_program(), "-o", "auto_unmount",
		      cli->source, cli->mnt, NULL);
		_exit(127);
	}
	close(ends[1]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	/* The meson test's time limit tells when this is wrong. */
	assert_int_equal(read(ends[0], &byte, 1), 0);
	close(ends[0]);
	cli_quietly("unmount", cli->mnt, NULL);
}

int main(void)
{
	int skip = cli_possible();
	const struct CMUnitTest tests[] = {
		CLI(a_killed_daemons_mount_goes),
		CLI(the_guard_ends_with_its_daemon),
		CLI(no_guard_is_left_where_mounting_fails),
		CLI(anothers_mount_at_that_place_stays),
		CLI(a_mount_on_top_stays_and_so_does_ours),
		CLI(a_mount_is_found_where_it_has_gone_to),
		CLI(the_guard_lets_go_of_the_terminal),
		CLI_DEV(a_plain_users_killed_daemons_mount_goes),
		CLI_DEV(a_plain_users_daemon_unmounts_when_told),
	};
	/* The last two need what fusermount3 looks into before it unmounts. */
	size_t count = sizeof(tests) / sizeof(*tests);

	if (skip)
		return skip;
	if (access("/etc/mtab", F_OK)) {
		print_message("no /etc/mtab: a plain user can't unmount\n");
		count -= 2;
	}
	return _cmocka_run_group_tests("guard", tests, count, NULL, NULL);
}
