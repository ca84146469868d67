/*
 * The command line and the words of -o.  See opts.h.
 */
#include "opts.h"

#include <ctype.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "log.h"
#include "usage.h"

enum value {
	FLAG,		/* a bool, set */
	SIZE,		/* uint64_t, bytes with K, M, G or T */
	COUNT,		/* uint64_t, at least 1 */
	COUNT32,	/* uint32_t, at least 1 */
	READ_SIZE,	/* the same, and passed on: libfuse wants it twice */
	SECONDS,	/* double, 0 or more */
	PATH,		/* char *, owned */
	GLOB,		/* added to the names */
	EXISTING,	/* a bool: hide or seed */
	LIBFUSE,	/* libfuse's: passed on */
	IGNORED,	/* mount(8)'s own: accepted, without effect here */
};

/* The store's default size; Python bytecode is about as large as its source,
 * and few projects hold more than this. */
#define DEFAULT_SIZE (UINT64_C(256) << 20)

#define FIELD(member) offsetof(struct opts, member)

static const struct option {
	const char *word;	/* ends in "=" when it takes a value */
	enum value value;
	size_t field;
	const char *metavar, *help;
} options[] = {
	{ "size=", SIZE, FIELD(size), "SIZE",
	  "memory that the store may use (default 256M)" },
	{ "inodes=", COUNT, FIELD(inodes), "N",
	  "files and directories that it may hold (default: one per 4 KiB)" },
	{ "store=", PATH, FIELD(store), "DIR",
	  "keep the store in DIR, of a tmpfs, for the next mount" },
	{ "also=", GLOB, FIELD(names), "NAME",
	  "a further name or glob to keep in the store; may be repeated" },
	{ "existing=", EXISTING, FIELD(seed), "hide|seed",
	  "bytecode that lies in the source: hide it (default), or copy it into the "
	  "store where it is up to date" },
	{ "ro", FLAG, FIELD(read_only), NULL,
	  "let nothing change the source; bytecode is cached all the same" },
	{ "timeout=", SECONDS, FIELD(timeout), "SECONDS",
	  "let the kernel cache names and attributes for this long, rather than "
	  "until a change is heard of" },
	{ "max_threads=", COUNT32, FIELD(max_threads), "N",
	  "threads that serve requests (default: one per CPU, at least 2)" },
	{ "allow_other", FLAG, FIELD(allow_other), NULL,
	  "let other users in (always on when run by root)" },
	{ "fsname=", LIBFUSE, 0, "NAME",
	  "what mount(8) shows as the source (default: its path)" },
	{ "auto_unmount", FLAG, FIELD(auto_unmount), NULL,
	  "unmount when the daemon ends in whatever way" },
	{ "max_read=", READ_SIZE, FIELD(max_read), "BYTES",
	  "largest size of a read request (default: the kernel's)" },
	{ "default_permissions", IGNORED, 0, NULL, NULL },
	{ "rw", IGNORED, 0, NULL, NULL },
	{ "suid", LIBFUSE, 0, NULL, NULL }, { "nosuid", LIBFUSE, 0, NULL, NULL },
	{ "dev", LIBFUSE, 0, NULL, NULL }, { "nodev", LIBFUSE, 0, NULL, NULL },
	{ "exec", LIBFUSE, 0, NULL, NULL }, { "noexec", LIBFUSE, 0, NULL, NULL },
	{ "sync", LIBFUSE, 0, NULL, NULL }, { "async", LIBFUSE, 0, NULL, NULL },
	{ "dirsync", LIBFUSE, 0, NULL, NULL },
	{ "noatime", LIBFUSE, 0, NULL, NULL },
	{ "nodiratime", LIBFUSE, 0, NULL, NULL },
	{ "context=", LIBFUSE, 0, NULL, NULL },
	{ "fscontext=", LIBFUSE, 0, NULL, NULL },
	{ "defcontext=", LIBFUSE, 0, NULL, NULL },
	{ "rootcontext=", LIBFUSE, 0, NULL, NULL },
	/* What mount(8) hands on from fstab. */
	{ "defaults", IGNORED, 0, NULL, NULL },
	{ "atime", IGNORED, 0, NULL, NULL },
	{ "diratime", IGNORED, 0, NULL, NULL },
	{ "relatime", IGNORED, 0, NULL, NULL },
	{ "strictatime", IGNORED, 0, NULL, NULL },
	{ "lazytime", IGNORED, 0, NULL, NULL },
	{ "silent", IGNORED, 0, NULL, NULL },
	{ "auto", IGNORED, 0, NULL, NULL }, { "noauto", IGNORED, 0, NULL, NULL },
	{ "user", IGNORED, 0, NULL, NULL }, { "nouser", IGNORED, 0, NULL, NULL },
	{ "users", IGNORED, 0, NULL, NULL }, { "owner", IGNORED, 0, NULL, NULL },
	{ "group", IGNORED, 0, NULL, NULL }, { "_netdev", IGNORED, 0, NULL, NULL },
	{ "nofail", IGNORED, 0, NULL, NULL },
	{ "user=", IGNORED, 0, NULL, NULL },
};

