/*
 * The daemon's log and the command's messages.  A line is put together in a
 * buffer and written by one call, so that threads never mix their lines.
 */
#include "log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

/* Set at start, before threads; only read afterwards. */
static enum log_level most = LOG_LEVEL_INFO;
/* Set when the mount is usable, with threads running. */
static _Atomic bool to_syslog;

static const struct {
	const char *word;
	int priority;
} levels[] = {
	[LOG_LEVEL_ERROR] = { "error", LOG_ERR },
	[LOG_LEVEL_WARNING] = { "warning", LOG_WARNING },
	[LOG_LEVEL_INFO] = { "info", LOG_INFO },
	[LOG_LEVEL_DEBUG] = { "debug", LOG_DEBUG },
};

void log_set_level(enum log_level level)
{
	most = level;
}

bool log_wants(enum log_level level)
{
	return level <= most;
}

void log_open_syslog(void)
{
	openlog("pycachefs", LOG_PID | LOG_NDELAY, LOG_DAEMON);
}

void log_use_syslog(void)
{
	atomic_store(&to_syslog, true);
}

/* Writes "pycachefs: PREFIX TEXT" as one line. */
static void write_line(const char *prefix, const char *format, va_list args)
{
	char line[1024];
	int length = snprintf(line, sizeof(line), "pycachefs: %s", prefix);

	length += vsnprintf(line + length, sizeof(line) - (size_t)length - 1,
			    format, args);
	if (length > (int)sizeof(line) - 2)
		length = (int)sizeof(line) - 2;
	for (int i = 0; i < length; i++)
		if (line[i] == '\n' || line[i] == '\r')
			line[i] = ' ';
	line[length++] = '\n';
	/* Nobody is left to be told when standard error fails. */
	if (write(STDERR_FILENO, line, (size_t)length) < 0)
		return;
}

void log_at(enum log_level level, const char *format, ...)
{
	va_list args;
	char prefix[16];

	if (!log_wants(level))
		return;
	va_start(args, format);
	if (atomic_load(&to_syslog)) {
		vsyslog(levels[level].priority, format, args);
	} else {
		snprintf(prefix, sizeof(prefix), "%s: ", levels[level].word);
		write_line(prefix, format, args);
	}
	va_end(args);
}

void complain(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	if (atomic_load(&to_syslog))
		vsyslog(LOG_ERR, format, args);
	else
		write_line("", format, args);
	va_end(args);
}
