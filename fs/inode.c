/*
 * The inode table.  Its promises, references and locks are told in inode.h; the
 * descriptors are in handle.c's hands.
 */
#include "inode.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "cred.h"
#include "handle.h"
#include "inode_names.h"
#include "inode_private.h"
#include "inode_spoil.h"
#include "util.h"

static uint32_t slot_of(uint64_t number)
{
	return (uint32_t)number;
}

static struct inode *find_number_locked(struct inode_table *table, uint64_t number)
{
	uint32_t slot = slot_of(number);
	struct inode *inode = slot < table->slot_count
		? table->slots[slot].inode : NULL;

	return inode && inode->number == number ? inode : NULL;
}

/* A slot that was never used; 0 when memory is short. */
static uint32_t new_slot_locked(struct inode_table *table)
{
	if (table->slot_count == table->slot_room) {
		uint32_t room = table->slot_room ? table->slot_room * 2 : 1024;
		struct slot *slots = room > table->slot_room
			? realloc(table->slots, room * sizeof(*slots)) : NULL;

		if (!slots)
			return 0;
		table->slots = slots;
		table->slot_room = room;
		/* The first would make the number 0, which is none. */
		if (!table->slot_count)
			table->slots[table->slot_count++] = (struct slot){ 0 };
	}
	table->slots[table->slot_count] = (struct slot){ 0 };
	return table->slot_count++;
}

/* Gives @inode a slot and the number that comes with it. */
static bool take_slot_locked(struct inode_table *table, struct inode *inode)
{
	uint32_t slot = table->free_slot;

	if (slot)
		table->free_slot = table->slots[slot].next_free;
	else
		slot = new_slot_locked(table);
	if (!slot)
		return false;
	table->slots[slot].inode = inode;
	inode->number = (uint64_t)table->slots[slot].uses++ << 32 | slot;
	return true;
}

static void give_slot_locked(struct inode_table *table, const struct inode *inode)
{
	struct slot *slot = &table->slots[slot_of(inode->number)];

	slot->inode = NULL;
	/* After four billion uses it stays empty: its numbers have run out. */
	if (slot->uses == UINT32_MAX)
		return;
	slot->next_free = table->free_slot;
	table->free_slot = slot_of(inode->number);
}

/* Adds @inode to both indexes, or to none: false when memory is short. */
static bool add_locked(struct inode_table *table, struct inode *inode)
{
	if (!take_slot_locked(table, inode))
		return false;
	HASH_ADD(by_key, table->by_key, key, sizeof(inode->key), inode);
	if (inode->out_of_memory) {
		give_slot_locked(table, inode);
		return false;
	}
	inode->in_keys = true;
	table->known++;
	return true;
}

static void retire_locked(struct inode_table *table, struct inode *inode)
{
	if (inode->in_keys)
		HASH_DELETE(by_key, table->by_key, inode);
	inode->in_keys = false;
}

/* The kind lies in the lower half of its field, the user in the upper one. */
static struct inode_key make_key(enum inode_kind kind, uid_t user,
				 const struct file_id *id)
{
	return (struct inode_key){
		.kind = (uint64_t)user << 32 | (uint32_t)kind, .id = *id,
	};
}

static struct inode *find_key_locked(struct inode_table *table,
				     const struct inode_key *key)
{
	struct inode *inode;

	HASH_FIND(by_key, table->by_key, key, sizeof(*key), inode);
	return inode;
}

static void inode_free(struct inode_table *table, struct inode *inode)
{
	struct handle *handle = handles_take(table->handles, inode);

	if (table->on_free && atomic_load(&inode->watched))
		table->on_free(table->on_free_data, inode,
			       handle ? handle_fd(handle) : -1);
	handle_put(handle);
	free(inode);
}

int inode_table_create(struct inode_table **ret, int root_fd, unsigned limit,
		       struct devices *devices, inode_opener *opener, void *data)
{
	struct inode_table *table = calloc(1, sizeof(*table));
	struct inode *root;
	struct file_id id;
	struct stat st;
	int err, fd;

