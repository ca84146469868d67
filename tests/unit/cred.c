/*
 * Acting as the caller: whose files are made, what may be done, and that nothing
 * of it outlasts the request or reaches another thread.
 */
#include "unit.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cred.h"

/* What a thread is and may do. */
struct self {
	int uid, gid;		/* for files */
	mode_t umask;
	int group_count;
	uint64_t effective, permitted;
	gid_t groups[32];	/* compared as bytes: no padding */
};

static struct self self(void)
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct caps[2];
	struct self self = { 0 };

	/* Both return what was there; an impossible id changes nothing. */
	self.uid = setfsuid((uid_t)-1);
	self.gid = setfsgid((gid_t)-1);
	self.umask = umask(0);
	umask(self.umask);
	if (syscall(SYS_capget, &header, caps) < 0)
		abort();
	self.effective = caps[0].effective | (uint64_t)caps[1].effective << 32;
	self.permitted = caps[0].permitted | (uint64_t)caps[1].permitted << 32;
	self.group_count = getgroups(32, self.groups);
	return self;
}

static bool has(const struct self *self, int capability)
{
	return self->effective >> capability & 1;
}

/* A test's scratch directory, and what its thread found. */
struct scene {
	char *top;
	int fd;
	void (*run)(struct scene *scene);
};

static void *serve(void *data)
{
	struct scene *scene = data;

	cred_thread_init();
	scene->run(scene);
	return NULL;
}

/*
 * Runs a test in a thread that serves.  It must not assert: what it found is
 * compared by its caller.
 */
static void in_thread(struct scene *scene, void (*run)(struct scene *scene))
{
	pthread_t thread;

	scene->run = run;
	assert_int_equal(pthread_create(&thread, NULL, serve, scene), 0);
	pthread_join(thread, NULL);
}

