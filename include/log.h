/*
 * The daemon's log and the command's messages.
 *
 * Low layers return errors; the layer where an error ends logs it, once.
 *   error    an operation was lost
 *   warning  went on with less (the message says what)
 *   info     life cycle
 *   debug    a line per operation
 * Subjects are in 'single quotes'.  All functions may be called by any thread.
 */
#ifndef PYCACHEFS_LOG_H
#define PYCACHEFS_LOG_H

#include <stdbool.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Room for what others say about a path of theirs. */
enum { LOG_WORDS = 4096 + 512 };

/* The most talkative level that is written.  Set before threads start. */
void log_set_level(enum log_level level);
bool log_wants(enum log_level level);

/*
 * The daemon detaches: from log_use_syslog() on, everything goes to syslog rather
 * than to standard error, also what complain() says.  log_open_syslog() goes before
 * it, and before mounting, since syslog's socket is found by a path.  Where nobody
 * listens there, messages are lost and nothing else.
 */
void log_open_syslog(void);
void log_use_syslog(void);

void log_at(enum log_level level, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#define log_error(...) log_at(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_at(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...) log_at(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOG_LEVEL_DEBUG, __VA_ARGS__)

/*
 * A message of the command to its user, one line on standard error:
 * "pycachefs: WHAT: WHY".  Line breaks inside become spaces.
 */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same to @fd, wherever the log goes. */
void complain_to(int fd, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#endif