	if (!table)
		return -ENOMEM;
	pthread_rwlock_init(&table->lock, NULL);
	err = handles_create(&table->handles, table, limit, devices, opener, data);
	if (!err)
		err = identify(devices, root_fd, "", &st, &id);
	fd = err ? -1 : fcntl(root_fd, F_DUPFD_CLOEXEC, 3);
	if (!err && fd < 0)
		err = -errno;
	if (!err)
		/* The reference stays: the root is never freed. */
		err = inode_lookup(table, &(struct sighting){
			.id = id, .mode = st.st_mode, .fd = fd }, &root);
	if (err) {
		inode_table_destroy(table);
		return err;
	}
	*ret = table;
	return 0;
}

void inode_table_destroy(struct inode_table *table)
{
	if (!table)
		return;
	for (uint32_t slot = 0; slot < table->slot_count; slot++) {
		struct inode *inode = table->slots[slot].inode;

		if (!inode)
			continue;
		retire_locked(table, inode);
		for (struct inode_name *name = inode->names, *next; name; name = next) {
			next = name->next;
			free(name);
		}
		inode_free(table, inode);
	}
	free(table->slots);
	handles_destroy(table->handles);
	pthread_rwlock_destroy(&table->lock);
	free(table);
}

void inode_table_figures(struct inode_table *table, struct inode_figures *ret)
{
	*ret = (struct inode_figures){ 0 };
	pthread_rwlock_rdlock(&table->lock);
	ret->known = table->known;
	pthread_rwlock_unlock(&table->lock);
	handles_figures(table->handles, &ret->descriptors, &ret->limit);
}

struct inode *inode_ref(struct inode *inode)
{
	atomic_fetch_add(&inode->refs, 1);
	return inode;
}

struct inode *inode_get(struct inode_table *table, uint64_t number)
{
	struct inode *inode;

	pthread_rwlock_rdlock(&table->lock);
	inode = find_number_locked(table, number);
	if (inode)
		inode_ref(inode);
	pthread_rwlock_unlock(&table->lock);
	return inode;
}

static struct inode *find_key(struct inode_table *table, const struct inode_key *key)
{
	struct inode *inode;

	pthread_rwlock_rdlock(&table->lock);
	inode = find_key_locked(table, key);
	if (inode)
		inode_ref(inode);
	pthread_rwlock_unlock(&table->lock);
	return inode;
}

struct inode *inode_find(struct inode_table *table, enum inode_kind kind,
			 const struct file_id *id)
{
	struct inode_key key = make_key(kind, 0, id);

	return find_key(table, &key);
}

struct inode *inode_find_shadow(struct inode_table *table,
				const struct file_id *directory, uid_t user)
{
	struct inode_key key = make_key(INODE_SHADOW, user, directory);

	return find_key(table, &key);
}

/* Gives a reference back unless it is the last, which needs the lock. */
static bool put_unless_last(struct inode *inode)
{
	unsigned refs = atomic_load(&inode->refs);

	while (refs > 1)
		if (atomic_compare_exchange_weak(&inode->refs, &refs, refs - 1))
			return true;
	return false;
}

/* Gives a reference back.  Returns whether it was the last, with which the inode
 * has left the table. */
static bool put(struct inode_table *table, struct inode *inode)
{
	bool last;

	if (put_unless_last(inode))
		return false;
	pthread_rwlock_wrlock(&table->lock);
	last = atomic_fetch_sub(&inode->refs, 1) == 1;
	if (last) {
		give_slot_locked(table, inode);
		retire_locked(table, inode);
		table->known--;
	}
	pthread_rwlock_unlock(&table->lock);
	return last;
}

