/*
 * `pycachefs run`: signals, terminals and ends.  COMMAND gets what is sent to the
 * process that was started, once; its mount lasts as long as anybody in it, and not
 * a moment longer.
 *
 * COMMAND is this program itself, called with a word: see command().
 */
#include "run.h"
#include "everybody.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <termios.h>

/* ------------------------------------------------------------------ COMMAND */

static volatile sig_atomic_t caught[NSIG];

static void count(int signal)
{
	caught[signal]++;
}

/* Counts signals without a handler that interrupts what it reads. */
static const int counted[] = {
	SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH, SIGCONT,
};

/*
 * Says "ready", then answers a line for each that it reads: "count N" how often signal N
 * came, "write" whether bytecode can be written, "terminal" whether it has one in the
 * foreground, "exit N".  After "fork and exit" or "fork and wait" a child answers.
 */
static int command(void)
{
	struct sigaction action = { .sa_handler = count, .sa_flags = SA_RESTART };
	char line[64];

	for (size_t i = 0; i < sizeof(counted) / sizeof(*counted); i++)
		sigaction(counted[i], &action, NULL);
	setvbuf(stdout, NULL, _IOLBF, 0);
	puts("ready");
	while (fgets(line, sizeof(line), stdin)) {
		if (strncmp(line, "count ", 6) == 0) {
			printf("%d\n", caught[atoi(line + 6)]);
		} else if (strcmp(line, "write\n") == 0) {
			int fd = creat("pkg/__pycache__/x", 0666);

			puts(fd >= 0 && write(fd, "x", 1) == 1 ? "written" : "failed");
			close(fd);
		} else if (strcmp(line, "terminal\n") == 0) {
			puts(tcgetpgrp(STDIN_FILENO) == getpgrp() ? "foreground" : "none");
		} else if (strncmp(line, "exit ", 5) == 0) {
			return atoi(line + 5);
		} else if (strcmp(line, "fork and exit\n") == 0) {
			if (fork() > 0)
				return 3;
		} else if (strcmp(line, "fork and wait\n") == 0) {
			if (fork() > 0)
				pause();
		}
	}
	return 0;
}

/* ------------------------------------------------------- a run to speak with */

struct talk {
	pid_t pid;
	int in, out;		/* its standard input, and output; the same: a terminal */
};

static char self[PATH_MAX];		/* this program, where every user can start it */

static void start(const struct cli *cli, uid_t uid, struct talk *ret, const int fds[2])
{
	const char *argv[] = {
		fixture_program(), "run", self, "command", NULL
	};

	fflush(NULL);
	ret->pid = fork();
	assert_true(ret->pid >= 0);
	if (ret->pid > 0)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(fds[0], STDIN_FILENO);
	dup2(fds[1], STDOUT_FILENO);
	if (isatty(STDIN_FILENO)) {
		setsid();
		ioctl(STDIN_FILENO, TIOCSCTTY, 0);
		dup2(fds[1], STDERR_FILENO);
	} else {
		/* A job of ours; in an orphaned group SIGTSTP would stop nothing. */
		setpgid(0, 0);
	}
	if (chdir(cli->source) == 0 &&
	    (!uid || (setresgid(uid, uid, uid) == 0 && setresuid(uid, uid, uid) == 0)))
		execv(argv[0], (char **)(uintptr_t)argv);
	_exit(127);
}

static bool next_line(const struct talk *talk, char *ret, size_t size)
{
	struct pollfd fd = { .fd = talk->out, .events = POLLIN };
	size_t length = 0;

	while (length < size - 1 && poll(&fd, 1, DEADLINE * 1000) == 1 &&
	       read(talk->out, ret + length, 1) == 1) {
		if (ret[length] == '\n')
			break;
		if (ret[length] != '\r')
			length++;
	}
	ret[length] = '\0';
	return length > 0;
}

static void expect(const struct talk *talk, const char *line)
{
	char said[256];

	if (!next_line(talk, said, sizeof(said)))
		fail_msg("says nothing where \"%s\" was expected", line);
	assert_string_equal(said, line);
}

