/*
 * How a mount ends: by unmounting in any way, by signals, by its daemon's death,
 * and by its source going away under it.
 */
#include "cli.h"

#include <sys/mount.h>
#include <sys/wait.h>

static void unmounting_ends_the_daemon(void **state)
{
	struct cli *cli = *state;
	pid_t daemon = cli_mount(cli, NULL);

	cli_quietly("unmount", cli->mnt, NULL);
	assert_int_equal(cli_mounts_at(cli->mnt), 0);
	cli_assert_ended(daemon, cli->mnt);
}

static void umount_8_ends_the_daemon(void **state)
{
	struct cli *cli = *state;
	const char *words[] = { cli->source, NULL };
	pid_t daemon = cli_mount(cli, NULL);

	free(command_output(NULL, "umount", cli->mnt, NULL));
	cli_assert_ended(daemon, cli->mnt);
	daemon = cli_foreground(cli, cli->source, words);
	free(command_output(NULL, "umount", cli->source, NULL));
	cli_assert_ended(daemon, cli->source);
}

static void a_signal_ends_it_cleanly(void **state)
{
	static const int signals[] = { SIGTERM, SIGINT };
	struct cli *cli = *state;
	const char *in_place[] = { cli->source, NULL };
	const char *elsewhere[] = { cli->source, cli->mnt, NULL };

	for (size_t i = 0; i < 2; i++) {
		pid_t daemon = cli_mount(cli, NULL);

		assert_int_equal(kill(daemon, signals[i]), 0);
		cli_assert_ended(daemon, cli->mnt);
		daemon = cli_foreground(cli, cli->mnt, elsewhere);
		assert_int_equal(kill(daemon, signals[i]), 0);
		cli_assert_ended(daemon, cli->mnt);
		daemon = cli_foreground(cli, cli->source, in_place);
		cli_assert_usable(cli->source);
		assert_int_equal(kill(daemon, signals[i]), 0);
		cli_assert_ended(daemon, cli->source);
	}
	char *log = tree_read(cli->log, NULL);
	assert_null(strstr(log, "error: "));
	assert_null(strstr(log, "warning: "));
	free(log);
}

