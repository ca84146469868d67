/*
 * fstab and mount(8): what people write there works, and mount -a, mount and umount do
 * with a mount of ours what they do with any.
 *
 * mount(8) hands a type fuse.pycachefs to mount.fuse3, which looks for `pycachefs` with
 * a shell.  PATH does not count, since mount(8) takes it out of the environment: so the
 * program is put where a shell looks without, in our own mount namespace.
 */
#include "cli.h"

#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>

#define PLAIN 65534

/* Where a shell without PATH looks first. */
static const char programs[] = "/usr/local/sbin";

/* -------------------------------------------------------------------- fstab */

static const char *fstab_path(const struct cli *cli)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/fstab", cli->top);
	return path;
}

/* Makes an fstab of this line alone; blanks of paths are written as \040. */
static void write_fstab(const struct cli *cli, const char *source, const char *place,
			const char *options)
{
	char line[512];

	snprintf(line, sizeof(line), "%s %s fuse.pycachefs %s 0 0\n", source, place, options);
	tree_write(fstab_path(cli), line, -1);
}

static struct command run(const char *const *argv, int uid)
{
	const struct command_options options = {
		.seconds = DEADLINE, .uid = (uid_t)uid, .gid = (gid_t)uid,
	};

	return command_run(&options, argv);
}

static void quietly(struct command command)
{
	assert_string_equal(command.err, "");
	assert_string_equal(command.out, "");
	assert_int_equal(command.status, 0);
	command_free(&command);
}

static struct command mount_all(const struct cli *cli)
{
	const char *const argv[] = { "mount", "-a", "-T", fstab_path(cli), NULL };

	return run(argv, 0);
}

/* Mounts the entry of a place. */
static struct command mount_one(const struct cli *cli, const char *place)
{
	const char *const argv[] = { "mount", "-T", fstab_path(cli), place, NULL };

	return run(argv, 0);
}

static struct command umount_one(const char *place)
{
	const char *const argv[] = { "umount", place, NULL };

	return run(argv, 0);
}

/* mount -a is quiet and leaves one daemon, whose mount at @place works. */
static pid_t mount_all_usable(const struct cli *cli, const char *place)
{
	pid_t daemon;

	quietly(mount_all(cli));
	cli_assert_usable(place);
	assert_int_equal(cli_mounts_at(place), 1);
	assert_int_equal(cli_processes(&daemon), 1);
	return daemon;
}

static void umount_ended(const char *place, pid_t daemon)
{
	quietly(umount_one(place));
	cli_assert_ended(daemon, place);
}

static void kill_daemon(pid_t daemon)
{
	assert_int_equal(kill(daemon, SIGKILL), 0);
	assert_int_equal(cli_wait(daemon), 128 + SIGKILL);
}

/* -------------------------------------------------------------------- tests */

static void an_entry_mounts_and_umount_ends_its_daemon(void **state)
{
	struct cli *cli = *state;
	const char *const places[] = { cli->mnt, cli->source };

	for (size_t i = 0; i < 2; i++) {
		pid_t daemon;

		write_fstab(cli, cli->source, places[i], "defaults");
		daemon = mount_all_usable(cli, places[i]);
		/* Once more it finds all as it should be. */
		assert_int_equal(mount_all_usable(cli, places[i]), daemon);
		umount_ended(places[i], daemon);
	}
}

/* mount -a compares the resolved paths of fstab with what the kernel has. */
static void an_entry_may_name_its_paths_in_any_way(void **state)
{
	struct cli *cli = *state;
	char link[128], source[128], place[128];
	pid_t daemon;

	snprintf(link, sizeof(link), "%s/a link", cli->top);
	assert_int_equal(symlink(cli->source, link), 0);
	snprintf(source, sizeof(source), "%s/a\\040link/", cli->top);
	snprintf(place, sizeof(place), "%s/./mnt/", cli->top);
	write_fstab(cli, source, place, "defaults");
	daemon = mount_all_usable(cli, cli->mnt);
	assert_int_equal(mount_all_usable(cli, cli->mnt), daemon);
	umount_ended(cli->mnt, daemon);
}

static bool has_flags(const char *place, unsigned long flags)
{
	struct statvfs vfs;

	return statvfs(place, &vfs) == 0 && (vfs.f_flag & flags) == flags;
}

static bool is_free(const char *place)
{
	return !has_flags(place, ST_NOSUID) && !has_flags(place, ST_NODEV) &&
		!has_flags(place, ST_NOEXEC) && !has_flags(place, ST_RDONLY);
}

static bool is_restricted(const char *place)
{
	return has_flags(place, ST_NOSUID | ST_NODEV | ST_NOEXEC | ST_NOATIME);
}

