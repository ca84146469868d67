/*
 * Mounting: the command returns when the mount is usable and leaves a daemon
 * that has nothing to do with the terminal any more.
 */
#include "cli.h"

#include <sys/ioctl.h>
#include <sys/statvfs.h>
#include <sys/wait.h>

static void a_mount_is_usable_when_the_command_returns(void **state)
{
	struct cli *cli = *state;

	/* Nothing is waited for, so a gap would show sooner or later. */
	for (int i = 0; i < 5; i++) {
		pid_t daemon = cli_mount(cli, NULL);

		cli_assert_usable(cli->mnt);
		cli_quietly("unmount", cli->mnt, NULL);
		cli_assert_ended(daemon, cli->mnt);
	}
}

static void without_a_mountpoint_it_lies_over_its_source(void **state)
{
	struct cli *cli = *state;
	pid_t daemon;

	for (int i = 0; i < 5; i++) {
		cli_quietly(cli->source, NULL);
		assert_int_equal(cli_processes(&daemon), 1);
		cli_assert_usable(cli->source);
		cli_quietly("unmount", cli->source, NULL);
		cli_assert_ended(daemon, cli->source);
	}
	char *names = tree_list(in(cli->source, "pkg"));
	assert_string_equal(names, "mod.py");
	free(names);
}

static void the_source_given_twice_is_the_same(void **state)
{
	struct cli *cli = *state;
	pid_t daemon;

	cli_quietly(cli->source, cli->source, NULL);
	assert_int_equal(cli_processes(&daemon), 1);
	cli_assert_usable(cli->source);
	cli_quietly("unmount", cli->source, NULL);
	cli_assert_ended(daemon, cli->source);
}

static long status_field(pid_t pid, const char *field)
{
	char path[64], *text, *at;
	long value;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	text = tree_read(path, NULL);
	at = strstr(text, field);
	assert_non_null(at);
	value = strtol(at + strlen(field), NULL, 10);
	free(text);
	return value;
}

static void read_link(char ret[256], pid_t pid, const char *name)
{
	char path[300];
	ssize_t length;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	length = readlink(path, ret, 255);
	assert_true(length >= 0);
	ret[length] = '\0';
}

static void the_daemon_has_its_own_session_and_no_terminal(void **state)
{
	struct cli *cli = *state;
	pid_t daemon = cli_mount(cli, NULL);
	char link[256], stat_path[64];
	int session, terminal, group;

	assert_int_not_equal(getsid(daemon), getsid(0));
	assert_int_not_equal(getpgid(daemon), getpgid(0));
	read_link(link, daemon, "cwd");
	assert_string_equal(link, "/");
	for (int fd = 0; fd < 3; fd++) {
		char name[16];

		snprintf(name, sizeof(name), "fd/%d", fd);
		read_link(link, daemon, name);
		assert_string_equal(link, "/dev/null");
	}
	snprintf(stat_path, sizeof(stat_path), "/proc/%d/stat", daemon);
	char *stat = tree_read(stat_path, NULL);
	assert_int_equal(sscanf(strrchr(stat, ')'), ") %*c %*d %d %d %d",
				&group, &session, &terminal), 3);
	assert_int_equal(terminal, 0);
	free(stat);
	assert_int_equal(status_field(daemon, "\nPPid:"), getpid());

	cli_quietly("unmount", cli->mnt, NULL);
	cli_assert_ended(daemon, cli->mnt);
}

/* Runs the command on a terminal of its own; returns the terminal's other end. */
static int run_on_terminal(const struct cli *cli)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), status;
	char name[64];
	pid_t child;

	assert_true(master >= 0);
	assert_int_equal(grantpt(master), 0);
	assert_int_equal(unlockpt(master), 0);
	assert_int_equal(ptsname_r(master, name, sizeof(name)), 0);
	fflush(NULL);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		int slave;

		setsid();
		slave = open(name, O_RDWR);
		if (slave < 0 || ioctl(slave, TIOCSCTTY, 0) < 0)
			_exit(126);
		dup2(slave, 0);
		dup2(slave, 1);
		dup2(slave, 2);
		execl(fixture_program(), fixture_program(), cli->source,
		      cli->mnt, NULL);
		_exit(127);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	return master;
}