static void a_signal_ends_a_busy_mount_too(void **state)
{
	struct cli *cli = *state;
	pid_t daemon = cli_mount(cli, NULL);
	int fd = open(in(cli->mnt, "pkg/mod.py"), O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(kill(daemon, SIGTERM), 0);
	cli_assert_ended(daemon, cli->mnt);
	/* Whoever still holds a file gets an error and is not left waiting. */
	assert_int_equal(pwrite(fd, "x", 1, 0), -1);
	close(fd);
}

static void a_busy_mount_is_unmounted_only_lazily(void **state)
{
	struct cli *cli = *state;
	pid_t daemon = cli_mount(cli, NULL);
	int fd = open(in(cli->mnt, "pkg/mod.py"), O_RDONLY | O_CLOEXEC);
	struct command command = cli_run("unmount", cli->mnt, NULL);
	char text[16] = "";

	assert_true(fd >= 0);
	cli_assert_complaint(command.err, cli->mnt);
	assert_string_equal(command.out, "");
	assert_int_equal(command.status, 1);
	command_free(&command);
	cli_assert_usable(cli->mnt);

	cli_quietly("unmount", "--lazy", cli->mnt, NULL);
	assert_int_equal(cli_mounts_at(cli->mnt), 0);
	/* Open files go on until they are closed. */
	assert_int_equal(pread(fd, text, sizeof(text), 0), 8);
	assert_string_equal(text, "mod = 1\n");
	assert_int_equal(cli_processes(NULL), 1);
	close(fd);
	cli_assert_ended(daemon, cli->mnt);
}

static bool is_dead(void *path)
{
	struct stat st;

	return stat(path, &st) < 0 && errno == ENOTCONN;
}

static void kill_daemon(pid_t daemon, char *mnt)
{
	int status;

	assert_int_equal(kill(daemon, SIGKILL), 0);
	assert_int_equal(waitpid(daemon, &status, 0), daemon);
	assert_true(eventually(DEADLINE, is_dead, mnt));
	assert_int_equal(cli_mounts_at(mnt), 1);
}

static void a_dead_mount_is_replaced(void **state)
{
	struct cli *cli = *state;
	pid_t daemon = cli_mount(cli, NULL);
	struct stat st;

	kill_daemon(daemon, cli->mnt);
	daemon = cli_mount(cli, NULL);
	assert_int_equal(cli_mounts_at(cli->mnt), 1);
	/* Also when the kernel still knows what a stat would ask for. */
	cli_assert_usable(cli->mnt);
	assert_int_equal(stat(cli->mnt, &st), 0);
	assert_int_equal(kill(daemon, SIGKILL), 0);
	cli_wait(daemon);
	daemon = cli_mount(cli, NULL);
	assert_int_equal(cli_mounts_at(cli->mnt), 1);
	cli_assert_usable(cli->mnt);
	cli_quietly("unmount", cli->mnt, NULL);
	cli_assert_ended(daemon, cli->mnt);
}

static void a_dead_mount_over_its_source_is_replaced(void **state)
{
	struct cli *cli = *state;
	pid_t daemon;

	cli_quietly(cli->source, NULL);
	assert_int_equal(cli_processes(&daemon), 1);
	kill_daemon(daemon, cli->source);
	cli_quietly(cli->source, NULL);
	assert_int_equal(cli_processes(&daemon), 1);
	assert_int_equal(cli_mounts_at(cli->source), 1);
	cli_assert_usable(cli->source);
	cli_quietly("unmount", cli->source, NULL);
	cli_assert_ended(daemon, cli->source);
}

static void a_dead_mount_can_be_unmounted(void **state)
{
	struct cli *cli = *state;
	pid_t daemon = cli_mount(cli, NULL);

	kill_daemon(daemon, cli->mnt);
	cli_quietly("unmount", cli->mnt, NULL);
	assert_int_equal(cli_mounts_at(cli->mnt), 0);
}

/* A dead mount is no reason to hang or fail for the others. */
static void status_shows_a_dead_mount_among_others(void **state)
{
	struct cli *cli = *state;
	pid_t daemon = cli_mount(cli, NULL), other;

	kill_daemon(daemon, cli->mnt);
	cli_quietly(cli->source, NULL);
	assert_int_equal(cli_processes(&other), 1);
	struct command command = cli_run("status", NULL);
	assert_string_equal(command.err, "");
	assert_int_equal(command.status, 0);
	assert_non_null(strstr(command.out, cli->mnt));
	command_free(&command);
	cli_quietly("unmount", cli->mnt, NULL);
	cli_quietly("unmount", cli->source, NULL);
	cli_assert_ended(other, cli->source);
}

/* What a program does in a mount must end in time, one way or the other. */
static int in_shell(const struct cli *cli, const char *script)
{
	struct command_options options = { .seconds = DEADLINE };
	const char *argv[] = { "sh", "-c", script, "sh", cli->mnt, NULL };
	struct command command = command_run(&options, argv);
	int status = command.status;

	if (status == -1)
		print_error("over its time: %s\n", script);
	command_free(&command);
	return status;
}

static bool is_gone(void *path)
{
	struct stat st;

	return stat(path, &st) < 0 && (errno == ENOENT || errno == ESTALE);
}

static void a_removed_source_gives_errors_and_unmounts(void **state)
{
	static const char *const fail[] = {
		"cat \"$1/pkg/mod.py\"", "ls \"$1/pkg\"", "mkdir \"$1/new\"",
		"echo x >\"$1/new\"", "echo x >\"$1/pkg/new\"",
		"touch \"$1/pkg/mod.py\" && cat \"$1/pkg/mod.py\"",
	};
	static const char *const end[] = {
		"ls \"$1\"", "find \"$1\"", "stat \"$1\"", "df \"$1\"",
		"ls \"$1/__pycache__\"", "echo x >\"$1/__pycache__/x\"",
		"rm -rf \"$1/pkg\"",
	};
	struct cli *cli = *state;
	pid_t daemon = cli_mount(cli, NULL);
	char file[128];

	cli_assert_usable(cli->mnt);
	tree_remove(cli->source);
	snprintf(file, sizeof(file), "%s/pkg/mod.py", cli->mnt);
	assert_true(eventually(DEADLINE, is_gone, file));
	for (size_t i = 0; i < sizeof(fail) / sizeof(*fail); i++) {
		int status = in_shell(cli, fail[i]);

		assert_int_not_equal(status, -1);
		assert_int_not_equal(status, 0);
	}
	for (size_t i = 0; i < sizeof(end) / sizeof(*end); i++)
		assert_int_not_equal(in_shell(cli, end[i]), -1);
	assert_int_equal(cli_processes(NULL), 1);
	cli_quietly("unmount", cli->mnt, NULL);
	cli_assert_ended(daemon, cli->mnt);
}

static void a_file_open_while_its_source_goes_stays_readable(void **state)
{
	struct cli *cli = *state;
	pid_t daemon = cli_mount(cli, NULL);
	int fd = open(in(cli->mnt, "pkg/mod.py"), O_RDONLY | O_CLOEXEC);
	char text[16];
	ssize_t got;

	assert_true(fd >= 0);
	tree_remove(cli->source);
	/* With no handle kept for it, the file may also be gone: no hang. */
	got = pread(fd, text, sizeof(text), 0);
	if (got < 0)
		assert_true(errno == ESTALE || errno == ENOENT || errno == EIO);
	else
		assert_int_equal(got, 8);
	close(fd);
	cli_quietly("unmount", cli->mnt, NULL);
	cli_assert_ended(daemon, cli->mnt);
}

static void a_source_that_is_renamed_stays_mounted(void **state)
{
	struct cli *cli = *state;
	pid_t daemon = cli_mount(cli, NULL);

	assert_int_equal(rename(cli->source, in(cli->top, "renamed")), 0);
	cli_assert_usable(cli->mnt);
	cli_quietly("unmount", cli->mnt, NULL);
	cli_assert_ended(daemon, cli->mnt);
}

int main(void)
{
	int skip = cli_possible();
	const struct CMUnitTest tests[] = {
		CLI(unmounting_ends_the_daemon),
		CLI(umount_8_ends_the_daemon),
		CLI(a_signal_ends_it_cleanly),
		CLI(a_signal_ends_a_busy_mount_too),
		CLI(a_busy_mount_is_unmounted_only_lazily),
		CLI(a_dead_mount_is_replaced),
		CLI(a_dead_mount_over_its_source_is_replaced),
		CLI(a_dead_mount_can_be_unmounted),
		CLI(status_shows_a_dead_mount_among_others),
		CLI(a_removed_source_gives_errors_and_unmounts),
		CLI(a_file_open_while_its_source_goes_stays_readable),
		CLI(a_source_that_is_renamed_stays_mounted),
	};

	if (skip)
		return skip;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