/* `user` alone implies these. */
static bool is_noexec(const char *place)
{
	return has_flags(place, ST_NOSUID | ST_NODEV | ST_NOEXEC);
}

static bool lets_nothing_change(const char *place)
{
	return mkdir(in(place, "new"), 0755) < 0 && errno == EROFS;
}

static bool says_its_options(const char *place)
{
	char json[65536];
	ssize_t length = getxattr(place, "user.pycachefs.status", json, sizeof(json) - 1);

	if (length < 0)
		return false;
	json[length] = '\0';
	return strstr(json, "size=64M") && strstr(json, "also=.pytest_cache") &&
		mkdir(in(place, ".pytest_cache"), 0755) == 0;
}

static void what_people_write_in_fstab_is_taken(void **state)
{
	static const struct {
		const char *options;
		bool (*holds)(const char *place);
	} rows[] = {
		{ "rw,suid,dev,exec,auto,nouser,async", is_free },
		{ "defaults,size=64M,also=.pytest_cache,allow_other", says_its_options },
		{ "ro", lets_nothing_change },
		{ "ro,nosuid,nodev,noexec,noatime", is_restricted },
		{ "defaults,nofail,_netdev,X-mount.mkdir", is_free },
		{ "nofail,x-systemd.automount,x-systemd.idle-timeout=60,x-gvfs-hide,"
		  "x-systemd.requires-mounts-for=/srv", is_free },
		{ "user", is_noexec },
		{ "users,exec", NULL },
		{ "user=root,owner,group", NULL },
		{ "noatime,nodiratime,lazytime", NULL },
		{ "relatime,strictatime,silent", NULL },
	};
	struct cli *cli = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		pid_t daemon;

		write_fstab(cli, cli->source, cli->mnt, rows[i].options);
		daemon = mount_all_usable(cli, cli->mnt);
		if (rows[i].holds && !rows[i].holds(cli->mnt))
			fail_msg("'%s' does not count", rows[i].options);
		umount_ended(cli->mnt, daemon);
	}
}

static void mount_takes_the_type_without_fstab(void **state)
{
	struct cli *cli = *state;
	const char *const argv[] = {
		"mount", "-t", "fuse.pycachefs", cli->source, cli->mnt, "-o",
		"size=64M,also=.pytest_cache", NULL,
	};
	pid_t daemon;

	quietly(run(argv, 0));
	cli_assert_usable(cli->mnt);
	assert_true(says_its_options(cli->mnt));
	assert_int_equal(cli_processes(&daemon), 1);
	umount_ended(cli->mnt, daemon);
}

static void noauto_waits_to_be_asked_for(void **state)
{
	struct cli *cli = *state;
	pid_t daemon;

	write_fstab(cli, cli->source, cli->mnt, "noauto");
	quietly(mount_all(cli));
	assert_int_equal(cli_mounts_at(cli->mnt), 0);
	quietly(mount_one(cli, cli->mnt));
	cli_assert_usable(cli->mnt);
	assert_int_equal(cli_processes(&daemon), 1);
	umount_ended(cli->mnt, daemon);
}

/*
 * A daemon that was killed leaves a dead mount.  mount -a passes over it, since the
 * kernel lists it (mount(8): filesystems that are mounted already), and never asks us.
 */
static void a_dead_mount_is_replaced_by_mounting_it_again(void **state)
{
	struct cli *cli = *state;
	const char *const places[] = { cli->mnt, cli->source };

	for (size_t i = 0; i < 2; i++) {
		struct statvfs vfs;
		pid_t daemon;

		write_fstab(cli, cli->source, places[i], "defaults");
		kill_daemon(mount_all_usable(cli, places[i]));
		quietly(mount_all(cli));
		assert_int_equal(statvfs(places[i], &vfs), -1);
		assert_int_equal(errno, ENOTCONN);

		quietly(mount_one(cli, places[i]));
		assert_int_equal(cli_mounts_at(places[i]), 1);
		cli_assert_usable(places[i]);
		assert_int_equal(cli_processes(&daemon), 1);
		umount_ended(places[i], daemon);
	}
}

/* Then there is nothing that mount -a could pass over. */
static void with_auto_unmount_mount_all_replaces_what_died(void **state)
{
	struct cli *cli = *state;
	const char *const places[] = { cli->mnt, cli->source };

	for (size_t i = 0; i < 2; i++) {
		write_fstab(cli, cli->source, places[i], "auto_unmount");
		kill_daemon(mount_all_usable(cli, places[i]));
		/* Its guard is ours now, and goes when it has unmounted. */
		cli_wait_left(0);
		assert_int_equal(cli_mounts_at(places[i]), 0);
		assert_int_equal(access(places[i], F_OK), 0);
		umount_ended(places[i], mount_all_usable(cli, places[i]));
	}
}