static void ask(const struct talk *talk, const char *question, const char *answer)
{
	assert_int_equal(write(talk->in, question, strlen(question)), strlen(question));
	if (answer)
		expect(talk, answer);
}

static struct talk talk_by_pipes(const struct cli *cli, uid_t uid)
{
	int in[2], out[2];
	struct talk talk;

	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	start(cli, uid, &talk, (const int[]){ in[0], out[1] });
	close(in[0]);
	close(out[1]);
	talk.in = in[1];
	talk.out = out[0];
	expect(&talk, "ready");
	return talk;
}

/* A session of its own with a terminal, in which it is in the foreground. */
static struct talk talk_by_terminal(const struct cli *cli, uid_t uid)
{
	int terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), other;
	struct termios modes;
	struct talk talk;

	assert_true(terminal >= 0);
	assert_int_equal(grantpt(terminal), 0);
	assert_int_equal(unlockpt(terminal), 0);
	other = open(ptsname(terminal), O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(other >= 0);
	assert_int_equal(tcgetattr(other, &modes), 0);
	modes.c_lflag &= ~(tcflag_t)(ECHO | ECHOCTL);
	assert_int_equal(tcsetattr(other, TCSANOW, &modes), 0);
	start(cli, uid, &talk, (const int[]){ other, other });
	close(other);
	talk.in = talk.out = terminal;
	expect(&talk, "ready");
	return talk;
}

static void hang_up(const struct talk *talk)
{
	close(talk->in);
	if (talk->out != talk->in)
		close(talk->out);
}

struct end {
	pid_t pid;
	int status, flags;
};

static bool has_changed(void *data)
{
	struct end *end = data;

	return waitpid(end->pid, &end->status, WNOHANG | end->flags) == end->pid;
}

/* Its wait status, once it has ended, or has stopped or gone on as @flags wants. */
static int wait_for(const struct talk *talk, int flags)
{
	struct end end = { .pid = talk->pid, .flags = flags };

	assert_true(eventually(DEADLINE, has_changed, &end));
	return end.status;
}

static void assert_exits(const struct talk *talk, int status)
{
	int result = wait_for(talk, 0);

	assert_true(WIFEXITED(result));
	assert_int_equal(WEXITSTATUS(result), status);
}

/* ------------------------------------------------------------------- signals */

static bool was_counted(void *data)
{
	const struct talk *talk = ((void **)data)[0];
	const char *question = ((void **)data)[1];
	char said[16];

	ask(talk, question, NULL);
	return next_line(talk, said, sizeof(said)) && atoi(said) > 0;
}

/* Fails unless the signal comes, and comes once. */
static void assert_once(const struct talk *talk, int signal)
{
	char question[32];
	void *data[] = { (void *)(uintptr_t)talk, question };

	snprintf(question, sizeof(question), "count %d\n", signal);
	assert_true(eventually(DEADLINE, was_counted, data));
	/* What else were to come had the time of an answer. */
	ask(talk, "write\n", "written");
	ask(talk, question, "1");
}

static void signals_reach_the_command_once(void **state)
{
	struct cli *cli = *state;

	EACH_USER(cli, uid) {
		struct talk talk = talk_by_pipes(cli, (uid_t)uid);

		for (size_t i = 0; i < sizeof(counted) / sizeof(*counted); i++) {
			assert_int_equal(kill(talk.pid, counted[i]), 0);
			assert_once(&talk, counted[i]);
		}
		ask(&talk, "exit 6\n", NULL);
		assert_exits(&talk, 6);
		hang_up(&talk);
		assert_true(cli_ends());
	}
}

static void a_signal_ends_the_command_as_it_would(void **state)
{
	static const int signals[] = { SIGALRM, SIGPIPE, SIGKILL, SIGABRT };
	struct cli *cli = *state;

	EACH_USER(cli, uid) {
		for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++) {
			struct talk talk = talk_by_pipes(cli, (uid_t)uid);
			int status;

			assert_int_equal(kill(talk.pid, signals[i]), 0);
			status = wait_for(&talk, 0);
			assert_true(WIFSIGNALED(status));
			assert_int_equal(WTERMSIG(status), signals[i]);
			hang_up(&talk);
			assert_true(cli_ends());
		}
	}
}

