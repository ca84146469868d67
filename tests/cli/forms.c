/*
 * The forms in which the command is given: paths, options in any place, --help,
 * --version, and what mount(8) makes of an entry in fstab.
 */
#include "cli.h"

#include <limits.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/wait.h>

static void unmount(const char *path)
{
	pid_t daemon;

	assert_int_equal(cli_processes(&daemon), 1);
	cli_quietly("unmount", path, NULL);
	cli_assert_ended(daemon, path);
}

/* The daemon leaves its directory, so a path must not depend on it. */
static void relative_paths_are_taken_from_where_the_command_runs(void **state)
{
	struct cli *cli = *state;
	struct command_options options = {
		.directory = cli->top, .seconds = DEADLINE,
	};
	static const char *const forms[][2] = {
		{ "source", "mnt" }, { "./source/", "mnt/." },
		{ "mnt/../source", "./mnt//" },
	};

	for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++) {
		const char *argv[] = {
			fixture_program(), forms[i][0], forms[i][1], NULL,
		};
		struct command command = command_run(&options, argv);

		assert_string_equal(command.err, "");
		assert_int_equal(command.status, 0);
		command_free(&command);
		assert_int_equal(cli_mounts_at(cli->mnt), 1);
		cli_assert_usable(cli->mnt);

		const char *away[] = {
			fixture_program(), "unmount", forms[i][1], NULL,
		};
		pid_t daemon;
		assert_int_equal(cli_processes(&daemon), 1);
		command = command_run(&options, away);
		assert_string_equal(command.err, "");
		assert_int_equal(command.status, 0);
		command_free(&command);
		cli_assert_ended(daemon, cli->mnt);
	}
}

static void the_directory_one_stands_in_is_mounted_over_itself(void **state)
{
	struct cli *cli = *state;
	struct command_options options = {
		.directory = cli->source, .seconds = DEADLINE,
	};
	const char *argv[] = { fixture_program(), ".", NULL };
	struct command command = command_run(&options, argv);

	assert_string_equal(command.err, "");
	assert_int_equal(command.status, 0);
	command_free(&command);
	cli_assert_usable(cli->source);
	unmount(cli->source);
}

static void symlinks_lead_to_what_is_mounted(void **state)
{
	struct cli *cli = *state;

	assert_int_equal(symlink("source", in(cli->top, "to-source")), 0);
	assert_int_equal(symlink("mnt", in(cli->top, "to-mnt")), 0);
	cli_quietly(in(cli->top, "to-source"), in(cli->top, "to-mnt"), NULL);
	cli_assert_usable(cli->mnt);
	cli_quietly("unmount", in(cli->top, "to-mnt"), NULL);
	assert_int_equal(cli_mounts_at(cli->mnt), 0);
	cli_quietly(in(cli->top, "to-source"), NULL);
	cli_assert_usable(cli->source);
	cli_quietly("unmount", in(cli->top, "to-source"), NULL);
	assert_int_equal(cli_mounts_at(cli->source), 0);
}

/* The table of mounts escapes these, and -o separates by commas. */
static void paths_may_hold_any_character(void **state)
{
	static const char *const names[] = {
		"with space", "with,comma", "with\\backslash", "with\ttab",
		"with\nnewline", "\xc3\xa9t\xc3\xa9", "with#hash", "-dash",
		"with=equals", "with%percent", "\xff\xfe", "with\"quote'",
		"with\\,both", "\\", ",", " ",
	};
	struct cli *cli = *state;
	char mnt[128], source[128];

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		snprintf(mnt, sizeof(mnt), "%s/mnt/%s", cli->top, names[i]);
		snprintf(source, sizeof(source), "%s/%s", cli->top, names[i]);
		assert_int_equal(mkdir(mnt, 0755), 0);
		assert_int_equal(rename(cli->source, source), 0);
		cli_quietly(source, mnt, NULL);
		cli_assert_usable(mnt);

		struct command command = cli_run("status", mnt, NULL);
		assert_string_equal(command.err, "");
		assert_int_equal(command.status, 0);
		command_free(&command);
		cli_quietly("unmount", mnt, NULL);
		assert_int_equal(rename(source, cli->source), 0);
		assert_int_equal(rmdir(mnt), 0);
	}
}

/* `status` goes on in a further line where one is too long. */
static void join_lines(char *text)
{
	char *to = text;

	while (*text) {
		if (*text == '\n')
			text += 1 + strspn(text + 1, " ");
		else
			*to++ = *text++;
	}
	*to = '\0';
}

