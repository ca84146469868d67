/*
 * The unit pycachefs@.service: systemd takes it without a word, and its commands do what
 * it promises of them.  They are taken out of the unit and run as systemd would run them;
 * systemd itself is not at work here.
 */
#include "cli.h"

#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/un.h>

struct unit {
	struct cli *cli;
	char path[128];		/* of the template, with the program as it is here */
	char *text;		/* owned */
	int notify;		/* NOTIFY_SOCKET */
	char socket[128];
};

/* ------------------------------------------------------------------ the unit */

/* Copies @text, putting @to for each @from; the caller frees the result. */
static char *replace(const char *text, const char *from, const char *to)
{
	char *result;
	size_t size;
	FILE *out = open_memstream(&result, &size);
	const char *at;

	assert_non_null(out);
	for (; (at = strstr(text, from)); text = at + strlen(from))
		fprintf(out, "%.*s%s", (int)(at - text), text, to);
	fputs(text, out);
	fclose(out);
	return result;
}

/* The value of a line NAME=VALUE, which must be there once; the caller frees it. */
static char *value_of(const char *text, const char *name)
{
	char start[64];
	const char *at;

	snprintf(start, sizeof(start), "\n%s=", name);
	at = strstr(text, start);
	if (!at)
		fail_msg("no line '%s='", name);
	at += strlen(start);
	assert_null(strstr(at, start));
	return strndup(at, strcspn(at, "\n"));
}

/* The unit is made for where the program will be installed: puts ours there. */
static char *unit_here(void)
{
	char *made = tree_read(getenv("PYCACHEFS_UNIT"), NULL), *here;
	char *start = value_of(made, "ExecStart");

	start[strcspn(start, " ")] = '\0';
	here = replace(made, start, fixture_program());
	free(start);
	free(made);
	return here;
}

static int set_up(void **state)
{
	struct unit *unit = calloc(1, sizeof(*unit));
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	assert_non_null(unit);
	cli_begin((void **)&unit->cli);
	snprintf(unit->path, sizeof(unit->path), "%s/pycachefs@.service", unit->cli->top);
	unit->text = unit_here();
	tree_write(unit->path, unit->text, -1);
	snprintf(unit->socket, sizeof(unit->socket), "%s/notify", unit->cli->top);
	strcpy(address.sun_path, unit->socket);
	unit->notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_true(unit->notify >= 0);
	assert_int_equal(bind(unit->notify, (struct sockaddr *)&address, sizeof(address)), 0);
	*state = unit;
	return 0;
}

static int tear_down(void **state)
{
	struct unit *unit = *state;
	void *cli = unit->cli;

	close(unit->notify);
	free(unit->text);
	free(unit);
	return cli_end(&cli);
}

/* ----------------------------------------------------- what systemd would do */

/* Cuts a command line into words, and then resolves what systemd resolves in a word. */
static void resolve(const struct unit *unit, const char *name, const char *path,
		    char *argv[16])
{
	char *line = value_of(unit->text, name), *rest = line, *word;
	char *variable = value_of(unit->text, "Environment");
	size_t n = 0;

	variable[strcspn(variable, "=")] = '\0';
	char *reference, *set_to = variable + strlen(variable) + 1;
	assert_true(asprintf(&reference, "${%s}", variable) > 0);
	rest += *rest == '-';
	while ((word = strsep(&rest, " "))) {
		char *half = replace(word, reference, set_to);

		assert_true(n < 15);
		argv[n++] = replace(half, "%f", path);
		free(half);
	}
	argv[n] = NULL;
	free(reference);
	free(variable);
	free(line);
}

static void free_words(char *argv[16])
{
	for (; *argv; argv++)
		free(*argv);
}

/* Runs ExecStart for a directory, as a child; its words go to the log. */
static pid_t start(const struct unit *unit, const char *path)
{
	char *argv[16];
	pid_t child;

	resolve(unit, "ExecStart", path, argv);
	fflush(NULL);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		int log = open(unit->cli->log, O_WRONLY | O_CREAT | O_APPEND, 0644);

		prctl(PR_SET_PDEATHSIG, SIGTERM);
		dup2(log, STDOUT_FILENO);
		dup2(log, STDERR_FILENO);
		setenv("NOTIFY_SOCKET", unit->socket, 1);
		execv(argv[0], argv);
		_exit(127);
	}
	free_words(argv);
	return child;
}