/* A service manager sends its signals to all processes that it knows of. */
static void no_signal_takes_the_mount_from_the_command(void **state)
{
	static const int signals[] = {
		SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM, SIGTSTP,
	};
	struct cli *cli = *state;

	EACH_USER(cli, uid) {
		struct talk talk = talk_by_pipes(cli, (uid_t)uid);
		pid_t daemon = cli_process_beside(talk.pid);

		assert_true(daemon > 0);
		for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++) {
			assert_int_equal(kill(daemon, signals[i]), 0);
			ask(&talk, "write\n", "written");
		}
		ask(&talk, "exit 0\n", NULL);
		assert_exits(&talk, 0);
		hang_up(&talk);
		assert_true(cli_ends());
	}
}

/* ------------------------------------------------------------------ terminals */

static void an_interrupt_from_the_terminal_comes_once(void **state)
{
	struct cli *cli = *state;

	EACH_USER(cli, uid) {
		struct talk talk = talk_by_terminal(cli, (uid_t)uid);

		ask(&talk, "terminal\n", "foreground");
		assert_int_equal(write(talk.in, "\003", 1), 1);
		assert_once(&talk, SIGINT);
		assert_int_equal(write(talk.in, "\034", 1), 1);
		assert_once(&talk, SIGQUIT);
		ask(&talk, "exit 5\n", NULL);
		assert_exits(&talk, 5);
		hang_up(&talk);
		assert_true(cli_ends());
	}
}

static void a_window_that_changes_is_told(void **state)
{
	struct cli *cli = *state;
	struct winsize size = { .ws_row = 30, .ws_col = 90 };
	struct talk talk;

	run_give(cli, PLAIN);
	talk = talk_by_terminal(cli, PLAIN);
	assert_int_equal(ioctl(talk.in, TIOCSWINSZ, &size), 0);
	assert_once(&talk, SIGWINCH);
	ask(&talk, "exit 0\n", NULL);
	assert_exits(&talk, 0);
	hang_up(&talk);
}

static void a_terminal_that_goes_hangs_up(void **state)
{
	struct cli *cli = *state;

	EACH_USER(cli, uid) {
		struct talk talk = talk_by_terminal(cli, (uid_t)uid);

		hang_up(&talk);
		/* The end of its input: it was told, or it has read it. */
		assert_exits(&talk, 0);
		assert_true(cli_ends());
	}
}

/* What a shell does: it sees its job stop, and lets it go on. */
static void a_job_stops_and_goes_on(void **state)
{
	struct cli *cli = *state;

	EACH_USER(cli, uid) {
		struct talk talk = talk_by_pipes(cli, (uid_t)uid);

		assert_int_equal(kill(talk.pid, SIGTSTP), 0);
		assert_int_equal(WSTOPSIG(wait_for(&talk, WUNTRACED)), SIGTSTP);
		assert_int_equal(kill(talk.pid, SIGCONT), 0);
		assert_true(WIFCONTINUED(wait_for(&talk, WCONTINUED)));
		assert_once(&talk, SIGCONT);
		ask(&talk, "exit 0\n", NULL);
		assert_exits(&talk, 0);
		hang_up(&talk);
		assert_true(cli_ends());
	}
}

/* A real shell on a terminal: it stops, then fg. */
static void a_shell_can_stop_it_and_bring_it_back(void **state)
{
	static const char end[] = "\r\nstopped\r\nback\r\n8\r\n";
	struct command_options options = { .seconds = DEADLINE };
	struct cli *cli = *state;
	char line[512];
	const char *argv[] = { "script", "-qec", line, "/dev/null", NULL };
	struct command command;

	snprintf(line, sizeof(line), "exec bash --norc -c '%s' '%s' '%s'",
		 "set -m; cd \"$1\"; \"$0\" run sh -c \"kill -TSTP \\$\\$; "
		 "echo x >pkg/__pycache__/x && echo back; exit 8\"; "
		 "echo; echo stopped; fg >/dev/null; echo $?", fixture_program(), cli->source);
	command = command_run(&options, argv);
	assert_int_equal(command.status, 0);
	/* Before that some shells tell of the job. */
	assert_true(strlen(command.out) >= strlen(end));
	assert_string_equal(command.out + strlen(command.out) - strlen(end), end);
	command_free(&command);
	assert_true(cli_ends());
}

