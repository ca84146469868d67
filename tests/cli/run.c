/*
 * `pycachefs run`: COMMAND sees its project with its bytecode kept apart, and
 * otherwise what it would see without; and nothing is left of it.
 */
#include "run.h"

#include <sys/mount.h>
#include <sys/wait.h>
#include <time.h>

static const char import[] =
	"import os, sys, pkg.mod; cached = pkg.mod.__cached__; "
	"print(os.path.exists(cached), os.listdir('pkg')); sys.exit(7)";

static void bytecode_is_cached_and_the_tree_stays_as_it_was(void **state)
{
	struct cli *cli = *state;

	EACH_USER(cli, uid) {
		char *before = tree_describe(cli->source, true), *after;

		run_assert(run_as(cli, uid, "--", "python3", "-c", import, NULL), 7,
			   "True ['mod.py']\n", "");
		after = tree_describe(cli->source, true);
		assert_string_equal(after, before);
		free(before);
		free(after);
	}
}

static void nobody_outside_sees_the_mount(void **state)
{
	struct cli *cli = *state;

	EACH_USER(cli, uid) {
		run_assert(run_script(cli, uid, "exec \"$0\" run sh -c '"
				      "grep -c \" $1 fuse.pycachefs \" /proc/mounts' "
				      "sh \"$1\""), 0, "1\n", "");
		run_assert(run_as(cli, uid, "sh", "-c",
				  "echo x >pkg/__pycache__/a.pyc && "
				  "cat pkg/__pycache__/a.pyc && ls -A pkg", NULL), 0,
			   "x\nmod.py\n", "");
		assert_int_equal(cli_mounts_at(cli->source), 0);
		assert_int_equal(access(in(cli->source, "pkg/__pycache__"), F_OK), -1);
	}
}

/* Where mounts tell each other, as on most machines: root makes no user namespace,
 * which would keep them apart by itself. */
static void a_shared_mount_does_not_tell_the_others(void **state)
{
	struct cli *cli = *state;
	const char *top = cli->top;

	run_give(cli, 0);
	assert_int_equal(mount(top, top, NULL, MS_BIND, NULL), 0);
	assert_int_equal(mount(NULL, top, NULL, MS_SHARED, NULL), 0);
	run_assert(run_as(cli, 0, "sh", "-c", "grep -c fuse.pycachefs /proc/mounts; "
			  "nsenter -t $PPID -m grep -c fuse.pycachefs /proc/mounts",
			  NULL), 1, "1\n0\n", "");
	assert_int_equal(cli_mounts_at(cli->source), 0);
	/* The other way it does, as without a namespace. */
	run_assert(run_as(cli, 0, "sh", "-c",
			  "nsenter -t $PPID -m mount -t tmpfs none $0 && stat -f -c %T $0; "
			  "nsenter -t $PPID -m umount $0 && stat -f -c %T $0 >../file",
			  cli->mnt, NULL), 0, "tmpfs\n", "");
	assert_int_equal(umount2(top, MNT_DETACH), 0);
}

static void changes_reach_the_source(void **state)
{
	struct cli *cli = *state;
	char *text;

	EACH_USER(cli, uid) {
		run_assert(run_as(cli, uid, "sh", "-c", "echo new >pkg/new.py", NULL), 0,
			   "", "");
		text = tree_read(in(cli->source, "pkg/new.py"), NULL);
		assert_string_equal(text, "new\n");
		free(text);
		assert_int_equal(unlink(in(cli->source, "pkg/new.py")), 0);
	}
}

static void the_exit_status_is_the_commands(void **state)
{
	static const struct {
		int status;
		const char *script;
	} rows[] = {
		{ 0, "true" }, { 7, "exit 7" }, { 255, "exit 255" },
		{ 128 + SIGTERM, "kill -TERM $$" }, { 128 + SIGKILL, "kill -KILL $$" },
		{ 128 + SIGINT, "kill -INT $$" },
	};
	struct cli *cli = *state;

	EACH_USER(cli, uid)
		for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
			run_assert(run_as(cli, uid, "sh", "-c", rows[i].script, NULL),
				   rows[i].status, "", "");
}