static int set_up(void **state)
{
	static struct scene scene;

	scene.top = unit_scratch();
	scene.fd = open(scene.top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = &scene;
	return scene.fd < 0;
}

static int tear_down(void **state)
{
	struct scene *scene = *state;

	close(scene->fd);
	unit_remove(scene->top);
	return 0;
}

static int make(int at, const char *name, mode_t mode)
{
	int fd = openat(at, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);

	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

/* Identities that callers have, from all to nothing in common with root. */
static const struct caller callers[] = {
	{ .uid = 0, .gid = 0, .umask = 022 },
	{ .uid = 0, .gid = SOME_GROUP, .umask = 0 },
	{ .uid = SOMEBODY, .gid = 0, .umask = 077 },
	{ .uid = SOMEBODY, .gid = SOME_GROUP, .umask = 027 },
	{ .uid = NOBODY, .gid = NOBODY, .umask = 0777 },
};

enum { CALLERS = ARRAY_SIZE(callers) };

static struct self before, during[CALLERS], after[CALLERS];
static int results[CALLERS][2];

static void make_files(struct scene *scene, enum cred_power power)
{
	char name[16];

	before = self();
	for (int i = 0; i < CALLERS; i++) {
		results[i][0] = cred_become(&callers[i], power);
		during[i] = self();
		snprintf(name, sizeof(name), "%d", i);
		results[i][1] = make(scene->fd, name, 0666);
		cred_restore();
		after[i] = self();
	}
}

static void make_allowed(struct scene *scene)
{
	make_files(scene, CRED_ALLOWED);
}

static void make_strict(struct scene *scene)
{
	make_files(scene, CRED_STRICT);
}

static void assert_restored(void)
{
	assert_int_equal(before.uid, 0);
	assert_int_equal(before.gid, 0);
	assert_int_equal(before.umask, 0);
	for (int i = 0; i < CALLERS; i++)
		assert_memory_equal(&after[i], &before, sizeof(before));
}

static void assert_owner(struct scene *scene, const char *name, uid_t uid,
			 gid_t gid, mode_t mode)
{
	struct stat st;

	assert_int_equal(fstatat(scene->fd, name, &st, 0), 0);
	assert_int_equal(st.st_uid, uid);
	assert_int_equal(st.st_gid, gid);
	assert_int_equal(st.st_mode & 07777, mode);
}

/* The kernel has let the caller in: the directory is root's alone. */
static void a_file_belongs_to_its_maker(void **state)
{
	struct scene *scene = *state;
	char name[16];

	assert_int_equal(fchmod(scene->fd, 0700), 0);
	in_thread(scene, make_allowed);
	for (int i = 0; i < CALLERS; i++) {
		assert_int_equal(results[i][0], 0);
		assert_int_equal(results[i][1], 0);
		snprintf(name, sizeof(name), "%d", i);
		assert_owner(scene, name, callers[i].uid, callers[i].gid,
			     0666 & ~callers[i].umask);
		assert_int_equal(during[i].uid, callers[i].uid);
		assert_int_equal(during[i].gid, callers[i].gid);
		assert_int_equal(during[i].umask, callers[i].umask);
	}
	assert_restored();
}

static void strict_is_what_the_caller_may_do(void **state)
{
	struct scene *scene = *state;

	assert_int_equal(fchmod(scene->fd, 0755), 0);
	in_thread(scene, make_strict);
	for (int i = 0; i < CALLERS; i++) {
		assert_int_equal(results[i][0], 0);
		assert_int_equal(results[i][1], callers[i].uid ? -EACCES : 0);
	}
	assert_restored();
	/* In a directory of theirs they can. */
	tree_remove(in(scene->top, "0"));
	tree_remove(in(scene->top, "1"));
	assert_int_equal(fchmod(scene->fd, 0777), 0);
	in_thread(scene, make_strict);
	for (int i = 0; i < CALLERS; i++)
		assert_int_equal(results[i][1], 0);
	assert_owner(scene, "3", SOMEBODY, SOME_GROUP, 0640);
}

/* Stand for checks that the kernel made; the others would give away more. */
static const int checked[] = { CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_MKNOD };
static const int never[] = { CAP_CHOWN, CAP_FOWNER, CAP_FSETID };

static void capabilities_go_as_far_as_the_power(void **state)
{
	struct scene *scene = *state;

	in_thread(scene, make_allowed);
	for (size_t i = 0; i < ARRAY_SIZE(checked); i++)
		assert_true(has(&before, checked[i]));
	for (int i = 0; i < CALLERS; i++) {
		bool is_root = callers[i].uid == 0;

		for (size_t j = 0; j < ARRAY_SIZE(checked); j++)
			assert_true(has(&during[i], checked[j]));
		for (size_t j = 0; j < ARRAY_SIZE(never); j++)
			assert_int_equal(has(&during[i], never[j]), is_root);
		assert_true(during[i].permitted == before.permitted);
	}
	for (int i = 0; i < CALLERS; i++) {
		char name[16];

		snprintf(name, sizeof(name), "%d", i);
		assert_int_equal(unlinkat(scene->fd, name, 0), 0);
	}
	in_thread(scene, make_strict);
	for (int i = 0; i < CALLERS; i++) {
		bool is_root = callers[i].uid == 0;

		for (size_t j = 0; j < ARRAY_SIZE(checked); j++)
			assert_int_equal(has(&during[i], checked[j]), is_root);
		for (size_t j = 0; j < ARRAY_SIZE(never); j++)
			assert_int_equal(has(&during[i], never[j]), is_root);
	}
	assert_restored();
}

/* Writes the maps of the process that has unshared its user namespace: there all
 * ids are what they are here. */
static int map_ids(pid_t of)
{
	static const char *const files[] = { "uid_map", "gid_map" };
	static const char map[] = "0 0 65536\n";
	char path[64];

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		snprintf(path, sizeof(path), "/proc/%d/%s", of, files[i]);
		int fd = open(path, O_WRONLY | O_CLOEXEC);

		if (fd < 0 || write(fd, map, strlen(map)) < 0)
			return 1;
		close(fd);
	}
	return 0;
}

/* Has all capabilities from here on, in a user namespace of its own; what runs the
 * tests may lack some. */
static bool have_all_capabilities(void)
{
	int ends[2], status;
	pid_t self_pid = getpid(), helper;
	char go = 1;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return false;
	helper = fork();
	if (helper == 0)
		_exit(read(ends[0], &go, 1) == 1 ? map_ids(self_pid) : 1);
	if (helper < 0 || unshare(CLONE_NEWUSER) < 0 || write(ends[1], &go, 1) != 1 ||
	    waitpid(helper, &status, 0) < 0)
		return false;
	return status == 0;
}

/* The number of the step that failed. */
static int use_room(void *data)
{
	static const enum cred_power powers[] = { CRED_ALLOWED, CRED_STRICT };

	(void)data;
	if (!have_all_capabilities() || cred_init() || !cred_can_switch() ||
	    cred_thread_init())
		return 1;
	before = self();
	if (!has(&before, CAP_SYS_RESOURCE))
		return 2;
	for (int i = 0; i < 2 * CALLERS; i++) {
		const struct caller *caller = &callers[i / 2];

		if (cred_become(caller, powers[i % 2]))
			return 3;
		during[0] = self();
		cred_restore();
		after[0] = self();
		if (has(&during[0], CAP_SYS_RESOURCE) != (caller->uid == 0))
			return 4;
		if (memcmp(&after[0], &before, sizeof(before)) != 0)
			return 5;
	}
	return 0;
}

/* Blocks that are reserved for root, and room beyond quotas. */
static void room_that_is_roots_stays_roots(void **state)
{
	(void)state;
	assert_int_equal(as_user(0, 0, NULL, 0, use_room, NULL), 0);
}

static int group_results[4];

static void use_groups(struct scene *scene)
{
	static const gid_t groups[] = { 7, SOME_GROUP };
	struct caller with = {
		.uid = SOMEBODY, .gid = SOMEBODY, .groups = groups,
		.group_count = ARRAY_SIZE(groups),
	};
	struct caller without = { .uid = SOMEBODY, .gid = SOMEBODY,
		.groups = groups, .group_count = 0 };

	before = self();
	group_results[0] = cred_become(&with, CRED_STRICT);
	during[0] = self();
	group_results[1] = make(scene->fd, "with", 0600);
	cred_restore();
	after[0] = self();
	group_results[2] = cred_become(&without, CRED_STRICT);
	group_results[3] = make(scene->fd, "without", 0600);
	cred_restore();
	after[1] = self();
}

static void supplementary_groups_count_when_given(void **state)
{
	struct scene *scene = *state;

	assert_int_equal(fchown(scene->fd, 0, SOME_GROUP), 0);
	assert_int_equal(fchmod(scene->fd, 0770), 0);
	in_thread(scene, use_groups);
	assert_int_equal(group_results[0], 0);
	assert_int_equal(group_results[1], 0);
	assert_int_equal(during[0].group_count, 2);
	assert_int_equal(during[0].groups[1], SOME_GROUP);
	assert_int_equal(group_results[2], 0);
	assert_int_equal(group_results[3], -EACCES);
	assert_memory_equal(&after[0], &before, sizeof(before));
	assert_memory_equal(&after[1], &before, sizeof(before));
	/* Raw calls: other threads keep theirs. */
	struct self main_thread = self();
	assert_int_equal(main_thread.group_count, before.group_count);
}

static int removals[2][2];

static void remove_others_files(struct scene *scene)
{
	static const struct caller caller = { .uid = SOMEBODY, .gid = SOMEBODY };

	for (int i = 0; i < 2; i++) {
		removals[i][0] = cred_become(&caller, i ? CRED_STRICT
							: CRED_ALLOWED);
		removals[i][1] = unlinkat(scene->fd, "another's", 0) ? -errno : 0;
		cred_restore();
	}
}

static void what_others_own_in_a_sticky_directory_stays(void **state)
{
	struct scene *scene = *state;

	assert_int_equal(make(scene->fd, "another's", 0666), 0);
	assert_int_equal(fchmod(scene->fd, 01777), 0);
	in_thread(scene, remove_others_files);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(removals[i][0], 0);
		assert_int_equal(removals[i][1], -EPERM);
	}
	assert_int_equal(fchmod(scene->fd, 0755), 0);
	in_thread(scene, remove_others_files);
	/* The kernel has let them: no check but that one is theirs. */
	assert_int_equal(removals[0][1], 0);
}