/* -------------------------------------------------------------------- ends */

static void the_mount_lasts_as_long_as_the_last_descendant(void **state)
{
	struct cli *cli = *state;

	EACH_USER(cli, uid) {
		struct talk talk = talk_by_pipes(cli, (uid_t)uid);

		/* It ends at once; the child, which answers from now on, does not. */
		ask(&talk, "fork and exit\n", NULL);
		assert_exits(&talk, 3);
		ask(&talk, "write\n", "written");
		assert_int_equal(cli_processes(NULL), 2);
		ask(&talk, "exit 0\n", NULL);
		assert_true(cli_ends());
		hang_up(&talk);
	}
}

static void killing_the_command_leaves_its_descendants_their_mount(void **state)
{
	struct cli *cli = *state;

	EACH_USER(cli, uid) {
		struct talk talk = talk_by_pipes(cli, (uid_t)uid);

		ask(&talk, "fork and wait\n", NULL);
		ask(&talk, "write\n", "written");
		assert_int_equal(kill(talk.pid, SIGKILL), 0);
		assert_int_equal(WTERMSIG(wait_for(&talk, 0)), SIGKILL);
		ask(&talk, "write\n", "written");
		ask(&talk, "exit 0\n", NULL);
		assert_true(cli_ends());
		hang_up(&talk);
	}
}

/* A lock or the end of a pipe must not last as long as the mount. */
static void the_daemon_keeps_nothing_of_the_callers(void **state)
{
	struct cli *cli = *state;

	EACH_USER(cli, uid) {
		int file = open(cli->file, O_RDWR), high = dup2(file, 60);
		struct talk talk = talk_by_pipes(cli, (uid_t)uid);
		pid_t daemon = cli_process_beside(talk.pid);

		assert_int_equal(high, 60);
		assert_int_not_equal(getsid(daemon), getsid(talk.pid));
		for (int fd = 0; fd < 64; fd++) {
			char path[64], place[256];
			ssize_t length;

			snprintf(path, sizeof(path), "/proc/%d/fd/%d", daemon, fd);
			length = readlink(path, place, sizeof(place) - 1);
			place[length < 0 ? 0 : length] = '\0';
			assert_string_not_equal(place, cli->file);
			assert_true(strncmp(place, "pipe:", 5) != 0);
			if (fd <= 2)
				assert_string_equal(place, "/dev/null");
		}
		close(file);
		close(high);
		ask(&talk, "exit 0\n", NULL);
		assert_exits(&talk, 0);
		hang_up(&talk);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		CLI(signals_reach_the_command_once),
		CLI(a_signal_ends_the_command_as_it_would),
		CLI(no_signal_takes_the_mount_from_the_command),
		CLI(an_interrupt_from_the_terminal_comes_once),
		CLI(a_window_that_changes_is_told),
		CLI(a_terminal_that_goes_hangs_up),
		CLI(a_job_stops_and_goes_on),
		CLI(a_shell_can_stop_it_and_bring_it_back),
		CLI(the_mount_lasts_as_long_as_the_last_descendant),
		CLI(killing_the_command_leaves_its_descendants_their_mount),
		CLI(the_daemon_keeps_nothing_of_the_callers),
	};
	char here[PATH_MAX];
	int skip;

	if (argc > 1 && strcmp(argv[1], "command") == 0)
		return command();
	skip = cli_possible();
	if (skip)
		return skip;
	if (!realpath("/proc/self/exe", here) || !for_everybody(here, self))
		return 1;
	return cmocka_run_group_tests(tests, run_setup, run_teardown);
}
