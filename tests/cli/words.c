/*
 * Where the daemon's words go: to standard error in the foreground, else to syslog,
 * whoever says them; and nowhere, when nobody listens, without harm.
 *
 * libfuse is made to say something while it serves by taking /dev/fuse away: each of
 * its threads opens that anew.
 */
#include "cli.h"

#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

static const char libfuse_words[] = "failed to open /dev/fuse";

/* A syslog of our own in the covered /dev. */
static int listen_to_syslog(void)
{
	struct sockaddr_un address = {
		.sun_family = AF_UNIX, .sun_path = "/dev/log",
	};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

struct hearing {
	int fd;
	const char *words;
	char all[16384];
	size_t length;
};

static bool is_heard(void *data)
{
	struct hearing *hearing = data;
	ssize_t got;

	while ((got = recv(hearing->fd, hearing->all + hearing->length,
			   sizeof(hearing->all) - hearing->length - 2, 0)) > 0) {
		hearing->length += (size_t)got;
		hearing->all[hearing->length++] = '\n';
	}
	return strstr(hearing->all, hearing->words);
}

static void assert_heard(struct hearing *hearing, const char *words)
{
	hearing->words = words;
	if (!eventually(DEADLINE, is_heard, hearing))
		fail_msg("no '%s' in:\n%s", words, hearing->all);
}

static void in_the_background_they_go_to_syslog(void **state)
{
	struct cli *cli = *state;
	struct hearing hearing = { .fd = -1 };
	pid_t daemon;

	cli_devices_for_all();
	hearing.fd = listen_to_syslog();
	daemon = cli_mount(cli, NULL);
	assert_heard(&hearing, "mounted");
	assert_int_equal(unlink("/dev/fuse"), 0);
	cli_assert_usable(cli->mnt);
	assert_heard(&hearing, libfuse_words);
	/* What its user is told is told there, too. */
	assert_int_equal(mount("none", cli->mnt, "tmpfs", 0, "size=64k"), 0);
	assert_int_equal(kill(daemon, SIGTERM), 0);
	assert_heard(&hearing, "something else is mounted on top");
	assert_heard(&hearing, "unmounted");
	close(hearing.fd);
	assert_int_equal(umount2(cli->mnt, 0), 0);
	cli_quietly("unmount", cli->mnt, NULL);
	cli_assert_ended(daemon, cli->mnt);
}

/* Those of `run` as well, which has no command that waits and no end to be told of. */
static void the_words_of_a_runs_daemon_go_there_too(void **state)
{
	struct cli *cli = *state;
	struct hearing hearing = { .fd = -1 };
	struct command command;

	cli_devices_for_all();
	hearing.fd = listen_to_syslog();
	command = cli_run("run", "--source", cli->source, "sh", "-c",
			  "rm /dev/fuse && echo x >$0/__pycache__/x && ls $0",
			  cli->source, NULL);
	assert_int_equal(command.status, 0);
	assert_string_equal(command.err, "");
	assert_string_equal(command.out, "pkg\n");
	command_free(&command);
	assert_heard(&hearing, libfuse_words);
	assert_non_null(strstr(hearing.all, "pycachefs["));
	close(hearing.fd);
}

static void a_daemon_goes_on_when_syslog_goes_away(void **state)
{
	struct cli *cli = *state;
	pid_t daemon;
	int fd;

	cli_devices_for_all();
	fd = listen_to_syslog();
	daemon = cli_mount(cli, NULL);
	close(fd);
	assert_int_equal(unlink("/dev/log"), 0);
	assert_int_equal(unlink("/dev/fuse"), 0);
	cli_assert_usable(cli->mnt);
	cli_quietly("unmount", cli->mnt, NULL);
	cli_assert_ended(daemon, cli->mnt);
}

static void a_daemon_works_without_syslog(void **state)
{
	struct cli *cli = *state;
	pid_t daemon;

	cli_devices_for_all();
	daemon = cli_mount(cli, NULL);
	assert_int_equal(unlink("/dev/fuse"), 0);
	cli_assert_usable(cli->mnt);
	assert_int_equal(kill(daemon, SIGTERM), 0);
	cli_assert_ended(daemon, cli->mnt);
}

static bool is_in_table(void *path)
{
	return cli_mounts_at(path) == 1;
}

static void in_the_foreground_they_go_to_standard_error(void **state)
{
	static const char *const flags[] = { "-f", "-d" };
	struct cli *cli = *state;

	cli_devices_for_all();
	for (size_t i = 0; i < 2; i++) {
		pid_t child = fork();
		char *log;

		assert_true(child >= 0);
		if (child == 0) {
			int fd = open(cli->log, O_WRONLY | O_CREAT | O_TRUNC, 0644);

			dup2(fd, STDERR_FILENO);
			execl(fixture_program(), fixture_program(), flags[i],
			      cli->source, cli->mnt, NULL);
			_exit(127);
		}
		/* The device is open then, and its threads do not run yet or wait. */
		assert_true(eventually(DEADLINE, is_in_table, cli->mnt));
		assert_int_equal(unlink("/dev/fuse"), 0);
		cli_assert_usable(cli->mnt);
		cli_quietly("unmount", cli->mnt, NULL);
		cli_assert_ended(child, cli->mnt);
		log = tree_read(cli->log, NULL);
		assert_non_null(strstr(log, libfuse_words));
		assert_non_null(strstr(log, "pycachefs: error: fuse: "));
		assert_non_null(strstr(log, "mounted"));
		free(log);
		cli_device("/dev/fuse", 0666, 10, 229);
	}
}

int main(void)
{
	int skip = cli_possible();
	const struct CMUnitTest tests[] = {
		CLI_DEV(in_the_background_they_go_to_syslog),
		CLI_DEV(the_words_of_a_runs_daemon_go_there_too),
		CLI_DEV(a_daemon_goes_on_when_syslog_goes_away),
		CLI_DEV(a_daemon_works_without_syslog),
		CLI_DEV(in_the_foreground_they_go_to_standard_error),
	};

	if (skip)
		return skip;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