static void a_command_that_cannot_be_run_is_told(void **state)
{
	struct cli *cli = *state;

	tree_write(in(cli->source, "script"), "echo script\n", -1);
	assert_int_equal(chmod(in(cli->source, "script"), 0755), 0);
	EACH_USER(cli, uid) {
		run_assert_complaint(run_as(cli, uid, "--", "no-such-command", NULL), 127,
				     "no-such-command");
		run_assert_complaint(run_as(cli, uid, "./missing", NULL), 127, "missing");
		run_assert_complaint(run_as(cli, uid, "", NULL), 127, "''");
		run_assert_complaint(run_as(cli, uid, "./pkg", NULL), 126, "./pkg");
		run_assert_complaint(run_as(cli, uid, "./pkg/mod.py", NULL), 126,
				     "pkg/mod.py");
		/* As execvp(3) and every shell do: it has no first line that says. */
		run_assert(run_as(cli, uid, "./script", NULL), 0, "script\n", "");
		assert_true(cli_ends());
	}
}

static void wrong_usage_is_told_and_runs_nothing(void **state)
{
	static const struct {
		int status;
		const char *mention, *words[5];
	} rows[] = {
		{ 2, "usage", { NULL } },
		{ 2, "usage", { "--" } },
		{ 2, "usage", { "-v", "--" } },
		{ 2, "--frobnicate", { "--frobnicate", "true" } },
		{ 2, "-Z", { "-Z", "true" } },
		{ 2, "-o", { "-o" } },
		{ 2, "--source", { "--source" } },
		{ 2, "siz", { "-o", "siz=8M", "echo" } },
		{ 2, "size=", { "-o", "size=", "echo" } },
		{ 2, "auto_unmount", { "-o", "auto_unmount", "echo" } },
		{ 1, "nowhere", { "--source", "nowhere", "echo" } },
		{ 1, "nowhere", { "--source", ".", "--source=nowhere", "echo" } },
		{ 1, "mod.py", { "--source", "pkg/mod.py", "echo" } },
		{ 1, "'/'", { "--source", "/", "echo" } },
	};
	struct cli *cli = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		const char *const *w = rows[i].words;
		struct command command;

		if (w[0])
			command = run_as(cli, 0, w[0], w[1], w[2], w[3], NULL);
		else
			command = run_as(cli, 0, NULL, NULL);
		run_assert_complaint(command, rows[i].status, rows[i].mention);
	}
	/* From the first word that is no option on, all words are COMMAND's. */
	run_assert(run_as(cli, 0, "echo", "-v", "--source", NULL), 0, "-v --source\n", "");
}

static void help_is_printed(void **state)
{
	struct cli *cli = *state;
	struct command command = run_as(cli, 0, "--help", NULL);

	assert_int_equal(command.status, 0);
	assert_string_equal(command.err, "");
	assert_non_null(strstr(command.out, "--source DIR"));
	command_free(&command);
}

/* Whatever a program can ask about where it stands. */
static const char ask[] =
	"umask; ulimit -a; ulimit -aH; nice; pwd; readlink /proc/self/cwd; env | sort; "
	"grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp:)' /proc/self/status; "
	"ls /proc/self/fd; cat <&9; cat";

static char *answer(const struct cli *cli, int uid, bool with, const char *const *question)
{
	/* With the file that makes libfuse start mount(8) for root. */
	static const char stand[] =
		"mount -t tmpfs none /run; mkdir /run/mount; >/run/mount/utab; "
		"umask 027; ulimit -n 200; ulimit -c 0; export NAME='a value'; "
		"exec 9<pkg/mod.py; echo input | setpriv --bounding-set -sys_time "
		"nice -n 5 env --block-signal=USR2 --block-signal=CHLD "
		"--ignore-signal=HUP --default-signal=PIPE \"$@\"";
	struct command_options options = {
		.directory = cli->source, .seconds = DEADLINE,
	};
	const char *argv[26] = { "unshare", "--mount", "sh", "-c", stand, "sh" };
	char id[16];
	int n = 6;

	snprintf(id, sizeof(id), "%d", uid);
	if (uid) {
		argv[n++] = "setpriv";
		argv[n++] = "--reuid";
		argv[n++] = id;
		argv[n++] = "--regid";
		argv[n++] = id;
		argv[n++] = "--clear-groups";
	}
	if (with) {
		argv[n++] = fixture_program();
		argv[n++] = "run";
		argv[n++] = "--";
	}
	for (; *question; question++)
		argv[n++] = *question;
	struct command command = command_run(&options, argv);
	assert_string_equal(command.err, "");
	assert_int_equal(command.status, 0);
	free(command.err);
	return command.out;
}

