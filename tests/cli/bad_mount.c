/*
 * Mounts that can't be: without the device or the right to use it, and those
 * that would stand in each other's way.  One line, exit status 1, nothing left.
 */
#include "cli.h"

#include <sys/mount.h>

/* Fails unless these words fail with 1, a line about @mention, and no trace. */
static void assert_refused(const struct cli *cli, uid_t user,
			   const char *mention, const char *const *argv)
{
	struct command_options options = {
		.seconds = DEADLINE, .uid = user, .gid = user,
	};
	int processes = cli_processes(NULL);
	char *before = cli_mount_table();
	struct command command = command_run(&options, argv);

	(void)cli;
	assert_string_equal(command.out, "");
	cli_assert_complaint(command.err, mention);
	assert_int_equal(command.status, 1);
	command_free(&command);
	assert_int_equal(cli_processes(NULL), processes);
	assert_true(cli_mounts_are(before));
	free(before);
}

static void refused(const struct cli *cli, const char *mention,
		    const char *source, const char *mountpoint)
{
	const char *background[] = {
		fixture_program(), source, mountpoint, NULL,
	};
	const char *foreground[] = {
		fixture_program(), "-f", source, mountpoint, NULL,
	};

	assert_refused(cli, 0, mention, background);
	assert_refused(cli, 0, mention, foreground);
}

/* ---------------------------------------------------------------- the device */

static void an_empty_dev_is_told(void **state)
{
	struct cli *cli = *state;

	refused(cli, "/dev/fuse", cli->source, cli->mnt);
	refused(cli, "/dev/fuse", cli->source, NULL);
}

static void a_missing_device_is_told(void **state)
{
	struct cli *cli = *state;

	cli_device("/dev/null", 0666, 1, 3);
	refused(cli, "/dev/fuse", cli->source, cli->mnt);
}

/* The device's file is there and no driver behind it. */
static void a_device_without_driver_is_told(void **state)
{
	struct cli *cli = *state;

	cli_device("/dev/null", 0666, 1, 3);
	cli_device("/dev/fuse", 0666, 10, 4094);
	refused(cli, "/dev/fuse", cli->source, cli->mnt);
}

static void a_file_in_place_of_the_device_is_told(void **state)
{
	struct cli *cli = *state;

	cli_device("/dev/null", 0666, 1, 3);
	tree_write("/dev/fuse", "", 0);
	refused(cli, NULL, cli->source, cli->mnt);
}

static void no_right_to_the_device_is_told(void **state)
{
	struct cli *cli = *state;
	const char *program = cli_program_for_all(cli);
	const char *elsewhere[] = { program, cli->source, cli->mnt, NULL };
	const char *in_place[] = { program, cli->source, NULL };
	const char *foreground[] = { program, "-f", cli->source, NULL };

	cli_device("/dev/null", 0666, 1, 3);
	cli_device("/dev/fuse", 0600, 10, 229);
	assert_int_equal(chown(cli->source, 65534, 65534), 0);
	assert_int_equal(chown(cli->mnt, 65534, 65534), 0);
	assert_refused(cli, 65534, "Permission denied", elsewhere);
	assert_refused(cli, 65534, "Permission denied", in_place);
	assert_refused(cli, 65534, "/dev/fuse", foreground);
}

/* What a plain user lacks to mount is told in one line as well. */
static void no_right_to_the_mountpoint_is_told(void **state)
{
	struct cli *cli = *state;
	const char *program = cli_program_for_all(cli);
	const char *elsewhere[] = { program, cli->source, cli->mnt, NULL };
	const char *in_place[] = { program, "-f", cli->source, NULL };

	cli_devices_for_all();
	assert_refused(cli, 65534, cli->mnt, elsewhere);
	assert_refused(cli, 65534, cli->source, in_place);
}

/* Covered, since a libfuse of the system's knows where it lies. */
static void a_fusermount_that_cannot_be_run_is_told(void **state)
{
	struct cli *cli = *state;
	const char *program = cli_program_for_all(cli);
	const char *argv[] = {
		program, "-o", "auto_unmount", cli->source, cli->mnt, NULL,
	};
	char *place = command_output(NULL, "sh", "-c",
				     "readlink -f \"$(command -v fusermount3)\"",
				     NULL);

	place[strcspn(place, "\n")] = '\0';
	cli_devices_for_all();
	assert_int_equal(chown(cli->mnt, 65534, 65534), 0);
	assert_int_equal(mount(cli->file, place, NULL, MS_BIND, NULL), 0);
	assert_refused(cli, 65534, "fusermount3", argv);
	assert_int_equal(umount2(place, MNT_DETACH), 0);
	free(place);
}

/* ------------------------------------------------------- mounts and mounts */

static void a_source_that_one_may_not_look_into_is_told(void **state)
{
	struct cli *cli = *state;
	const char *program = cli_program_for_all(cli);
	const char *inside = in(cli->source, "pkg");
	const char *argv[] = { program, inside, NULL };

	cli_device("/dev/null", 0666, 1, 3);
	cli_device("/dev/fuse", 0666, 10, 229);
	assert_int_equal(chmod(cli->source, 0700), 0);
	assert_refused(cli, 65534, "Permission denied", argv);
}