/* Almost as long as a path can be. */
static void a_long_path_is_mounted(void **state)
{
	struct cli *cli = *state;
	char name[201], source[PATH_MAX], mnt[PATH_MAX + 8];
	int length;

	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	length = snprintf(source, sizeof(source), "%s", cli->top);
	while (length + sizeof(name) + 40 < sizeof(source))
		length += snprintf(source + length, sizeof(source) -
				   (size_t)length, "/%s", name);
	snprintf(mnt, sizeof(mnt), "%s/mnt", source);
	strcpy(source + length, "/source");
	tree_write(in(source, "pkg/mod.py"), "mod = 1\n", -1);
	assert_int_equal(mkdir(mnt, 0755), 0);
	for (int in_place = 0; in_place < 2; in_place++) {
		const char *place = in_place ? source : mnt;

		cli_quietly(source, place, NULL);
		cli_assert_usable(place);
		struct command command = cli_run("status", place, NULL);
		assert_string_equal(command.err, "");
		join_lines(command.out);
		assert_non_null(strstr(command.out, source));
		assert_int_equal(command.status, 0);
		command_free(&command);
		unmount(place);
	}
}

/* Exactly one option is given in each form; the store's size shows it. */
static void assert_eight_megabytes(const struct cli *cli)
{
	struct statvfs vfs;

	assert_int_equal(statvfs(in(cli->mnt, "__pycache__"), &vfs), 0);
	assert_int_equal(vfs.f_blocks * vfs.f_frsize, 8 << 20);
	unmount(cli->mnt);
}

static void options_may_stand_anywhere(void **state)
{
	struct cli *cli = *state;

	cli_quietly("-o", "size=8M", cli->source, cli->mnt, NULL);
	assert_eight_megabytes(cli);
	cli_quietly("-osize=8M", cli->source, cli->mnt, NULL);
	assert_eight_megabytes(cli);
	cli_quietly(cli->source, cli->mnt, "-o", "size=8M", NULL);
	assert_eight_megabytes(cli);
	cli_quietly(cli->source, "-o", "size=8192K", cli->mnt, NULL);
	assert_eight_megabytes(cli);
	cli_quietly("-o", "inodes=100,size=8388608,also=.x", cli->source,
		    "-o", "timeout=0.5", cli->mnt, NULL);
	assert_eight_megabytes(cli);
	cli_quietly("-o", "size=1M", "-o", "size=8m", cli->source, cli->mnt,
		    NULL);
	assert_eight_megabytes(cli);
	cli_quietly("-o", "size=8M", "--", cli->source, cli->mnt, NULL);
	assert_eight_megabytes(cli);
}

static void the_store_has_256_mebibytes_unless_told(void **state)
{
	struct cli *cli = *state;
	struct statvfs vfs;

	cli_mount(cli, NULL);
	assert_int_equal(statvfs(in(cli->mnt, "__pycache__"), &vfs), 0);
	assert_int_equal(vfs.f_blocks * vfs.f_frsize, 256 << 20);
	unmount(cli->mnt);
}

static void the_store_has_as_many_inodes_as_given(void **state)
{
	struct cli *cli = *state;
	struct statvfs vfs;

	cli_mount(cli, "inodes=1234");
	assert_int_equal(statvfs(in(cli->mnt, "__pycache__"), &vfs), 0);
	assert_int_equal(vfs.f_files, 1234);
	unmount(cli->mnt);
}

/* How many READ requests there were, as status tells. */
static int reads(const struct cli *cli)
{
	struct command command = cli_run("status", "--json", cli->mnt, NULL);
	const char *at = strstr(command.out, "\"read\": ");
	int count;

	assert_non_null(at);
	count = atoi(at + strlen("\"read\": "));
	command_free(&command);
	return count;
}

static void a_read_request_is_as_large_as_max_read_says(void **state)
{
	static char block[1 << 16], got[1 << 16];
	struct cli *cli = *state;

	memset(block, 'x', sizeof(block));
	tree_write(in(cli->source, "large"), block, sizeof(block));
	for (int small = 0; small < 2; small++) {
		cli_mount(cli, small ? "max_read=4096" : "max_read=1048576");
		cli_assert_usable(cli->mnt);
		int before = reads(cli);
		int fd = open(in(cli->mnt, "large"), O_RDONLY | O_CLOEXEC);
		assert_int_equal(read(fd, got, sizeof(got)), sizeof(got));
		assert_memory_equal(got, block, sizeof(block));
		close(fd);
		assert_true((reads(cli) - before >= 16) == small);
		unmount(cli->mnt);
	}
}