static void the_command_stands_where_it_would_without(void **state)
{
	/* A shell sets signals as it likes: those are asked for without one. */
	static const char *const questions[][4] = {
		{ "sh", "-c", ask, NULL },
		{ "grep", "^Sig[PBIC]\\|^Shd", "/proc/self/status", NULL },
	};
	struct cli *cli = *state;

	EACH_USER(cli, uid) {
		for (size_t i = 0; i < 2; i++) {
			char *without = answer(cli, uid, false, questions[i]);
			char *with = answer(cli, uid, true, questions[i]);

			assert_string_equal(with, without);
			/* It has asked indeed. */
			assert_non_null(strstr(with, i ? "SigBlk:\t0000000000010800\n"
						       : "NAME=a value\n"));
			free(without);
			free(with);
		}
	}
}

static void a_plain_user_gains_no_capability(void **state)
{
	struct cli *cli = *state;

	run_give(cli, PLAIN);
	run_assert(run_as(cli, PLAIN, "grep", "-E", "^Cap(Inh|Prm|Eff|Amb)",
			  "/proc/self/status", NULL), 0,
		   "CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\n"
		   "CapEff:\t0000000000000000\nCapAmb:\t0000000000000000\n", "");
	run_assert(run_as(cli, PLAIN, "sh", "-c", "umount . 2>/dev/null || "
			  "mount -t tmpfs none . 2>/dev/null || echo refused", NULL), 0,
		   "refused\n", "");
	run_assert(run_as(cli, PLAIN, "sh", "-c", "id -u; id -g", NULL), 0,
		   "65534\n65534\n", "");
}

/* Natively an owner may write whatever the group; in a user namespace of one group
 * the kernel would refuse it. */
static void an_owner_may_write_whatever_the_group(void **state)
{
	struct cli *cli = *state;

	run_give(cli, PLAIN);
	free(command_output(NULL, "chgrp", "-R", "0", cli->source, NULL));
	free(command_output(NULL, "chmod", "-R", "g+s", cli->source, NULL));
	run_assert(run_as(cli, PLAIN, "--", "python3", "-c", import, NULL), 7,
		   "True ['mod.py']\n", "");
	run_assert(run_as(cli, PLAIN, "sh", "-ec",
			  "echo x >>pkg/mod.py; echo y >pkg/new; echo z >>pkg/new; "
			  "chmod 600 pkg/new; mkdir d; echo x >d/x; mv pkg/new d; "
			  "stat -c %u:%g d d/new pkg/mod.py; rm -r d", NULL), 0,
		   "65534:65534\n65534:65534\n65534:65534\n", "");
}

/* The kernel would refuse all access to what has an ACL that it can't read. */
static void an_acl_that_names_others_counts_for_the_user(void **state)
{
	static const char named[] = "u:1:rwx,u:65534:rwx,g:2:rwx";
	struct cli *cli = *state;
	char *before, *after;

	run_give(cli, 0);
	tree_write(in(cli->source, "pkg/closed"), "closed\n", -1);
	free(command_output(cli->source, "chmod", "-R", "o=", ".", NULL));
	free(command_output(cli->source, "setfacl", "-m", "u:1:rwx", "pkg/closed", NULL));
	free(command_output(cli->source, "setfacl", "-m", named, ".", "pkg", "pkg/mod.py",
			    NULL));
	before = command_output(cli->source, "getfacl", "-nR", ".", NULL);
	run_assert(run_as(cli, PLAIN, "sh", "-c", "cat pkg/mod.py && ls pkg && "
			  "cat pkg/closed 2>/dev/null || echo refused", NULL), 0,
		   "mod = 1\nclosed\nmod.py\nrefused\n", "");
	after = command_output(cli->source, "getfacl", "-nR", ".", NULL);
	assert_string_equal(after, before);
	free(before);
	free(after);
}

