/*
 * Echoes of what was said to the kernel.
 *
 * Each name is in one of two queues, whose members are due in the order in which they
 * came.  What happens to the name meanwhile begins its echoes anew.
 */
#include "echo.h"

#include <stdlib.h>
#include <string.h>

#include "util.h"

/* Short of memory, adding fails instead of ending the process. */
#define HASH_NONFATAL_OOM 1
#define uthash_nonfatal_oom(word) ((word)->out_of_memory = true)
#include <uthash.h>
#include <utlist.h>

enum { MAX_WORDS = 4096 };

struct word {
	uint64_t due;
	struct word *prev, *next;	/* in its queue */
	UT_hash_handle hh;
	bool second;		/* which queue */
	bool again;		/* the name has changed again */
	bool out_of_memory;	/* while adding */
	size_t key_size;
	/* The key: compared and hashed as bytes, without padding. */
	uint64_t parent;
	char name[NAME_SIZE];
};

struct echo {
	struct notifier *notifier;	/* borrowed */
	struct word *words;		/* owned: by key */
	struct word *queues[2];
	unsigned count;
};

struct echo *echo_create(struct notifier *notifier)
{
	struct echo *echo = calloc(1, sizeof(*echo));

	if (echo)
		echo->notifier = notifier;
	return echo;
}

static void enqueue(struct echo *echo, struct word *word, bool second)
{
	word->second = second;
	word->again = false;
	word->due = milliseconds() + (second ? ECHO_SECOND : ECHO_FIRST);
	DL_APPEND(echo->queues[second], word);
}

static void drop(struct echo *echo, struct word *word)
{
	HASH_DEL(echo->words, word);
	echo->count--;
	free(word);
}

void echo_destroy(struct echo *echo)
{
	struct word *word, *next;

	if (!echo)
		return;
	HASH_ITER(hh, echo->words, word, next)
		drop(echo, word);
	free(echo);
}

bool echo_is_needed(const struct inode *directory)
{
	uint64_t asked = inode_asked(directory);

	return asked && asked + ECHO_REST > milliseconds();
}

static size_t key_size(const char *name)
{
	return sizeof(uint64_t) + strlen(name);
}

/* Adds a word in no queue; NULL when there is no room. */
static struct word *add(struct echo *echo, uint64_t parent, const char *name)
{
	struct word *word = echo->count < MAX_WORDS ? calloc(1, sizeof(*word)) : NULL;

	if (!word)
		return NULL;
	word->parent = parent;
	memcpy(word->name, name, strlen(name) + 1);
	HASH_ADD_KEYPTR(hh, echo->words, &word->parent, key_size(name), word);
	if (word->out_of_memory) {
		free(word);
		return NULL;
	}
	echo->count++;
	return word;
}

bool echo_add(struct echo *echo, const struct inode *directory, const char *name)
{
	struct word key = { .parent = inode_number(directory) }, *word;

	if (!echo_is_needed(directory) || strlen(name) >= NAME_SIZE)
		return true;
	memcpy(key.name, name, strlen(name) + 1);
	HASH_FIND(hh, echo->words, &key.parent, key_size(name), word);
	if (word && !word->second) {
		word->again = true;
		return true;
	}
	if (word)
		DL_DELETE(echo->queues[true], word);
	else
		word = add(echo, key.parent, name);
	if (word)
		enqueue(echo, word, false);
	return word != NULL;
}

int echo_send(struct echo *echo)
{
	uint64_t now = milliseconds(), soonest = UINT64_MAX;

	for (int second = 0; second < 2; second++) {
		struct word *word;

		while ((word = echo->queues[second]) && word->due <= now) {
			DL_DELETE(echo->queues[second], word);
			notify_expire(echo->notifier, word->parent, word->name);
			if (second)
				drop(echo, word);
			else
				enqueue(echo, word, !word->again);
		}
		if (word && word->due < soonest)
			soonest = word->due;
	}
	return soonest == UINT64_MAX ? -1 : (int)(soonest - now);
}