/* What the table knows is mounted or refused in a line, and never swallowed. */
static void every_option_mounts_or_says_why_not(void **state)
{
	static const char *const words[] = {
		"allow_other", "auto_unmount", "max_read=4096", "max_read=1",
		"max_read=4294967295", "default_permissions", "rw", "suid",
		"nosuid", "dev", "nodev", "exec", "noexec", "sync", "async",
		"dirsync", "atime", "relatime", "noatime", "nodiratime", "context=a:b:c",
		"fscontext=a:b:c", "defcontext=a:b:c", "rootcontext=a:b:c",
		"fsname=a\\,b", "defaults", "_netdev,nofail,x-systemd.automount",
		"inodes=1000,inodes=2000,ro,ro,nosuid,nosuid",
		"max_threads=1", "max_threads=1000", "also=a\\,b,size=8M",
	};
	struct cli *cli = *state;

	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
		struct command command = cli_run("-o", words[i], cli->source,
						 cli->mnt, NULL);

		if (command.status == 0) {
			assert_string_equal(command.err, "");
			cli_assert_usable(cli->mnt);
			unmount(cli->mnt);
		} else {
			/* Labels are for kernels with SELinux. */
			assert_non_null(strstr(words[i], "context="));
			cli_assert_complaint(command.err, cli->mnt);
			assert_int_equal(command.status, 1);
			assert_int_equal(cli_mounts_at(cli->mnt), 0);
		}
		command_free(&command);
	}
}

/* "TYPE ORIGIN OPTIONS" of the mount, as the table of mounts shows it. */
static void assert_table_shows(const char *mnt, const char *expected)
{
	char *table = cli_mount_table(), *at = strstr(table, mnt);

	assert_non_null(at);
	at = strstr(at, " - ");
	assert_non_null(at);
	assert_int_equal(strncmp(at + 3, expected, strlen(expected)), 0);
	free(table);
}

static void the_table_of_mounts_names_type_and_source(void **state)
{
	struct cli *cli = *state;
	char expected[128];

	cli_mount(cli, NULL);
	snprintf(expected, sizeof(expected), "fuse.pycachefs %s ", cli->source);
	assert_table_shows(cli->mnt, expected);
	unmount(cli->mnt);
	cli_mount(cli, "fsname=another");
	assert_table_shows(cli->mnt, "fuse.pycachefs another ");
	unmount(cli->mnt);
}

static void help_names_every_option(void **state)
{
	static const char *const words[] = {
		"\n  -f ", "\n  -d ", "-o", "\n  size=", "\n  inodes=",
		"\n  also=", "\n  ro ", "\n  timeout=", "\n  max_threads=",
		"\n  allow_other ", "\n  auto_unmount ", "\n  fsname=",
		"SOURCE [MOUNTPOINT]", " status ", "--json", " unmount ",
		"--lazy", "--help", "--version",
	};
	struct command command = cli_run("--help", NULL);

	(void)state;
	assert_string_equal(command.err, "");
	assert_int_equal(command.status, 0);
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (!strstr(command.out, words[i]))
			fail_msg("no '%s' in:\n%s", words[i], command.out);
	command_free(&command);
}