/* What can't be shown is not taken away by a change of what can. */
static void an_acl_keeps_those_whom_it_cannot_show(void **state)
{
	struct cli *cli = *state;
	char *before, *after;

	run_give(cli, PLAIN);
	free(command_output(cli->source, "setfacl", "-m", "u:1:rw", "pkg/mod.py", NULL));
	before = command_output(cli->source, "getfacl", "-n", "pkg/mod.py", NULL);
	run_assert(run_as(cli, PLAIN, "sh", "-c", "echo x >>pkg/mod.py; "
			  "getfacl -nc pkg/mod.py; "
			  "setfacl -m u:65534:r pkg/mod.py 2>/dev/null || echo refused; "
			  "echo y >pkg/own; setfacl -m u:65534:r pkg/own && "
			  "getfacl -nc pkg/own | grep user:65534; rm pkg/own", NULL), 0,
		   "user::rw-\ngroup::r--\nmask::rw-\nother::r--\n\nrefused\n"
		   "user:65534:r--\n", "");
	after = command_output(cli->source, "getfacl", "-n", "pkg/mod.py", NULL);
	assert_string_equal(after, before);
	free(before);
	free(after);
}

static void closed_descriptors_stay_closed(void **state)
{
	static const char script[] =
		"exec \"$0\" run sh -c 'for fd in 0 1 2; do "
		"[ ! -e /proc/self/fd/$fd ] || exit $fd; done; "
		"echo x >pkg/__pycache__/x && exit 42' <&- >&- 2>&-";
	struct cli *cli = *state;

	EACH_USER(cli, uid)
		run_assert(run_script(cli, uid, script), 42, "", "");
}

static void where_the_user_stands_is_entered_again(void **state)
{
	static const char probe[] =
		"echo x >__pycache__/x && pwd && ls -A && stat -f -c %t .";
	struct cli *cli = *state;
	char out[256];

	snprintf(out, sizeof(out), "%s/pkg\nmod.py\n65735546\n", cli->source);
	EACH_USER(cli, uid) {
		run_assert(run_in(in(cli->source, "pkg"), uid, "--source", "..", "sh",
				  "-c", probe, NULL), 0, out, "");
		/* Outside of DIR nothing changes. */
		run_assert(run_in("/", uid, "--source", cli->source, "pwd", NULL), 0,
			   "/\n", "");
	}
}

static void several_sources_are_mounted(void **state)
{
	static const char probe[] =
		"for d; do echo x >$d/__pycache__/x && ls -A $d; done; "
		"grep -c fuse.pycachefs /proc/mounts";
	struct cli *cli = *state;

	EACH_USER(cli, uid) {
		assert_int_equal(chown(cli->mnt, (uid_t)uid, (gid_t)uid), 0);
		run_assert(run_as(cli, uid, "--source", cli->mnt, "--source=.", "sh",
				  "-c", probe, "sh", cli->mnt, "pkg", NULL), 0,
			   "mod.py\n2\n", "");
		/* One inside another, or the same twice, is one mount. */
		run_assert(run_as(cli, uid, "--source", "pkg", "--source=.", "--source",
				  cli->source, "sh", "-c", probe, "sh", ".", "pkg",
				  NULL), 0, "pkg\nmod.py\n1\n", "");
		assert_true(cli_ends());
		assert_int_equal(access(in(cli->source, "__pycache__"), F_OK), -1);
	}
}

static void options_count(void **state)
{
	struct cli *cli = *state;

	EACH_USER(cli, uid) {
		run_assert(run_as(cli, uid, "-o", "also=.cache,ro", "-osize=1M", "sh", "-c",
				  "mkdir .cache && ls -A; mkdir d 2>/dev/null || echo ro",
				  NULL), 0, "pkg\nro\n", "");
	}
}

static void a_run_inside_a_run_uses_its_mount(void **state)
{
	static const char script[] =
		"exec \"$0\" run \"$0\" run sh -c 'echo x >pkg/__pycache__/x; "
		"ls -A pkg; grep -c fuse.pycachefs /proc/mounts; exit 9'";
	struct cli *cli = *state;

	EACH_USER(cli, uid) {
		run_assert(run_script(cli, uid, script), 9, "mod.py\n1\n", "");
		run_assert_complaint(run_script(cli, uid, "\"$0\" run \"$0\" run -o ro "
						"echo no"), 1, cli->source);
	}
}

static void a_run_inside_a_run_may_mount_elsewhere(void **state)
{
	static const char script[] =
		"exec \"$0\" run \"$0\" run --source ../mnt sh -c "
		"'echo x >../mnt/__pycache__/x; ls -A ../mnt pkg; exit 9'";
	struct cli *cli = *state;

	EACH_USER(cli, uid) {
		assert_int_equal(chown(cli->mnt, (uid_t)uid, (gid_t)uid), 0);
		run_assert(run_script(cli, uid, script), 9, "../mnt:\n\npkg:\nmod.py\n",
			   "");
	}
	assert_int_equal(access(in(cli->mnt, "__pycache__"), F_OK), -1);
}