/* Keys for libfuse's parser: an index of the table, or this and a switch's letter. */
enum { KEY_SWITCH = 1000 };

int opts_parse_size(const char *text, uint64_t *ret)
{
	static const char units[] = "KMGT";
	unsigned long long number;
	unsigned shift = 0;
	char *end;

	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	errno = 0;
	number = strtoull(text, &end, 10);
	if (errno)
		return -errno;
	if (*end) {
		const char *unit = strchr(units, toupper((unsigned char)*end));

		if (!unit || end[1])
			return -EINVAL;
		shift = 10 * (unsigned)(unit - units + 1);
	}
	if (number == 0)
		return -EINVAL;
	/* tmpfs counts in signed 64 bits. */
	if (number > (uint64_t)INT64_MAX >> shift)
		return -ERANGE;
	*ret = (uint64_t)number << shift;
	return 0;
}

static int parse_count(const char *text, uint64_t *ret)
{
	/* A count has no unit. */
	if (*text && !isdigit((unsigned char)text[strlen(text) - 1]))
		return -EINVAL;
	return opts_parse_size(text, ret);
}

static int parse_count32(const char *text, uint32_t *ret)
{
	uint64_t number;
	int err = parse_count(text, &number);

	if (!err && number > UINT32_MAX)
		err = -ERANGE;
	if (!err)
		*ret = (uint32_t)number;
	return err;
}

static int parse_seconds(const char *text, double *ret)
{
	char *end;
	double number;

	if (!isdigit((unsigned char)*text) && *text != '.')
		return -EINVAL;
	number = strtod(text, &end);
	if (*end || end == text || !isfinite(number))
		return -EINVAL;
	*ret = number;
	return 0;
}

static int parse_existing(const char *text, bool *ret)
{
	bool seed = strcmp(text, "seed") == 0;

	if (!seed && strcmp(text, "hide") != 0)
		return -EINVAL;
	*ret = seed;
	return 0;
}

static int set_value(struct opts *opts, const struct option *option,
		     const char *text)
{
	void *field = (char *)opts + option->field;

	switch (option->value) {
	case FLAG:
		*(bool *)field = true;
		return 0;
	case SIZE:
		return opts_parse_size(text, field);
	case COUNT:
		return parse_count(text, field);
	case COUNT32:
	case READ_SIZE:
		return parse_count32(text, field);
	case SECONDS:
		return parse_seconds(text, field);
	case PATH:
		if (!*text)
			return -EINVAL;
		free(*(char **)field);
		*(char **)field = strdup(text);
		return *(char **)field ? 0 : -ENOMEM;
	case GLOB:
		return names_add(field, text);
	case EXISTING:
		return parse_existing(text, field);
	case LIBFUSE:
	case IGNORED:
		return 0;
	}
	return -EINVAL;
}

/* What is wrong with a value, and what would be right. */
static void complain_value(const struct option *option, const char *text, int err)
{
	static const char *const wants[] = {
		[SIZE] = "a number of bytes such as 64M or 1G",
		[COUNT] = "a number above 0",
		[COUNT32] = "a number above 0",
		[READ_SIZE] = "a number of bytes such as 65536",
		[SECONDS] = "a number of seconds such as 0.5",
		[PATH] = "a directory of a tmpfs such as /dev/shm/NAME",
		[GLOB] = "a name or glob without a slash",
		[EXISTING] = "hide or seed",
	};
	const char *why = err == -ERANGE ? "too large" : "not valid";

	complain("option '%s%s': %s, it takes %s", option->word, text, why,
		 wants[option->value]);
}

/* Notes a word that took effect, for `status`. */
static int note_word(struct opts *opts, const char *word)
{
	return fuse_opt_add_opt(&opts->words, word);
}

static int add_positional(struct opts *opts, const char *path)
{
	char **field = !opts->source ? &opts->source :
		!opts->mountpoint ? &opts->mountpoint : NULL;

	if (!field) {
		complain("'%s': one argument too many, see pycachefs --help", path);
		return -1;
	}
	*field = strdup(path);
	return *field ? 0 : -1;
}

static int handle_option(struct opts *opts, const struct option *option,
			 const char *word)
{
	const char *equals = strchr(word, '=');
	const char *text = equals ? equals + 1 : "";
	int err = set_value(opts, option, text);

	if (err == -ENOMEM)
		return -1;
	if (err) {
		complain_value(option, text, err);
		return -1;
	}
	if (option->value == IGNORED)
		return 0;
	if (strcmp(option->word, "fsname=") == 0)
		opts->fsname_given = true;
	if (note_word(opts, word))
		return -1;
	return option->value == LIBFUSE || option->value == READ_SIZE ? 1 : 0;
}

