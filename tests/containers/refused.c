/*
 * What a container may lack for `pycachefs run`: each is told in one line, which says
 * what to do about it, and nothing is left.
 */
#include "container.h"

#define ADMIN .capability = "CAP_SYS_ADMIN"

/* Whether what a plain user is told comes from what the test forbids. */
static bool plain_users_may_mount;

static const char *const run_true[] = { "/pycachefs", "run", "true", NULL };

static struct command run_box(const struct cli *cli, const struct bundle *kind,
			      const char *const *argv)
{
	const char *const binds[] = { cli->source, "/project", "bind", NULL };
	struct bundle bundle = *kind;

	bundle.name = "box";
	bundle.argv = argv;
	bundle.binds = binds;
	container_bundle(cli, &bundle);
	return container_host(cli, "box box");
}

static void what_is_lacking_is_told(void **state)
{
	static const struct {
		const char *mention;
		struct bundle bundle;
	} rows[] = {
		{ "--device /dev/fuse", { ADMIN } },
		{ "--device /dev/fuse", { .uid = GUEST } },
#ifndef __SANITIZE_ADDRESS__	/* which needs /proc itself, and says so */
		{ "mount /proc", { ADMIN, .device = true, .no_proc = true } },
		{ "mount /proc", { .uid = GUEST, .device = true, .no_proc = true } },
#endif
		{ "--cap-add SYS_ADMIN", { .device = true } },
		{ "seccomp that allows unshare",
		  { ADMIN, .device = true, .forbidden = "unshare", .error = EPERM } },
		{ "allow user namespaces", { .uid = GUEST, .device = true,
		  .forbidden = "unshare", .error = EPERM } },
		/* As Docker's profiles refuse it: of AppArmor, and of seccomp. */
		{ "apparmor=unconfined", { ADMIN, .device = true,
		  .forbidden = "mount", .error = EACCES } },
		{ "apparmor=unconfined", { .uid = GUEST, .device = true,
		  .forbidden = "mount", .error = EACCES } },
		{ "seccomp", { .uid = GUEST, .device = true,
		  .forbidden = "mount", .error = EPERM } },
		{ "store=DIR", { ADMIN, .device = true,
		  .forbidden = "fsopen", .error = EPERM } },
		/* Which glibc 2.34 needs to start a thread where it is not ENOSYS. */
		{ "clone3", { ADMIN, .device = true,
		  .forbidden = "clone3", .error = EPERM } },
	};
	struct cli *cli = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		if (rows[i].bundle.uid && !plain_users_may_mount)
			continue;
		print_message("%s\n", rows[i].mention);
		run_assert_complaint(run_box(cli, &rows[i].bundle, run_true), 1,
				     rows[i].mention);
	}
}

/* A sandbox that gives the device without the right to use it, or that forbids to
 * nest another. */
static void what_a_sandbox_forbids_is_told(void **state)
{
	struct cli *cli = *state;

	run_assert_complaint(container_host(cli, "bare --cap-add CAP_SYS_ADMIN "
		"--bind /dev/fuse /dev/fuse --bind $SOURCE /project --chdir /project "
		"/pycachefs run true"), 1, "give it the device");
	if (!plain_users_may_mount)
		return;
	run_assert_complaint(container_host(cli, "bare --unshare-user --disable-userns "
		"--uid 1000 --gid 1000 --dev-bind /dev/fuse /dev/fuse "
		"--bind $SOURCE /project --chdir /project /pycachefs run true"), 1,
		"user.max_user_namespaces");
}

/* What the complaint about the private tmpfs names as the way out. */
static void a_store_of_its_own_needs_no_private_tmpfs(void **state)
{
	static const char *const argv[] = {
		"sh", "-c", "mkdir -m 700 /tmp/store; "
		"/pycachefs run --store /tmp/store ls -A pkg pkg/__pycache__", NULL,
	};
	static const struct bundle bundle = {
		ADMIN, .device = true, .forbidden = "fsopen", .error = EPERM,
	};
	struct cli *cli = *state;

	run_assert(run_box(cli, &bundle, argv), 0,
		   "pkg:\nmod.py\n\npkg/__pycache__:\n", "");
}

/* Newer calls than a profile of seccomp knows, one at a time. */
static void a_call_that_is_not_known_is_done_without(void **state)
{
	static const char *const argv[] = {
		"/pycachefs", "run", "--", "python3", "-c", "import pkg.mod, os; "
		"print(os.path.exists(pkg.mod.__cached__), os.listdir('pkg'))", NULL,
	};
	static const char *const calls[] = {
		"fanotify_init", "name_to_handle_at", "open_by_handle_at", "openat2",
		"close_range", "memfd_create",
	};
	struct cli *cli = *state;

	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
		const struct bundle bundle = {
			ADMIN, .device = true, .forbidden = calls[i], .error = EPERM,
		};

		print_message("%s\n", calls[i]);
		run_assert(run_box(cli, &bundle, argv), 0, "True ['mod.py']\n", "");
	}
}

int main(void)
{
	int skip = container_possible();
	const struct CMUnitTest tests[] = {
		CLI(what_is_lacking_is_told),
		CLI(what_a_sandbox_forbids_is_told),
		CLI(a_store_of_its_own_needs_no_private_tmpfs),
		CLI(a_call_that_is_not_known_is_done_without),
	};

	if (skip)
		return skip;
	plain_users_may_mount = container_plain_users_may_mount();
	return cmocka_run_group_tests(tests, run_setup, run_teardown);
}