static bool is_ready(void *data)
{
	const struct unit *unit = data;
	char text[64];
	ssize_t length = recv(unit->notify, text, sizeof(text), 0);

	return length == 7 && memcmp(text, "READY=1", 7) == 0;
}

/* Starts it; once it has said so, the mount is usable. */
static pid_t start_ready(struct unit *unit, const char *path)
{
	pid_t daemon = start(unit, path);

	assert_true(eventually(DEADLINE, is_ready, unit));
	cli_assert_usable(path);
	return daemon;
}

/* Runs ExecStop; returns its exit status. */
static int stop(const struct unit *unit, const char *path)
{
	const struct command_options options = { .seconds = DEADLINE };
	struct command command;
	char *argv[16];

	resolve(unit, "ExecStop", path, argv);
	command = command_run(&options, (const char *const *)argv);
	free_words(argv);
	command_free(&command);
	return command.status;
}

/* -------------------------------------------------------------------- tests */

static void systemd_takes_it_without_a_word(void **state)
{
	const struct unit *unit = *state;
	char instance[256];
	const char *argv[] = {
		"systemd-analyze", "verify", "--man=no", "--recursive-errors=no", instance,
		NULL,
	};
	/* Their names in unit files, with all that systemd-escape(1) escapes. */
	static const char *const instances[] = { "srv-app", "home-a\\x20user-a\\x2db", "-" };

	for (size_t i = 0; i < 3; i++) {
		struct command command;

		snprintf(instance, sizeof(instance), "%s/pycachefs@%s.service",
			 unit->cli->top, instances[i]);
		assert_int_equal(symlink(unit->path, instance), 0);
		command = command_run(NULL, argv);
		/* Of this machine's other units it may complain. */
		if (command.status || strstr(command.err, "pycachefs"))
			fail_msg("ended with %d: %s", command.status, command.err);
		command_free(&command);
	}
}

/* Each of these gives the service a mount namespace of its own (systemd.exec(5)). */
static void nothing_in_it_hides_the_mount(void **state)
{
	static const char *const hiding[] = {
		"BindPaths", "BindReadOnlyPaths", "ExecPaths", "InaccessiblePaths",
		"MountAPIVFS", "MountImages", "NoExecPaths", "PrivateDevices", "PrivateIPC",
		"PrivateMounts", "PrivateTmp", "PrivateUsers", "ProcSubset",
		"ProtectControlGroups", "ProtectHome", "ProtectHostname", "ProtectKernelLogs",
		"ProtectKernelModules", "ProtectKernelTunables", "ProtectProc",
		"ProtectSystem", "ReadOnlyPaths", "ReadWritePaths", "RootDirectory",
		"RootImage", "TemporaryFileSystem", "DynamicUser",
	};
	const struct unit *unit = *state;

	for (size_t i = 0; i < sizeof(hiding) / sizeof(*hiding); i++) {
		char line[64];

		snprintf(line, sizeof(line), "\n%s=", hiding[i]);
		if (strstr(unit->text, line))
			fail_msg("'%s' would hide the mount", hiding[i]);
	}
}

static void once_it_is_ready_the_mount_is_usable(void **state)
{
	struct unit *unit = *state;
	const char *source = unit->cli->source;
	char *type = value_of(unit->text, "Type");
	pid_t daemon;

	assert_string_equal(type, "notify");
	free(type);
	for (int i = 0; i < 5; i++) {
		daemon = start_ready(unit, source);
		assert_int_equal(stop(unit, source), 0);
		cli_assert_ended(daemon, source);
	}
	/* Its guard, too. */
	cli_wait_left(0);
}