static void unmount(const char *path, pid_t daemon)
{
	cli_quietly("unmount", path, NULL);
	cli_assert_ended(daemon, path);
}

static void a_mount_over_its_source_is_not_mounted_again(void **state)
{
	struct cli *cli = *state;
	pid_t daemon;

	cli_quietly(cli->source, NULL);
	assert_int_equal(cli_processes(&daemon), 1);
	refused(cli, cli->source, cli->source, NULL);
	refused(cli, cli->source, cli->source, cli->mnt);
	refused(cli, cli->source, in(cli->source, "pkg"), NULL);
	refused(cli, cli->source, in(cli->source, "pkg"), cli->mnt);
	cli_assert_usable(cli->source);
	unmount(cli->source, daemon);
}

static void a_mount_elsewhere_is_no_source(void **state)
{
	struct cli *cli = *state;
	pid_t daemon = cli_mount(cli, NULL);
	char other[128];

	snprintf(other, sizeof(other), "%s/other", cli->top);
	assert_int_equal(mkdir(other, 0755), 0);
	refused(cli, cli->mnt, cli->mnt, NULL);
	refused(cli, cli->mnt, cli->mnt, other);
	refused(cli, cli->mnt, in(cli->mnt, "pkg"), other);
	cli_assert_usable(cli->mnt);
	unmount(cli->mnt, daemon);
}

/* A bind mount of it is the same filesystem. */
static void a_bind_mount_of_a_mount_is_no_source(void **state)
{
	struct cli *cli = *state;
	pid_t daemon = cli_mount(cli, NULL);
	char other[128];

	snprintf(other, sizeof(other), "%s/other", cli->top);
	assert_int_equal(mkdir(other, 0755), 0);
	assert_int_equal(mount(in(cli->mnt, "pkg"), other, NULL, MS_BIND, NULL), 0);
	refused(cli, other, other, NULL);
	assert_int_equal(umount2(other, 0), 0);
	unmount(cli->mnt, daemon);
}

static void a_mountpoint_holds_one_mount(void **state)
{
	struct cli *cli = *state;
	pid_t daemon = cli_mount(cli, NULL);
	char other[128];

	snprintf(other, sizeof(other), "%s/other", cli->top);
	assert_int_equal(mkdir(other, 0755), 0);
	refused(cli, cli->mnt, other, cli->mnt);
	refused(cli, cli->mnt, cli->source, cli->mnt);
	cli_assert_usable(cli->mnt);
	unmount(cli->mnt, daemon);
}

/* One source may well be mounted at two places. */
static void a_source_is_mounted_at_two_places(void **state)
{
	struct cli *cli = *state;
	pid_t first = cli_mount(cli, NULL), second;
	char other[128];

	snprintf(other, sizeof(other), "%s/other", cli->top);
	assert_int_equal(mkdir(other, 0755), 0);
	cli_quietly(cli->source, other, NULL);
	assert_int_equal(cli_processes(&second), 2);
	cli_assert_usable(cli->mnt);
	cli_assert_usable(other);
	cli_quietly("unmount", cli->mnt, NULL);
	cli_assert_usable(other);
	cli_quietly("unmount", other, NULL);
	assert_int_equal(cli_mounts_at(other), 0);
	(void)first;
}

/* ------------------------------------------------------------------ a sandbox */

/* In a process of its own, which then may not assert: the step that failed. */
static int mount_in_sandbox(void *data)
{
	const struct cli *cli = data;
	const struct command_options options = { .seconds = DEADLINE };
	const char *const argv[] = {
		fixture_program(), cli->source, cli->mnt, NULL,
	};
	struct command command;
	int step = 0;

	if (forbid_unshare())
		return 1;
	command = command_run(&options, argv);
	if (command.status != 1)
		step = 2;
	else if (!strstr(command.err, "unshare") || *command.out)
		step = 3;
	command_free(&command);
	return step;
}

static void a_sandbox_without_unshare_is_told(void **state)
{
	struct cli *cli = *state;
	char *before = cli_mount_table(), *after;

	assert_int_equal(as_user(0, 0, NULL, 0, mount_in_sandbox, cli), 0);
	after = cli_mount_table();
	assert_string_equal(after, before);
	free(before);
	free(after);
}

int main(void)
{
	int skip = cli_possible();
	const struct CMUnitTest tests[] = {
		CLI_DEV(an_empty_dev_is_told),
		CLI_DEV(a_missing_device_is_told),
		CLI_DEV(a_device_without_driver_is_told),
		CLI_DEV(a_file_in_place_of_the_device_is_told),
		CLI_DEV(no_right_to_the_device_is_told),
		CLI_DEV(no_right_to_the_mountpoint_is_told),
		CLI_DEV(a_fusermount_that_cannot_be_run_is_told),
		CLI_DEV(a_source_that_one_may_not_look_into_is_told),
		CLI(a_sandbox_without_unshare_is_told),
		CLI(a_mount_over_its_source_is_not_mounted_again),
		CLI(a_mount_elsewhere_is_no_source),
		CLI(a_bind_mount_of_a_mount_is_no_source),
		CLI(a_mountpoint_holds_one_mount),
		CLI(a_source_is_mounted_at_two_places),
	};

	if (skip)
		return skip;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
