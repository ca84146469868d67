/*
 * Parity: the same calls in a plain directory and in the mount do the same.
 *
 * A case is a function that makes calls by relative paths; its working directory
 * is an empty one made for it.  It runs once in the fixture's plain directory and
 * once in the mount, and each time records what every call returned.  The two
 * records must be equal, and so must three trees afterwards: the plain one, the
 * one in the mount, and what lies in the source behind the mount.
 *
 * A case never asserts; it only records.
 */
#ifndef TESTS_PARITY_H
#define TESTS_PARITY_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>

struct parity_case {
	const char *promise;	/* what holds, as the test's name */
	void (*steps)(void);
};

/* A user and group without privileges, and one more group. */
#define USER 1000
#define GROUP 1000
#define OTHER_GROUP 2000

/*
 * The whole main function of a parity test: runs all cases on a mount elsewhere
 * and then on a mount in place.  Returns the exit status.
 */
int parity_main(const struct parity_case *cases, size_t count);

/* Records the call with its result, or with its errno when it is -1. */
#define TRY(call) parity_did(#call, (long)(call))
/* The same for a call that returns a descriptor: records only its success. */
#define TRY_OPEN(call) parity_opened(#call, (call))

long parity_did(const char *call, long result);
int parity_opened(const char *call, int fd);

/* Records a line. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Content is looked at up to here: on a tmpfs a file may have 2^62 bytes. */
enum { CONTENT_MAX = 1 << 21 };

/* Record what is to be seen: attributes, content, sorted names with types. */
void say_status(const char *path);
void say_status_of(int fd);
void say_content(const char *path);
void say_names(const char *path);

/* Makes a file with this content, mode 0644 less the umask. */
void make(const char *path, const char *content);

/* Runs steps in a child process as another user; see as_user(). */
void as(uid_t uid, gid_t gid, void (*steps)(void));
void as_member(uid_t uid, gid_t gid, gid_t group, void (*steps)(void));

/* A string of @length times @c; static, until the next call. */
const char *repeat(char c, size_t length);

#endif