/* No option's template fits: say what is wrong with the word. */
static int handle_unknown(const char *word)
{
	/* fstab's comments, such as x-systemd.automount: see mount(8). */
	if (starts_with(word, "x-"))
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		size_t length = strlen(options[i].word);

		if (options[i].word[length - 1] == '=' &&
		    strlen(word) == length - 1 &&
		    strncmp(word, options[i].word, length - 1) == 0) {
			complain("option '%s': needs a value, as in %s%s", word,
				 options[i].word,
				 options[i].metavar ? options[i].metavar : "VALUE");
			return -1;
		}
	}
	complain("option '%s': not known, see pycachefs --help", word);
	return -1;
}

/* libfuse's parser calls this: 1 keeps the word for libfuse, 0 drops it. */
static int handle(void *data, const char *arg, int key, struct fuse_args *out)
{
	struct opts *opts = data;

	(void)out;
	switch (key) {
	case FUSE_OPT_KEY_NONOPT:
		return add_positional(opts, arg);
	case FUSE_OPT_KEY_OPT:
		return handle_unknown(arg);
	case KEY_SWITCH + 'f':
		opts->foreground = true;
		return 0;
	case KEY_SWITCH + 'd':
		opts->foreground = opts->debug = true;
		return 0;
	case KEY_SWITCH + 'h':
		opts->help = true;
		return 0;
	case KEY_SWITCH + 'V':
		opts->version = true;
		return 0;
	case KEY_SWITCH + 'r':
		opts->read_only = true;
		return note_word(opts, "ro");
	case KEY_SWITCH + 'w':
		return 0;
	default:
		return handle_option(opts, &options[key], arg);
	}
}

/* Whether the last argument is "-o" as an option, not as a path after "--". */
static bool ends_in_bare_o(int argc, char **argv)
{
	for (int i = 1; i < argc - 1; i++)
		if (strcmp(argv[i], "--") == 0)
			return false;
	return argc > 1 && strcmp(argv[argc - 1], "-o") == 0;
}

/* What libfuse's parser is to know. */
static void list_templates(struct fuse_opt *ret)
{
	size_t count = 0;

	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		ret[count++] = (struct fuse_opt){ options[i].word, -1U, (int)i };
	for (const struct usage_switch *one = usage_mount.switches; one->key; one++) {
		/* -o is the parser's own. */
		if (one->value == USAGE_WORDS)
			continue;
		if (one->brief)
			ret[count++] = (struct fuse_opt){
				one->brief, -1U, KEY_SWITCH + one->key };
		if (one->word)
			ret[count++] = (struct fuse_opt){
				one->word, -1U, KEY_SWITCH + one->key };
	}
	ret[count] = (struct fuse_opt)FUSE_OPT_END;
}

int opts_parse(struct opts *ret, int argc, char **argv)
{
	struct fuse_opt templates[ARRAY_SIZE(options) + 2 * USAGE_SWITCHES + 1];

	*ret = (struct opts){
		.size = DEFAULT_SIZE,
		.timeout = -1,
		.fuse = FUSE_ARGS_INIT(argc, argv),
	};
	/* libfuse's parser would say it in words of its own. */
	if (ends_in_bare_o(argc, argv)) {
		complain("option '-o': needs words, as in -o size=64M");
		return -EINVAL;
	}
	list_templates(templates);
	if (fuse_opt_parse(&ret->fuse, ret, templates, handle) < 0)
		return -EINVAL;
	return 0;
}

void opts_clear(struct opts *opts)
{
	free(opts->source);
	free(opts->mountpoint);
	free(opts->words);
	free(opts->store);
	names_clear(&opts->names);
	fuse_opt_free_args(&opts->fuse);
	*opts = (struct opts){ 0 };
}

bool opts_has_timeout(const struct opts *opts)
{
	return opts->timeout >= 0;
}

bool opts_word(size_t i, struct opts_word *ret)
{
	for (const struct option *option = options;
	     option < options + ARRAY_SIZE(options); option++) {
		if (option->value == IGNORED || i-- > 0)
			continue;
		*ret = (struct opts_word){
			.word = option->word, .metavar = option->metavar,
			.help = option->help, .directory = option->value == PATH,
		};
		return true;
	}
	return false;
}

void opts_help(FILE *out)
{
	char left[64];

	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		if (!options[i].help)
			continue;
		snprintf(left, sizeof(left), "%s%s", options[i].word,
			 options[i].metavar ? options[i].metavar : "");
		fprintf(out, "  %-20s %s\n", left, options[i].help);
	}
}