void inode_put(struct inode_table *table, struct inode *inode)
{
	/* The last reference gives one of each parent back.  Directories have one
	 * name, so however deep they are, no call nests in more than one other. */
	while (inode && put(table, inode)) {
		struct inode_name *place = inode->names;
		struct inode *parent = NULL;

		inode_free(table, inode);
		if (place) {
			parent = place->parent;
			inode_names_free(table, place->next);
			free(place);
		}
		inode = parent;
	}
}

uint64_t inode_events(struct inode_table *table)
{
	return atomic_load(&table->events);
}

/* Without a name: that is added by inode_seen_locked(). */
static struct inode *create_locked(struct inode_table *table,
				   const struct sighting *seen)
{
	struct inode *inode = calloc(1, sizeof(*inode));

	if (!inode)
		return NULL;
	inode->key = make_key(seen->kind, seen->user, &seen->id);
	inode->type = seen->mode & S_IFMT;
	if (!add_locked(table, inode)) {
		free(inode);
		return NULL;
	}
	return inode;
}

/*
 * The inode of what was seen, at the place where it was seen unless one of its names
 * has gone since then.  Returns NULL when memory is short: nothing has changed.
 */
static struct inode *find_or_add_locked(struct inode_table *table,
					const struct sighting *seen,
					struct inode_name **gone)
{
	struct inode_key key = make_key(seen->kind, seen->user, &seen->id);
	struct inode *inode = find_key_locked(table, &key), *new = NULL;

	if (inode && inode->type != (seen->mode & S_IFMT)) {
		/* A filesystem without births has reused the number. */
		retire_locked(table, inode);
		inode = NULL;
	}
	if (!inode)
		inode = new = create_locked(table, seen);
	if (!inode)
		return NULL;
	if (!seen->parent) {
		handles_set_pinned(table->handles, inode, true);
		return inode;
	}
	/* The root may be met again below, by a bind mount; it has no place. */
	if (inode->number == INODE_ROOT || seen->since < inode->stamp ||
	    inode_seen_locked(table, inode, seen->parent, seen->name, seen->links,
			      gone) == 0)
		return inode;
	if (new) {
		give_slot_locked(table, new);
		retire_locked(table, new);
		table->known--;
		free(new);
	}
	return NULL;
}

/* Whether the daemon, a plain user's, could not open the file for writing again. */
static bool is_last_writer(const struct sighting *seen)
{
	return seen->open_for == HANDLE_WRITE && !(seen->mode & S_IWUSR) &&
		!cred_can_switch();
}

/* The lookup of what has no name comes to nothing without its descriptor. */
static int offer(struct inode_table *table, const struct sighting *seen,
		 struct inode *inode)
{
	int err = handles_offer(table->handles, inode, seen->fd, seen->open_for,
				is_last_writer(seen));

	if (!err || seen->parent)
		return 0;
	inode_forget(table, inode->number, 1);
	inode_put(table, inode);
	return err;
}

int inode_lookup(struct inode_table *table, const struct sighting *seen,
		 struct inode **ret)
{
	struct inode_name *gone = NULL;
	struct inode *inode = NULL;
	int err = seen->parent ? 0 : handles_may_pin(table->handles, true);

	if (!err) {
		pthread_rwlock_wrlock(&table->lock);
		inode = find_or_add_locked(table, seen, &gone);
		if (inode) {
			if (inode->lookups++ == 0)
				inode_ref(inode);
			inode_note_told(inode);
			inode_ref(inode);
		}
		pthread_rwlock_unlock(&table->lock);
		inode_names_free(table, gone);
		err = inode ? 0 : -ENOMEM;
	}
	if (err) {
		if (seen->fd >= 0)
			close(seen->fd);
		return err;
	}
	err = seen->fd >= 0 ? offer(table, seen, inode) : 0;
	if (!err)
		*ret = inode;
	return err;
}