static void a_path_may_hold_blanks(void **state)
{
	struct unit *unit = *state;
	char source[128];
	pid_t daemon;

	snprintf(source, sizeof(source), "%s/my app", unit->cli->top);
	tree_write(in(source, "pkg/mod.py"), "mod = 1\n", -1);
	daemon = start_ready(unit, source);
	assert_int_equal(stop(unit, source), 0);
	cli_assert_ended(daemon, source);
}

static void what_cannot_be_mounted_fails_and_is_never_ready(void **state)
{
	struct unit *unit = *state;

	assert_int_equal(cli_wait(start(unit, unit->cli->missing)), 1);
	assert_false(is_ready(unit));
}

static void a_killed_daemon_leaves_the_directory_and_starts_again(void **state)
{
	struct unit *unit = *state;
	const char *source = unit->cli->source;
	pid_t daemon = start_ready(unit, source);

	assert_int_equal(kill(daemon, SIGKILL), 0);
	/* Not 0: Restart=on-failure. */
	assert_int_equal(cli_wait(daemon), 128 + SIGKILL);
	cli_wait_left(0);
	assert_int_equal(cli_mounts_at(source), 0);
	daemon = start_ready(unit, source);
	assert_int_equal(stop(unit, source), 0);
	cli_assert_ended(daemon, source);
}

/* Its guard goes with it when systemd kills whatever is left of a service. */
static void a_dead_mount_is_cleared_at_the_start(void **state)
{
	struct unit *unit = *state;
	const char *source = unit->cli->source;
	pid_t daemon = start_ready(unit, source);
	char path[64], *children;
	struct statvfs vfs;
	pid_t guard;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", daemon, daemon);
	children = tree_read(path, NULL);
	guard = atoi(children);
	free(children);
	assert_true(guard > 0);
	assert_int_equal(kill(guard, SIGKILL), 0);
	assert_int_equal(kill(daemon, SIGKILL), 0);
	assert_int_equal(cli_wait(daemon), 128 + SIGKILL);
	cli_wait_left(0);
	assert_int_equal(cli_mounts_at(source), 1);
	/* Not access(2), which the kernel may answer from its cache. */
	assert_int_equal(statvfs(source, &vfs), -1);
	assert_int_equal(errno, ENOTCONN);

	daemon = start_ready(unit, source);
	assert_int_equal(cli_mounts_at(source), 1);
	assert_int_equal(stop(unit, source), 0);
	cli_assert_ended(daemon, source);
}

/* SIGTERM is what systemd sends when ExecStop has not ended the daemon. */
static void a_mount_in_use_goes_all_the_same(void **state)
{
	struct unit *unit = *state;
	const char *source = unit->cli->source;
	pid_t daemon = start_ready(unit, source);
	int used = open(in(source, "pkg"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(used >= 0);
	assert_int_equal(stop(unit, source), 1);
	cli_assert_usable(source);
	assert_int_equal(kill(daemon, SIGTERM), 0);
	cli_assert_ended(daemon, source);
	cli_wait_left(0);
	close(used);
}

static void unmounted_by_hand_it_has_ended_well(void **state)
{
	struct unit *unit = *state;
	const char *source = unit->cli->source;
	pid_t daemon = start_ready(unit, source);

	free(command_output(NULL, "umount", source, NULL));
	cli_assert_ended(daemon, source);
}

#define UNIT(test) \
	{ #test, test, set_up, tear_down, NULL }

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT(systemd_takes_it_without_a_word),
		UNIT(nothing_in_it_hides_the_mount),
		UNIT(once_it_is_ready_the_mount_is_usable),
		UNIT(a_path_may_hold_blanks),
		UNIT(what_cannot_be_mounted_fails_and_is_never_ready),
		UNIT(a_killed_daemon_leaves_the_directory_and_starts_again),
		UNIT(a_dead_mount_is_cleared_at_the_start),
		UNIT(a_mount_in_use_goes_all_the_same),
		UNIT(unmounted_by_hand_it_has_ended_well),
	};
	int skip = cli_possible();

	if (skip)
		return skip;
	if (system("command -v systemd-analyze >/dev/null"))
		return cannot_run("systemd-analyze is missing");
	return cmocka_run_group_tests_name("systemd", tests, NULL, NULL);
}
