/*
 * `pycachefs run` as a container's first program: the exit status is COMMAND's, the
 * tree stays clean, and nothing is left when the container has ended, however it did.
 */
#include "container.h"

#define RUN "/pycachefs", "run", "--"

/* Kinds of containers that let it work; those of crun. */
static const struct bundle boxes[] = {
	{ .name = "root", .capability = "CAP_SYS_ADMIN" },
	{ .name = "closed", .capability = "CAP_SYS_ADMIN", .readonly = true },
	{ .name = "guest", .uid = GUEST },
	{ .name = "bound", .uid = GUEST, .readonly = true },
	{ .name = "beside", .uid = GUEST, .readonly = true, .host_processes = true },
};

/* And those of bwrap. */
static const char *const bares[] = {
	"--cap-add CAP_SYS_ADMIN",
	"--cap-add CAP_SYS_ADMIN --as-pid-1",
	"--unshare-user --uid 1000 --gid 1000",
	"--unshare-user --uid 1000 --gid 1000 --as-pid-1 --remount-ro /",
};

/* Whether those work that need a user namespace. */
static bool plain_users_may_mount;

static const char probe[] =
	"import os, sys, pkg.mod; cached = pkg.mod.__cached__; "
	"print(os.path.exists(cached), os.listdir('pkg')); sys.exit(7)";

/* A container of this kind with the source in it. */
static void box(const struct cli *cli, const struct bundle *kind,
		const char *const *argv)
{
	const char *const binds[] = { cli->source, "/project", "bind", NULL };
	struct bundle bundle = *kind;

	bundle.argv = argv;
	bundle.binds = binds;
	bundle.device = true;
	container_bundle(cli, &bundle);
}

static void assert_untouched(const struct cli *cli, char *before)
{
	char *after = tree_describe(cli->source, true);

	assert_string_equal(after, before);
	free(after);
	free(before);
}

static void the_status_is_passed_on_and_nothing_is_left(void **state)
{
	static const char *const argv[] = { RUN, "python3", "-c", probe, NULL };
	struct cli *cli = *state;
	char *before = tree_describe(cli->source, true), *script;

	for (size_t i = 0; i < sizeof(boxes) / sizeof(*boxes); i++) {
		if (boxes[i].uid && !plain_users_may_mount)
			continue;
		box(cli, &boxes[i], argv);
		assert_true(asprintf(&script, "box %s", boxes[i].name) > 0);
		print_message("%s\n", script);
		run_assert(container_host(cli, script), 7, "True ['mod.py']\n", "");
		free(script);
	}
	assert_untouched(cli, before);
}

static void the_same_in_a_sandbox(void **state)
{
	struct cli *cli = *state;
	char *before = tree_describe(cli->source, true), *script;

	assert_int_equal(setenv("PROBE", probe, 1), 0);
	for (size_t i = 0; i < sizeof(bares) / sizeof(*bares); i++) {
		if (strstr(bares[i], "--unshare-user") && !plain_users_may_mount)
			continue;
		assert_true(asprintf(&script, "bare --dev-bind /dev/fuse /dev/fuse "
				     "--bind $SOURCE /project --chdir /project %s "
				     "/pycachefs run -- python3 -c \"$PROBE\"",
				     bares[i]) > 0);
		print_message("%s\n", bares[i]);
		run_assert(container_host(cli, script), 7, "True ['mod.py']\n", "");
		free(script);
	}
	assert_int_equal(unsetenv("PROBE"), 0);
	assert_untouched(cli, before);
}

/* The host finds out that neither a process nor a mount is left. */
static const char killed[] =
	"box %s & box=$!\n"
	"until [ -e $SOURCE/ready ]; do sleep 0.02; done\n"
	"rm $SOURCE/ready\n"
	"grep -ls '^pycachefs' /proc/[0-9]*/comm | wc -l\n"
	"crun --root $TOP/crun kill %s KILL\n"
	"status=0; wait $box || status=$?\n"
	"exit $status\n";

/* With and without processes of its own: one is ended by the kernel, and where the
 * container shares the host's, the daemon has to go by itself. */
static void a_killed_container_leaves_no_daemon(void **state)
{
	static const char *const argv[] = {
		RUN, "sh", "-c", "echo code >pkg/__pycache__/x; echo >ready; "
		"exec sleep 1000", NULL,
	};
	struct cli *cli = *state;
	char *script;

	for (size_t i = 0; i < sizeof(boxes) / sizeof(*boxes); i++) {
		const char *name = boxes[i].name;

		if (boxes[i].uid && !plain_users_may_mount)
			continue;
		assert_int_equal(chown(cli->source, (uid_t)boxes[i].uid,
				       (gid_t)boxes[i].uid), 0);
		box(cli, &boxes[i], argv);
		assert_true(asprintf(&script, killed, name, name) > 0);
		print_message("%s\n", name);
		run_assert(container_host(cli, script), 128 + SIGKILL, "1\n", "");
		free(script);
		assert_int_equal(access(in(cli->source, "pkg/__pycache__"), F_OK), -1);
	}
}

/* A directory of a tmpfs that containers have in common keeps bytecode for the next. */
static void a_store_in_common_starts_warm(void **state)
{
	static const char *const argv[] = {
		"/pycachefs", "run", "--store", "/store/kept", "--", "python3", "-S",
		"-c", container_import, NULL,
	};
	struct cli *cli = *state;
	char *before, store[96];

	container_project(cli->source);
	before = tree_describe(cli->source, true);
	snprintf(store, sizeof(store), "%s/store", cli->top);
	assert_int_equal(mkdir(store, 0755), 0);
	for (int i = 0; i < 2; i++) {
		const char *const binds[] = {
			cli->source, "/project", "bind", store, "/store", "bind", NULL,
		};

		container_bundle(cli, &(struct bundle){
			.name = i ? "two" : "one", .argv = argv, .binds = binds,
			.device = true, .capability = "CAP_SYS_ADMIN", .readonly = true,
		});
	}
	run_assert(container_host(cli,
		"mount -t tmpfs -o size=16M none $TOP/store\n"
		"mkdir -m 700 $TOP/store/kept\n"
		"box one; box two; box one\n"
		"until umount $TOP/store 2>/dev/null; do sleep 0.02; done"), 0,
		"cold\nwarm\nwarm\n", "");
	assert_untouched(cli, before);
}

static void a_command_that_is_missing_is_told(void **state)
{
	static const char *const argv[] = { RUN, "no-such-command", NULL };
	struct cli *cli = *state;
	struct command command;

	box(cli, &boxes[1], argv);
	command = container_host(cli, "box closed");
	assert_int_equal(command.status, 127);
	cli_assert_complaint(command.err, "no-such-command");
	command_free(&command);
}

int main(void)
{
	int skip = container_possible();
	const struct CMUnitTest tests[] = {
		CLI(the_status_is_passed_on_and_nothing_is_left),
		CLI(the_same_in_a_sandbox),
		CLI(a_killed_container_leaves_no_daemon),
		CLI(a_store_in_common_starts_warm),
		CLI(a_command_that_is_missing_is_told),
	};

	if (skip)
		return skip;
	plain_users_may_mount = container_plain_users_may_mount();
	return cmocka_run_group_tests(tests, run_setup, run_teardown);
}