static void a_run_in_a_mount_uses_it(void **state)
{
	struct cli *cli = *state;
	struct command command;
	pid_t daemon;

	cli_quietly(cli->source, NULL);
	assert_int_equal(cli_processes(&daemon), 1);
	run_assert(run_as(cli, 0, "sh", "-c", "echo x >pkg/__pycache__/x; exit 4", NULL),
		   4, "", "");
	assert_int_equal(access(in(cli->source, "pkg/__pycache__/x"), F_OK), 0);
	command = run_as(cli, 0, "-v", "true", NULL);
	assert_int_equal(command.status, 0);
	cli_assert_complaint(command.err, cli->source);
	command_free(&command);
	cli_quietly("unmount", cli->source, NULL);
	cli_assert_ended(daemon, cli->source);
}

static void verbose_ends_with_one_line(void **state)
{
	static const char script[] =
		"\"$0\" run -v sh -c 'echo code >pkg/__pycache__/x; echo done' 2>&1 | cat";
	struct cli *cli = *state;
	char out[256];

	snprintf(out, sizeof(out), "done\npycachefs: '%s': 1 file, 5 B redirected; "
		 "source unchanged through the mount\n", cli->source);
	EACH_USER(cli, uid)
		run_assert(run_script(cli, uid, script), 0, out, "");
}

/* That the source is unchanged is said only when it is. */
static void verbose_says_what_was_changed(void **state)
{
	static const struct {
		const char *command, *changes;
	} rows[] = {
		{ "cat pkg/mod.py; ls -l pkg; test -w pkg/mod.py", NULL },
		{ "echo x >pkg/mod.pyc; rm pkg/mod.pyc", NULL },
		{ "mkdir pkg/__pycache__/d; chmod 700 pkg/__pycache__/d; rmdir pkg/__pycache__/d",
		  NULL },
		/* What fails changes nothing. */
		{ "mkdir pkg; rmdir pkg; rm pkg/none; mv pkg/none pkg/x; ln pkg/none x", NULL },
		{ "echo x >>pkg/mod.py", "1 write" },
		{ "printf x | dd of=pkg/mod.py conv=notrunc status=none", "1 write" },
		{ "truncate -s 3 pkg/mod.py", "1 write" },
		{ "fallocate -l 64 pkg/mod.py", "1 write" },
		{ ": >new; rm new", "1 creation, 1 removal" },
		{ "mkdir d; rmdir d", "1 creation, 1 removal" },
		{ "mkfifo p; rm p", "1 creation, 1 removal" },
		{ "ln -s x l; rm l", "1 creation, 1 removal" },
		{ "ln pkg/mod.py l; rm l", "1 creation, 1 removal" },
		{ "mv pkg/mod.py pkg/x; mv pkg/x pkg/mod.py", "2 renames" },
		{ "chmod 600 pkg/mod.py", "1 change of attributes" },
		{ "touch -d @1 pkg/mod.py", "1 change of attributes" },
		{ "setfattr -n user.x -v y pkg/mod.py; setfattr -x user.x pkg/mod.py",
		  "2 changes of attributes" },
	};
	struct cli *cli = *state;
	char script[512], out[512];

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		snprintf(script, sizeof(script), "\"$0\" run -v sh -c 'exec >/dev/null; "
			 "exec 3>&2 2>&1; %s; exec 2>&3' 2>&1 | cat", rows[i].command);
		snprintf(out, sizeof(out), "source %s through the mount%s%s\n",
			 rows[i].changes ? "changed" : "unchanged",
			 rows[i].changes ? ": " : "",
			 rows[i].changes ? rows[i].changes : "");
		EACH_USER(cli, uid) {
			struct command command = run_script(cli, uid, script);
			const char *end = strstr(command.out, "; source ");

			if (!end || strcmp(end + 2, out) != 0)
				fail_msg("%s: '%s' in place of '%s'", rows[i].command,
					 command.out, out);
			command_free(&command);
		}
	}
}