static int refusals[3];

static void become_nobody_known(struct scene *scene)
{
	static const struct caller bad[] = {
		{ .uid = (uid_t)-1, .gid = 5, .umask = 077 },
		{ .uid = 5, .gid = (gid_t)-1, .umask = 077 },
		{ .uid = (uid_t)-1, .gid = (gid_t)-1, .umask = 077 },
	};

	(void)scene;
	before = self();
	for (int i = 0; i < 3; i++) {
		refusals[i] = cred_become(&bad[i], CRED_ALLOWED);
		after[i] = self();
	}
}

static void who_is_not_known_is_refused_and_nothing_changes(void **state)
{
	in_thread(*state, become_nobody_known);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(refusals[i], -EPERM);
		assert_memory_equal(&after[i], &before, sizeof(before));
	}
}

static ssize_t written;

static void write_as_somebody(struct scene *scene)
{
	struct caller caller = { .uid = SOMEBODY, .gid = SOME_GROUP };
	int fd = openat(scene->fd, "setuid", O_WRONLY | O_CLOEXEC);

	if (cred_become(&caller, CRED_ALLOWED) == 0) {
		written = write(fd, "x", 1);
		cred_restore();
	}
	close(fd);
}

static void a_write_strips_setuid_as_the_callers_own_would(void **state)
{
	struct scene *scene = *state;

	assert_int_equal(make(scene->fd, "setuid", 0600), 0);
	assert_int_equal(fchmodat(scene->fd, "setuid", 06777, 0), 0);
	in_thread(scene, write_as_somebody);
	assert_int_equal(written, 1);
	assert_owner(scene, "setuid", 0, 0, 0777);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(a_file_belongs_to_its_maker),
		T(strict_is_what_the_caller_may_do),
		T(capabilities_go_as_far_as_the_power),
		cmocka_unit_test(room_that_is_roots_stays_roots),
		T(supplementary_groups_count_when_given),
		T(what_others_own_in_a_sticky_directory_stays),
		T(who_is_not_known_is_refused_and_nothing_changes),
		T(a_write_strips_setuid_as_the_callers_own_would),
	};
	int status = unit_needs_root();

	if (!status && cred_init() < 0)
		status = 1;
	return status ? status : cmocka_run_group_tests(tests, NULL, NULL);
}
