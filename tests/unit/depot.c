/*
 * Depots: what several daemons that open one at a time have in common, and what each
 * of them leaves to the others.
 */
#include "unit.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "depot.h"
#include "ledger.h"
#include "shadow.h"

enum { SIZE = 1 << 20, INODES = 500, DAEMONS = 4, ROUNDS = 200 };

/* A tmpfs with the directory `depot` in it, as root or not. */
struct fixed {
	struct store tmpfs;
	char path[64];
	int before;
};

static int set_up(void **state)
{
	static struct fixed fixed;

	fixed.before = unit_descriptors();
	*state = &fixed;
	if (store_create(&fixed.tmpfs, SIZE, INODES) ||
	    mkdirat(fixed.tmpfs.root, "depot", 0700) < 0)
		return -1;
	snprintf(fixed.path, sizeof(fixed.path), "/proc/self/fd/%d/depot",
		 fixed.tmpfs.root);
	return 0;
}

static int tear_down(void **state)
{
	struct fixed *fixed = *state;

	store_destroy(&fixed->tmpfs);
	return unit_descriptors() == fixed->before ? 0 : -1;
}

static int open_one(const char *path, struct store *ret)
{
	const char *why = "";
	int err = depot_open(ret, path, SIZE, INODES, NULL, 0, &why);

	if (err)
		print_error("%s: %s\n", path, why);
	return err;
}

/* A daemon's part in a round; flock(2) takes them for processes of their own. */
struct daemon {
	const char *path;
	pthread_barrier_t *barrier;
	pthread_t thread;
	bool good;
};

static bool can_be_listed(const struct store *store)
{
	DIR *dir = fdopendir(openat(store->empty, ".", O_RDONLY | O_DIRECTORY));
	int names = 0;

	if (!dir)
		return false;
	while (readdir(dir))
		names++;
	closedir(dir);
	return names == 2;
}

static void *come_and_go(void *data)
{
	struct daemon *daemon = data;
	struct store store;

	for (int round = 0; round < ROUNDS; round++) {
		bool opened;

		pthread_barrier_wait(daemon->barrier);
		opened = open_one(daemon->path, &store) == 0;
		if (opened && store_claim(&store, 0, 1) < 0)
			daemon->good = false;
		pthread_barrier_wait(daemon->barrier);
		if (!opened || ledger_read(store.ledger).inodes != DAEMONS ||
		    !can_be_listed(&store))
			daemon->good = false;
		pthread_barrier_wait(daemon->barrier);
		if (opened)
			store_destroy(&store);
	}
	return NULL;
}

static void all_who_come_at_once_keep_one_ledger(void **state)
{
	struct fixed *fixed = *state;
	struct daemon daemons[DAEMONS];
	pthread_barrier_t barrier;

	pthread_barrier_init(&barrier, NULL, DAEMONS);
	for (int i = 0; i < DAEMONS; i++) {
		daemons[i] = (struct daemon){ fixed->path, &barrier, 0, true };
		assert_int_equal(pthread_create(&daemons[i].thread, NULL, come_and_go,
						&daemons[i]), 0);
	}
	for (int i = 0; i < DAEMONS; i++)
		pthread_join(daemons[i].thread, NULL);
	pthread_barrier_destroy(&barrier);
	for (int i = 0; i < DAEMONS; i++)
		assert_true(daemons[i].good);
}

static bool exists(const struct store *store, const char *name)
{
	return faccessat(store->root, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* As a daemon does that is about to remove a shadow. */
static void move_aside(struct store *store, char ret[TREES_NAME_SIZE])
{
	assert_int_equal(mkdirat(store->root, "s-1.2.3", 0700), 0);
	assert_int_equal(mkdirat(store->root, "s-1.2.3/cache", 0700), 0);
	assert_int_equal(trees_move_aside(&store->serial, store->root, "s-1.2.3",
					  store->root, ret), 0);
}

static void what_is_on_its_way_out_is_left_to_its_daemon(void **state)
{
	struct fixed *fixed = *state;
	const struct file_id none = { 9, 9, 9 };
	char own[TREES_NAME_SIZE], others[TREES_NAME_SIZE];
	struct store one, other;

	assert_int_equal(open_one(fixed->path, &one), 0);
	assert_int_equal(open_one(fixed->path, &other), 0);
	move_aside(&one, own);
	move_aside(&other, others);
	assert_string_not_equal(own, others);
	one.left_behind = true;
	shadow_drop(&one, &none);
	assert_false(exists(&one, own));
	assert_true(exists(&one, others));
	/* Who is alone removes it: nobody else is left to do so. */
	store_destroy(&other);
	assert_true(exists(&one, others));
	int root = dup(one.root);
	store_destroy(&one);
	assert_int_equal(faccessat(root, others, F_OK, 0), -1);
	close(root);
}

static void the_umask_closes_nothing_to_the_next(void **state)
{
	struct fixed *fixed = *state;
	mode_t before = umask(0777);
	struct store store;
	struct stat st;
	int err = open_one(fixed->path, &store);

	umask(before);
	assert_int_equal(err, 0);
	assert_int_equal(fstatat(store.root, "ledger", &st, 0), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(fstatat(store.root, "empty", &st, 0), 0);
	assert_int_equal(st.st_mode & 0777, 0500);
	store_destroy(&store);
}

#define DEPOT(test) { #test, test, set_up, tear_down, NULL }

int main(void)
{
	const struct CMUnitTest tests[] = {
		DEPOT(all_who_come_at_once_keep_one_ledger),
		DEPOT(what_is_on_its_way_out_is_left_to_its_daemon),
		DEPOT(the_umask_closes_nothing_to_the_next),
	};
	int status = unit_needs_store();

	return status ? status : cmocka_run_group_tests(tests, NULL, NULL);
}