/* And nothing is asked of the mounts, nor of COMMAND. */
static void each_verb_has_a_help_of_its_own(void **state)
{
	static const struct {
		const char *verb, *words;
	} rows[] = {
		{ "run", "--source DIR" }, { "status", "--json" },
		{ "purge", "PATH..." }, { "unmount", "-l, --lazy" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		for (int brief = 0; brief < 2; brief++) {
			struct command command = cli_run(rows[i].verb,
				brief ? "-h" : "--help", NULL);
			char start[64];

			snprintf(start, sizeof(start), "usage: pycachefs %s ",
				 rows[i].verb);
			assert_int_equal(command.status, 0);
			assert_string_equal(command.err, "");
			assert_memory_equal(command.out, start, strlen(start));
			assert_non_null(strstr(command.out, rows[i].words));
			command_free(&command);
		}
	}
}

static void help_wins_over_what_else_is_given(void **state)
{
	struct cli *cli = *state;
	struct command command = cli_run(cli->source, cli->mnt, "--help", NULL);

	assert_string_equal(command.err, "");
	assert_int_equal(command.status, 0);
	assert_non_null(strstr(command.out, "SOURCE"));
	command_free(&command);
}

static void version_is_one_line(void **state)
{
	struct command command = cli_run("--version", NULL);
	int major, minor, patch, length = 0;

	(void)state;
	assert_string_equal(command.err, "");
	assert_int_equal(command.status, 0);
	assert_int_equal(sscanf(command.out, "pycachefs %d.%d.%d%n", &major,
				&minor, &patch, &length), 3);
	assert_string_equal(command.out + length, "\n");
	command_free(&command);
}

/*
 * mount(8) looks for the program by its name, and only where every system has
 * its programs: one such directory is covered, in our own mount namespace.
 */
#define PROGRAMS "/usr/local/sbin"

static int programs_begin(void **state)
{
	cli_begin(state);
	assert_int_equal(mount("none", PROGRAMS, "tmpfs", 0, "size=64k"), 0);
	assert_int_equal(symlink(fixture_program(), PROGRAMS "/pycachefs"), 0);
	return 0;
}

static int programs_end(void **state)
{
	assert_int_equal(umount2(PROGRAMS, MNT_DETACH), 0);
	return cli_end(state);
}

static struct command run_any(const char *const *argv)
{
	/* The helper looks for the program where its caller does. */
	static const char *const environment[] = {
		"PATH=" PROGRAMS ":/usr/sbin:/usr/bin:/sbin:/bin", NULL,
	};
	struct command_options options = {
		.seconds = DEADLINE, .environment = environment,
	};

	return command_run(&options, argv);
}

static void mounts_by(const struct cli *cli, const char *const *argv)
{
	struct command command = run_any(argv);
	struct statvfs vfs;

	assert_string_equal(command.err, "");
	assert_int_equal(command.status, 0);
	command_free(&command);
	cli_assert_usable(cli->mnt);
	assert_int_equal(statvfs(in(cli->mnt, "__pycache__"), &vfs), 0);
	assert_int_equal(vfs.f_blocks * vfs.f_frsize, 8 << 20);
	unmount(cli->mnt);
}

static void mount_8_takes_it_as_a_type(void **state)
{
	struct cli *cli = *state;
	const char *words = "size=8M,also=.x,nosuid,nodev,noatime";
	const char *by_mount[] = {
		"mount", "-t", "fuse.pycachefs", "-o", words, cli->source,
		cli->mnt, NULL,
	};
	const char *by_helper[] = {
		"/sbin/mount.fuse3", cli->source, cli->mnt, "-t",
		"fuse.pycachefs", "-o", words, NULL,
	};
	const char *read_only[] = {
		"mount", "-r", "-t", "fuse.pycachefs", "-o", words,
		cli->source, cli->mnt, NULL,
	};

	mounts_by(cli, by_mount);
	mounts_by(cli, by_helper);
	/* Read-only as the option ro is: bytecode is cached all the same. */
	mounts_by(cli, read_only);
}

static void mount_8_says_why_it_failed(void **state)
{
	struct cli *cli = *state;
	const char *argv[] = {
		"mount", "-t", "fuse.pycachefs", cli->missing, cli->mnt, NULL,
	};
	struct command command = run_any(argv);

	assert_int_not_equal(command.status, 0);
	assert_non_null(strstr(command.err, cli->missing));
	assert_int_equal(cli_mounts_at(cli->mnt), 0);
	command_free(&command);
}

#define PROGRAMS_TEST(test) \
	{ #test, test, programs_begin, programs_end, NULL }

int main(void)
{
	int skip = cli_possible();
	const struct CMUnitTest tests[] = {
		CLI(relative_paths_are_taken_from_where_the_command_runs),
		CLI(the_directory_one_stands_in_is_mounted_over_itself),
		CLI(symlinks_lead_to_what_is_mounted),
		CLI(paths_may_hold_any_character),
		CLI(a_long_path_is_mounted),
		CLI(options_may_stand_anywhere),
		CLI(the_store_has_256_mebibytes_unless_told),
		CLI(the_store_has_as_many_inodes_as_given),
		CLI(a_read_request_is_as_large_as_max_read_says),
		CLI(every_option_mounts_or_says_why_not),
		CLI(the_table_of_mounts_names_type_and_source),
		CLI(help_names_every_option),
		CLI(each_verb_has_a_help_of_its_own),
		CLI(help_wins_over_what_else_is_given),
		CLI(version_is_one_line),
		PROGRAMS_TEST(mount_8_takes_it_as_a_type),
		PROGRAMS_TEST(mount_8_says_why_it_failed),
	};
	/* The last two need the helper that libfuse installs. */
	size_t count = sizeof(tests) / sizeof(*tests);

	if (skip)
		return skip;
	if (access("/sbin/mount.fuse3", X_OK)) {
		print_message("no /sbin/mount.fuse3: mount(8) is not tried\n");
		count -= 2;
	}
	return _cmocka_run_group_tests("forms", tests, count, NULL, NULL);
}