void inode_forget(struct inode_table *table, uint64_t number, uint64_t count)
{
	struct inode *inode = NULL;
	bool forgotten = false;

	pthread_rwlock_wrlock(&table->lock);
	if (number != INODE_ROOT)
		inode = find_number_locked(table, number);
	if (inode && inode->lookups > 0) {
		inode->lookups -= count < inode->lookups ? count : inode->lookups;
		forgotten = inode->lookups == 0;
	}
	pthread_rwlock_unlock(&table->lock);
	if (!forgotten)
		return;
	/* Without a name nothing will ever make it sound. */
	inode_release_spoiled(table, inode);
	inode_put(table, inode);
}

void inode_retire(struct inode_table *table, struct inode *inode)
{
	pthread_rwlock_wrlock(&table->lock);
	retire_locked(table, inode);
	pthread_rwlock_unlock(&table->lock);
}

static struct inode *parent_locked(const struct inode *inode)
{
	return inode->names ? inode_ref(inode->names->parent) : NULL;
}

struct inode *inode_parent(struct inode_table *table, struct inode *inode)
{
	struct inode *parent;

	pthread_rwlock_rdlock(&table->lock);
	parent = parent_locked(inode);
	pthread_rwlock_unlock(&table->lock);
	return parent;
}

struct inode *inode_place(struct inode_table *table, struct inode *inode,
			  char ret_name[NAME_SIZE])
{
	struct inode *parent;

	pthread_rwlock_rdlock(&table->lock);
	parent = parent_locked(inode);
	strncpy(ret_name, parent ? inode->names->text : "", NAME_SIZE - 1);
	ret_name[NAME_SIZE - 1] = '\0';
	pthread_rwlock_unlock(&table->lock);
	return parent;
}

int inode_open(struct inode_table *table, struct inode *inode,
	       enum handle_use use, struct handle **ret)
{
	return handles_open(table->handles, inode, use, ret);
}

void inode_close(struct inode_table *table, struct inode *inode)
{
	handle_put(handles_take_unpinned(table->handles, inode));
}

int inode_keep_writer(struct inode_table *table, struct inode *inode)
{
	return handles_keep_writer(table->handles, inode);
}

void inode_unkeep_writer(struct inode_table *table, struct inode *inode)
{
	handles_unkeep_writer(table->handles, inode);
}

struct handle *inode_peek(struct inode_table *table, struct inode *inode)
{
	return handles_peek(table->handles, inode);
}

void inode_drop_reader(struct inode_table *table, struct inode *inode)
{
	handles_drop_reader(table->handles, inode);
}

void inode_drop_directories(struct inode_table *table)
{
	handles_drop_directories(table->handles);
}

uint64_t inode_number(const struct inode *inode)
{
	return inode->number;
}

enum inode_kind inode_kind(const struct inode *inode)
{
	return (enum inode_kind)(uint32_t)inode->key.kind;
}

uid_t inode_user(const struct inode *inode)
{
	return (uid_t)(inode->key.kind >> 32);
}

mode_t inode_type(const struct inode *inode)
{
	return inode->type;
}

const struct file_id *inode_id(const struct inode *inode)
{
	return &inode->key.id;
}

struct handles *inode_handles(struct inode_table *table)
{
	return table->handles;
}

bool inode_parent_watched(struct inode_table *table, const struct inode *inode)
{
	bool watched;

	pthread_rwlock_rdlock(&table->lock);
	watched = inode->names && atomic_load(&inode->names->parent->watched);
	pthread_rwlock_unlock(&table->lock);
	return watched;
}

void inode_table_on_free(struct inode_table *table,
			 void (*on_free)(void *data, struct inode *inode, int fd),
			 void *data)
{
	table->on_free = on_free;
	table->on_free_data = data;
}

struct inode *inode_next(struct inode_table *table, uint32_t *cursor)
{
	struct inode *inode = NULL;

	pthread_rwlock_rdlock(&table->lock);
	while (!inode && *cursor < table->slot_count)
		inode = table->slots[(*cursor)++].inode;
	if (inode)
		inode_ref(inode);
	pthread_rwlock_unlock(&table->lock);
	return inode;
}
