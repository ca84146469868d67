/*
 * Surveys of the store: what may go from it to make room, and how it goes.
 *
 * For one thread at a time, which holds no lock but the one that sees to that.
 */
#ifndef PYCACHEFS_SURVEY_H
#define PYCACHEFS_SURVEY_H

#include "evict.h"
#include "fs.h"

/* Begun with @fs and @keep (borrowed; NULL: nothing), a file that stays, and all else 0. */
struct survey {
	struct fs *fs;
	const struct file_id *keep;
	/* Owned: what may go, for evict_choose() to sort. */
	struct evict_candidate *candidates;
	size_t count;
	uint64_t freed;		/* inodes of shadows that held nothing */

	/* survey.c's own. */
	struct file *files;	/* owned; as many, in the order of candidates' index */
	struct family *families;	/* owned */
	size_t room;
	bool out_of_memory;
	bool again;		/* gone through for newcomers */
};

/*
 * Goes through the whole store, which it frees on the way of shadows that hold nothing.
 * Returns 0 or negative errno.  survey_end() is to be called in any case.
 */
int survey_take(struct survey *survey);
void survey_end(struct survey *survey);

/* Removes what @candidate stands for.  Returns whether it did. */
bool survey_evict(struct survey *survey, const struct evict_candidate *candidate);

/* To be called when the last one was evicted: bytecode that has come meanwhile, and may
 * have lost the note of its module's state to what went, goes as well. */
void survey_drop_newcomers(struct survey *survey);

#endif
