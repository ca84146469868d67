/*
 * The daemon's log and the command's messages.  A line is put together in a
 * buffer and written by one call, so that threads never mix their lines.
 */
#include "log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
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

/* Puts "pycachefs: PREFIX TEXT\n" together; returns its length, NUL excluded. */
__attribute__((format(printf, 4, 0)))
static size_t put_line(char *ret, size_t size, const char *prefix,
		       const char *format, va_list args)
{
	size_t length = (size_t)snprintf(ret, size, "pycachefs: %s", prefix);
	int text = vsnprintf(ret + length, size - length - 1, format, args);

	length += text > 0 ? (size_t)text : 0;
	for (size_t i = 0; i < length && i + 2 < size; i++)
		if (ret[i] == '\n' || ret[i] == '\r')
			ret[i] = ' ';
	if (length + 2 <= size)
		strcpy(ret + length, "\n");
	return length + 1;
}

/* Writes it by one call.  Paths can be long, and the reason stands behind them. */
__attribute__((format(printf, 3, 0)))
static void write_line(int fd, const char *prefix, const char *format, va_list args)
{
	char buffer[1024], *line = buffer, *longer = NULL;
	va_list again;

	va_copy(again, args);
	size_t length = put_line(buffer, sizeof(buffer), prefix, format, args);
	if (length >= sizeof(buffer))
		longer = malloc(length + 1);
	if (longer) {
		line = longer;
		put_line(longer, length + 1, prefix, format, again);
	} else if (length >= sizeof(buffer)) {
		length = sizeof(buffer) - 1;
		buffer[length - 1] = '\n';
	}
	va_end(again);
	/* Nobody is left to be told when that fails. */
	ssize_t written = write(fd, line, length);
	(void)written;
	free(longer);
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
		write_line(STDERR_FILENO, prefix, format, args);
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
		write_line(STDERR_FILENO, "", format, args);
	va_end(args);
}

void complain_to(int fd, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	write_line(fd, "", format, args);
	va_end(args);
}
