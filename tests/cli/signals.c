/*
 * Signals at every moment of mounting: the command's exit status says whether there
 * is a mount, and where there is none, no process is left either.
 *
 * How long mounting takes is measured first, and signals are sent at moments that
 * are spread over a bit more than that.  Whichever moment one hits, what is checked
 * is the same, so nothing depends on the clock.
 */
#include "cli.h"

#include <time.h>

#define MOMENTS 12

static int64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static void pass(int64_t nanoseconds)
{
	struct timespec ts = {
		.tv_sec = nanoseconds / 1000000000,
		.tv_nsec = nanoseconds % 1000000000,
	};

	nanosleep(&ts, NULL);
}

/* Starts the program on source and mnt, its output going to the log. */
static pid_t start(const struct cli *cli, bool foreground, const char *options)
{
	const char *argv[] = {
		fixture_program(), "-o", options, cli->source, cli->mnt,
		foreground ? "-f" : NULL, NULL,
	};
	pid_t child;

	fflush(NULL);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		int log = open(cli->log, O_WRONLY | O_CREAT | O_APPEND, 0644);

		setpgid(0, 0);
		dup2(log, STDOUT_FILENO);
		dup2(log, STDERR_FILENO);
		execv(argv[0], (char **)(uintptr_t)argv);
		_exit(127);
	}
	setpgid(child, child);
	return child;
}

static bool is_usable(void *path)
{
	struct stat st;

	return cli_mounts_at(path) == 1 && stat(path, &st) == 0;
}

/* How long the command takes to mount. */
static int64_t measure(struct cli *cli)
{
	int64_t begin = now(), took;

	assert_int_equal(cli_wait(start(cli, false, "size=8M")), 0);
	took = now() - begin;
	cli_quietly("unmount", cli->mnt, NULL);
	cli_wait_left(0);
	return took;
}

/*
 * The signal came to the command: as soon as that has ended, with whatever status,
 * there is a mount that works, or nothing.
 */
static void check_command(struct cli *cli, pid_t command, int signal)
{
	int status = cli_wait(command);

	if (status == 0) {
		cli_assert_usable(cli->mnt);
		cli_quietly("unmount", cli->mnt, NULL);
	} else {
		/* 1: where the signal reached the daemon by itself, too. */
		assert_true(status == 128 + signal || status == 1);
		assert_int_equal(cli_mounts_at(cli->mnt), 0);
	}
	cli_wait_left(0);
	assert_int_equal(cli_mounts_at(cli->mnt), 0);
}

static const int signals[] = { SIGTERM, SIGINT, SIGHUP };

/* Calls @send for each signal at each moment. */
static void at_every_moment(struct cli *cli, const char *options,
			    void (*send)(pid_t command, int signal))
{
	int64_t took = measure(cli);

	for (int i = 0; i < 3 * MOMENTS; i++) {
		pid_t command = start(cli, false, options);

		pass(took * (i / 3) * 5 / (4 * MOMENTS));
		send(command, signals[i % 3]);
		check_command(cli, command, signals[i % 3]);
	}
}

static void send_to_command(pid_t command, int signal)
{
	kill(command, signal);
}

/* As a terminal does on ^C. */
static void send_to_group(pid_t command, int signal)
{
	kill(-command, signal);
}

static void a_signal_to_the_command_leaves_no_half_mount(void **state)
{
	at_every_moment(*state, "size=8M", send_to_command);
}

static void a_signal_to_its_group_leaves_no_half_mount(void **state)
{
	at_every_moment(*state, "size=8M", send_to_group);
}

static void with_a_guard_a_signal_leaves_no_half_mount(void **state)
{
	at_every_moment(*state, "size=8M,auto_unmount", send_to_group);
}

/* Whether the daemon has come to one of its two ends. */
static bool is_usable_or_over(void *path)
{
	return cli_are_left(0) || is_usable(path);
}

/* A killed command can't hand anything on: its daemon notices. */
static void the_daemon_of_a_killed_command_mounts_or_ends(void **state)
{
	struct cli *cli = *state;
	int64_t took;

	cli_leave_leaks();
	took = measure(cli);
	for (int i = 0; i < 2 * MOMENTS; i++) {
		pid_t command = start(cli, false, "size=8M"), daemon;

		pass(took * i * 5 / (4 * 2 * MOMENTS));
		kill(command, SIGKILL);
		cli_wait(command);
		assert_true(eventually(DEADLINE, is_usable_or_over, cli->mnt));
		/* It may have been usable for the moment before it ended. */
		if (cli_processes(&daemon) == 1)
			kill(daemon, SIGTERM);
		cli_wait_left(0);
		assert_int_equal(cli_mounts_at(cli->mnt), 0);
	}
}

/* The daemon alone is told to end: the command says whether it had been usable. */
static pid_t find_daemon(pid_t command)
{
	char path[64], *text;
	pid_t child = 0;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", command, command);
	if (access(path, F_OK))
		return 0;
	text = tree_read(path, NULL);
	child = atoi(text);
	free(text);
	return child;
}

static void send_to_daemon(pid_t command, int signal)
{
	pid_t daemon = find_daemon(command);

	/* Not yet, or not its child any more: then to whoever there is. */
	kill(daemon ? daemon : command, signal);
}

static void a_signal_to_the_daemon_leaves_no_half_mount(void **state)
{
	struct cli *cli = *state;
	int64_t took = measure(cli);

	for (int i = 0; i < 3 * MOMENTS; i++) {
		pid_t command = start(cli, false, "size=8M");
		int status;

		pass(took * (i / 3) * 5 / (4 * MOMENTS));
		send_to_daemon(command, signals[i % 3]);
		status = cli_wait(command);
		/* 0: it was usable, and may have ended by now. */
		if (status == 0 && !cli_are_left(0)) {
			struct command unmount = cli_run("unmount", cli->mnt, NULL);

			command_free(&unmount);
		}
		cli_wait_left(0);
		assert_int_equal(cli_mounts_at(cli->mnt), 0);
	}
}

static void in_the_foreground_a_signal_leaves_nothing(void **state)
{
	struct cli *cli = *state;
	int64_t took = measure(cli);

	for (int i = 0; i < 3 * MOMENTS; i++) {
		int signal = signals[i % 3], status;
		pid_t command = start(cli, true, "size=8M");

		pass(took * (i / 3) * 5 / (4 * MOMENTS));
		send_to_group(command, signal);
		status = cli_wait(command);
		/* 0: it was usable.  1, or by the signal: it was not. */
		assert_true(status == 0 || status == 1 || status == 128 + signal);
		assert_int_equal(cli_mounts_at(cli->mnt), 0);
		assert_int_equal(cli_processes(NULL), 0);
	}
}

int main(void)
{
	int skip = cli_possible();
	const struct CMUnitTest tests[] = {
		CLI(a_signal_to_the_command_leaves_no_half_mount),
		CLI(a_signal_to_its_group_leaves_no_half_mount),
		CLI(with_a_guard_a_signal_leaves_no_half_mount),
		CLI(the_daemon_of_a_killed_command_mounts_or_ends),
		CLI(a_signal_to_the_daemon_leaves_no_half_mount),
		CLI(in_the_foreground_a_signal_leaves_nothing),
	};

	if (skip)
		return skip;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
