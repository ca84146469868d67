/*
 * Marks of directories: an event leads to the inode that the directory has now, and a
 * directory that is known is marked, whatever was forgotten at the same time.
 */
#include "unit.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "marks.h"

enum { ROUNDS = 3000 };

struct marking {
	struct world *world;
	struct marks *marks;
	struct inode *known;	/* the directory "d", looked up once */
};

static void on_free(void *data, struct inode *inode, int fd)
{
	struct marking *marking = data;

	marks_remove(marking->marks, inode, fd);
}

static int set_up(void **state)
{
	struct marking *marking = calloc(1, sizeof(*marking));

	marking->world = world_create(&(struct world_options){ .without_store = true });
	assert_int_equal(mkdir(world_path(marking->world, "d"), 0755), 0);
	assert_int_equal(marks_create(&marking->marks, &marking->world->fs), 0);
	inode_table_on_free(marking->world->fs.inodes, on_free, marking);
	*state = marking;
	return 0;
}

static int tear_down(void **state)
{
	struct marking *marking = *state;

	inode_table_on_free(marking->world->fs.inodes, NULL, NULL);
	marks_destroy(marking->marks);
	world_destroy(marking->world);
	free(marking);
	return 0;
}

/* As the kernel's lookup of the directory does; gives its reference back. */
static struct inode *find_marked(struct marking *marking)
{
	struct world *world = marking->world;
	_cleanup_handle_ struct handle *handle = NULL;
	struct inode *inode = world_find(world, world->root, "d");

	assert_int_equal(inode_open(world->fs.inodes, inode, HANDLE_PATH, &handle), 0);
	if (!inode_is_watched(inode)) {
		assert_int_equal(marks_place(marking->marks, inode, handle_fd(handle)), 0);
		inode_set_watched(inode);
	}
	return inode;
}

/* Reads all events.  Returns how many were of the directory of this number. */
static int count_events(struct marking *marking, uint64_t number)
{
	union {
		struct fanotify_event_metadata event;
		char bytes[16384];
	} buffer;
	ssize_t length;
	int count = 0;

	while ((length = read(marks_fd(marking->marks), &buffer, sizeof(buffer))) > 0) {
		struct fanotify_event_metadata *event = &buffer.event;

		for (; FAN_EVENT_OK(event, length); event = FAN_EVENT_NEXT(event, length)) {
			struct inode *inode = marks_find(marking->marks,
							 (const void *)(event + 1));

			count += inode && inode_number(inode) == number;
			inode_put(marking->world->fs.inodes, inode);
		}
	}
	return count;
}

/* Whether a change in the directory is heard of, as the inode's. */
static bool is_heard(struct marking *marking, const struct inode *inode)
{
	const char *name = world_path(marking->world, "d/x");
	int fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	close(fd);
	unlink(name);
	return count_events(marking, inode_number(inode)) > 0;
}

static void a_marked_directory_is_heard_until_it_is_forgotten(void **state)
{
	struct marking *marking = *state;
	struct inode *inode = find_marked(marking);

	assert_true(is_heard(marking, inode));
	world_forget(marking->world, inode);
	tree_write(world_path(marking->world, "d/y"), "", -1);
	assert_int_equal(read(marks_fd(marking->marks), &(char[512]){ 0 }, 512), -1);
	assert_true(is_heard(marking, find_marked(marking)));
}

static void without_a_descriptor_the_mark_is_taken_away_too(void **state)
{
	struct marking *marking = *state;
	struct inode *inode = find_marked(marking);

	inode_close(marking->world->fs.inodes, inode);
	world_forget(marking->world, inode);
	tree_write(world_path(marking->world, "d/y"), "", -1);
	assert_int_equal(read(marks_fd(marking->marks), &(char[512]){ 0 }, 512), -1);
}

/* One forgets it, the other looks it up. */
static void forget_or_find(void *data, int index)
{
	struct marking *marking = data;

	if (index)
		inode_forget(marking->world->fs.inodes, inode_number(marking->known), 1);
	else
		find_marked(marking);
}

static void who_is_looked_up_while_being_forgotten_is_marked(void **state)
{
	struct marking *marking = *state;
	int unheard = 0;

	marking->known = find_marked(marking);
	for (int i = 0; i < ROUNDS; i++) {
		uint32_t at = 0;
		struct inode *inode;

		unit_threads(2, forget_or_find, marking);
		/* After the root it is the only one. */
		inode_put(marking->world->fs.inodes,
			  inode_next(marking->world->fs.inodes, &at));
		inode = inode_next(marking->world->fs.inodes, &at);
		assert_non_null(inode);
		unheard += !is_heard(marking, inode);
		inode_put(marking->world->fs.inodes, inode);
		marking->known = inode;
	}
	assert_int_equal(unheard, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(a_marked_directory_is_heard_until_it_is_forgotten),
		T(without_a_descriptor_the_mark_is_taken_away_too),
		T(who_is_looked_up_while_being_forgotten_is_marked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