static void our_unmount_ends_such_a_mount_too(void **state)
{
	static const char *const options[] = { "defaults", "auto_unmount" };
	struct cli *cli = *state;

	for (size_t i = 0; i < 2; i++) {
		write_fstab(cli, cli->source, cli->source, options[i]);
		quietly(mount_all(cli));
		cli_assert_usable(cli->source);
		cli_quietly("unmount", cli->source, NULL);
		cli_wait_left(0);
		assert_int_equal(cli_mounts_at(cli->source), 0);
	}
}

/* Who is no root may mount what fstab says, with `user`; /etc/fstab alone counts then. */
static void a_user_mounts_and_unmounts_what_fstab_allows(void **state)
{
	struct cli *cli = *state;
	const char *const mount_it[] = { "mount", cli->mnt, NULL };
	const char *const umount_it[] = { "umount", cli->mnt, NULL };
	pid_t daemon;

	free(command_output(NULL, "chown", "-R", "65534:65534", cli->source, cli->mnt, NULL));
	write_fstab(cli, cli->source, cli->mnt, "user,noauto,exec");
	assert_int_equal(mount(fstab_path(cli), "/etc/fstab", NULL, MS_BIND, NULL), 0);
	struct command command = run(mount_it, PLAIN);
	int processes = cli_processes(&daemon);
	struct command again = run(umount_it, PLAIN);
	assert_int_equal(umount2("/etc/fstab", MNT_DETACH), 0);
	quietly(command);
	quietly(again);
	assert_int_equal(processes, 1);
	cli_assert_ended(daemon, cli->mnt);
}

static void what_cannot_be_mounted_is_told(void **state)
{
	struct cli *cli = *state;
	struct command command;

	write_fstab(cli, cli->missing, cli->mnt, "defaults");
	command = mount_all(cli);
	assert_int_not_equal(command.status, 0);
	cli_assert_complaint(command.err, cli->missing);
	command_free(&command);
	write_fstab(cli, cli->source, cli->mnt, "frobnicate");
	command = mount_one(cli, cli->mnt);
	assert_int_not_equal(command.status, 0);
	cli_assert_complaint(command.err, "frobnicate");
	command_free(&command);
}

/* mount.fuse3 mounts itself then and hands its descriptor on. */
static void a_mount_made_by_mount_fuse_is_refused(void **state)
{
	struct cli *cli = *state;
	struct command command;
	pid_t daemon;

	write_fstab(cli, cli->source, cli->mnt, "drop_privileges");
	command = mount_one(cli, cli->mnt);
	assert_int_not_equal(command.status, 0);
	cli_assert_complaint(command.err, "drop_privileges");
	command_free(&command);
	/* What that has left is dead, and cleared. */
	write_fstab(cli, cli->source, cli->mnt, "defaults");
	quietly(mount_one(cli, cli->mnt));
	cli_assert_usable(cli->mnt);
	assert_int_equal(cli_mounts_at(cli->mnt), 1);
	assert_int_equal(cli_processes(&daemon), 1);
	umount_ended(cli->mnt, daemon);
}

static bool are_here(void)
{
	return system("command -v mount umount mount.fuse3 >/dev/null") == 0;
}

static int set_up(void **state)
{
	char copy[64];

	(void)state;
	fixture_open_device();
	snprintf(copy, sizeof(copy), "%s/pycachefs", programs);
	if (mount("none", programs, "tmpfs", 0, "mode=755,size=64M"))
		return -errno;
	free(command_output(NULL, "cp", fixture_program(), copy, NULL));
	return chmod(copy, 0755);
}

static int tear_down(void **state)
{
	(void)state;
	umount2(programs, MNT_DETACH);
	fixture_restore_device();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CLI(an_entry_mounts_and_umount_ends_its_daemon),
		CLI(an_entry_may_name_its_paths_in_any_way),
		CLI(what_people_write_in_fstab_is_taken),
		CLI(mount_takes_the_type_without_fstab),
		CLI(noauto_waits_to_be_asked_for),
		CLI(a_dead_mount_is_replaced_by_mounting_it_again),
		CLI(with_auto_unmount_mount_all_replaces_what_died),
		CLI(our_unmount_ends_such_a_mount_too),
		CLI(a_user_mounts_and_unmounts_what_fstab_allows),
		CLI(what_cannot_be_mounted_is_told),
		CLI(a_mount_made_by_mount_fuse_is_refused),
	};
	int skip = cli_possible();

	if (skip)
		return skip;
	if (!are_here())
		return cannot_run("mount, umount or mount.fuse3 is missing");
	return cmocka_run_group_tests_name("fstab", tests, set_up, tear_down);
}