static void the_daemon_outlives_its_terminal(void **state)
{
	struct cli *cli = *state;
	int master = run_on_terminal(cli);
	char link[256];
	pid_t daemon;

	assert_int_equal(cli_processes(&daemon), 1);
	for (int fd = 0; fd < 3; fd++) {
		char name[16];

		snprintf(name, sizeof(name), "fd/%d", fd);
		read_link(link, daemon, name);
		assert_null(strstr(link, "/pts/"));
	}
	close(master);
	cli_assert_usable(cli->mnt);
	assert_int_equal(kill(daemon, 0), 0);
	cli_quietly("unmount", cli->mnt, NULL);
	cli_assert_ended(daemon, cli->mnt);
}

static void the_daemon_keeps_no_descriptor_of_its_caller(void **state)
{
	struct cli *cli = *state;
	pid_t daemon;
	int ends[2];
	char byte;

	/* Without O_CLOEXEC, as a shell hands a lock's descriptor on, say. */
	assert_int_equal(pipe(ends), 0);
	daemon = cli_mount(cli, NULL);
	/* A reader sees the end only when the last writer is gone. */
	close(ends[1]);
	assert_int_equal(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(read(ends[0], &byte, 1), 0);
	close(ends[0]);
	cli_quietly("unmount", cli->mnt, NULL);
	cli_assert_ended(daemon, cli->mnt);
}

static void in_the_foreground_it_stays_the_same_process(void **state)
{
	struct cli *cli = *state;
	const char *words[] = { cli->source, cli->mnt, NULL };
	pid_t child = cli_foreground(cli, cli->mnt, words), last;

	cli_assert_usable(cli->mnt);
	assert_int_equal(cli_processes(&last), 1);
	assert_int_equal(last, child);
	cli_quietly("unmount", cli->mnt, NULL);
	cli_assert_ended(child, cli->mnt);
}

static void in_place_works_in_the_foreground(void **state)
{
	struct cli *cli = *state;
	const char *words[] = { cli->source, NULL };
	pid_t child = cli_foreground(cli, cli->source, words);

	cli_assert_usable(cli->source);
	cli_quietly("unmount", cli->source, NULL);
	cli_assert_ended(child, cli->source);
}

static void debugging_tells_what_is_asked(void **state)
{
	struct cli *cli = *state;
	const char *quiet[] = { cli->source, cli->mnt, NULL };
	const char *words[] = { "-d", cli->source, cli->mnt, NULL };
	pid_t child = cli_foreground(cli, cli->mnt, quiet);
	char *log;

	assert_int_equal(mkdir(in(cli->mnt, "asked-for"), 0755), 0);
	cli_quietly("unmount", cli->mnt, NULL);
	cli_assert_ended(child, cli->mnt);
	assert_int_equal(rmdir(in(cli->source, "asked-for")), 0);
	log = tree_read(cli->log, NULL);
	assert_null(strcasestr(log, "mkdir"));
	free(log);

	child = cli_foreground(cli, cli->mnt, words);
	assert_int_equal(mkdir(in(cli->mnt, "asked-for"), 0755), 0);
	cli_quietly("unmount", cli->mnt, NULL);
	cli_assert_ended(child, cli->mnt);
	log = tree_read(cli->log, NULL);
	assert_non_null(strcasestr(log, "mkdir"));
	free(log);
}

int main(void)
{
	int skip = cli_possible();
	const struct CMUnitTest tests[] = {
		CLI(a_mount_is_usable_when_the_command_returns),
		CLI(without_a_mountpoint_it_lies_over_its_source),
		CLI(the_source_given_twice_is_the_same),
		CLI(the_daemon_has_its_own_session_and_no_terminal),
		CLI(the_daemon_outlives_its_terminal),
		CLI(the_daemon_keeps_no_descriptor_of_its_caller),
		CLI(in_the_foreground_it_stays_the_same_process),
		CLI(in_place_works_in_the_foreground),
		CLI(debugging_tells_what_is_asked),
	};

	if (skip)
		return skip;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