/* One line, whatever two processes fail of. */
static void what_is_not_permitted_is_told_in_one_line(void **state)
{
	struct cli *cli = *state;
	const char *root = cli->mnt;
	const char *argv[] = {
		"chroot", "--userspec=65534:65534", root, fixture_program(), "run",
		"--source", cli->source, "true", NULL,
	};
	/* A sanitizer can't look for leaks where /proc goes away meanwhile. */
	static const char *const environment[] = {
		"ASAN_OPTIONS=detect_leaks=0", NULL,
	};
	struct command_options options = {
		.seconds = DEADLINE, .environment = environment,
	};

	run_give(cli, PLAIN);
	assert_int_equal(chmod(cli->file, 0600), 0);
	assert_int_equal(mount(cli->file, "/dev/fuse", NULL, MS_BIND, NULL), 0);
	run_assert_complaint(run_as(cli, PLAIN, "true", NULL), 1, "/dev/fuse");
	assert_int_equal(umount2("/dev/fuse", MNT_DETACH), 0);

	/* After chroot(2) the kernel makes no user namespace: user_namespaces(7). */
	assert_int_equal(mount("/", root, NULL, MS_BIND | MS_REC, NULL), 0);
	struct command command = command_run(&options, argv);
	assert_int_equal(umount2(root, MNT_DETACH), 0);
	run_assert_complaint(command, 1, "user namespace");
}

/* A user's whole day: one after the other, some of them killed at any moment. */
static void many_runs_leave_nothing(void **state)
{
	const char *wanted = getenv("PYCACHEFS_TEST_RUNS");
	int count = wanted ? atoi(wanted) : 50;
	struct cli *cli = *state;
	char *before, *after;
	unsigned seed = (unsigned)time(NULL);

	print_message("seed %u\n", seed);
	srandom(seed);
	run_give(cli, PLAIN);
	before = tree_describe(cli->source, true);
	for (int i = 0; i < count; i++) {
		const struct timespec pause = { .tv_nsec = random() % 25000000 };
		const char *script = i % 2 ? "while :; do echo x >pkg/__pycache__/x; done"
					   : "echo x >pkg/__pycache__/x";
		const char *argv[] = { fixture_program(), "run", "sh", "-c", script, NULL };
		uid_t uid = i & 2 ? PLAIN : 0;
		pid_t child = fork();
		int status;

		assert_true(child >= 0);
		if (child == 0) {
			if (chdir(cli->source) == 0 && setresgid(uid, uid, uid) == 0 &&
			    setresuid(uid, uid, uid) == 0)
				execv(argv[0], (char **)(uintptr_t)argv);
			_exit(127);
		}
		if (i % 2) {
			nanosleep(&pause, NULL);
			assert_int_equal(kill(child, SIGKILL), 0);
		}
		assert_int_equal(waitpid(child, &status, 0), child);
		if (i % 2)
			assert_int_equal(WTERMSIG(status), SIGKILL);
		else
			assert_int_equal(status, 0);
	}
	assert_true(cli_ends());
	after = tree_describe(cli->source, true);
	assert_string_equal(after, before);
	free(before);
	free(after);
}

int main(void)
{
	int skip = cli_possible();
	const struct CMUnitTest tests[] = {
		CLI(bytecode_is_cached_and_the_tree_stays_as_it_was),
		CLI(nobody_outside_sees_the_mount),
		CLI(a_shared_mount_does_not_tell_the_others),
		CLI(changes_reach_the_source),
		CLI(the_exit_status_is_the_commands),
		CLI(a_command_that_cannot_be_run_is_told),
		CLI(wrong_usage_is_told_and_runs_nothing),
		CLI(help_is_printed),
		CLI(the_command_stands_where_it_would_without),
		CLI(a_plain_user_gains_no_capability),
		CLI(an_owner_may_write_whatever_the_group),
		CLI(an_acl_that_names_others_counts_for_the_user),
		CLI(an_acl_keeps_those_whom_it_cannot_show),
		CLI(closed_descriptors_stay_closed),
		CLI(where_the_user_stands_is_entered_again),
		CLI(several_sources_are_mounted),
		CLI(options_count),
		CLI(a_run_inside_a_run_uses_its_mount),
		CLI(a_run_inside_a_run_may_mount_elsewhere),
		CLI(a_run_in_a_mount_uses_it),
		CLI(verbose_ends_with_one_line),
		CLI(verbose_says_what_was_changed),
		CLI(what_is_not_permitted_is_told_in_one_line),
		CLI(many_runs_leave_nothing),
	};

	if (skip)
		return skip;
	return cmocka_run_group_tests(tests, run_setup, run_teardown);
}
