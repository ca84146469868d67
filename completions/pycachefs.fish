# How fish completes pycachefs.  What there is to complete stands above, where the
# installed file has it.

# The verb that was given, or an empty line.
function __pycachefs_verb
    set -l tokens (commandline -opc)
    if set -q tokens[2]; and contains -- $tokens[2] $__pycachefs_verbs
        echo $tokens[2]
    else
        echo
    end
end

function __pycachefs_is
    test (__pycachefs_verb) = "$argv[1]"
end

function __pycachefs_is_first
    test (count (commandline -opc)) -eq 1
end

# The words behind all switches of `run`: a command and its arguments.
function __pycachefs_rest
    set -l tokens (commandline -opc)
    set -e tokens[1..2]
    while set -q tokens[1]
        if test "$tokens[1]" = --
            set -e tokens[1]
            break
        else if contains -- $tokens[1] $__pycachefs_valued
            set -e tokens[1..2]
        else if string match -q -- '-*' $tokens[1]
            set -e tokens[1]
        else
            break
        end
    end
    for token in $tokens
        echo $token
    end
end

# Whether the verb is this one, and can have switches here.
function __pycachefs_takes
    __pycachefs_is $argv[1]; or return
    test "$argv[1]" != run; and return
    test (count (__pycachefs_rest)) -eq 0
end

function __pycachefs_mount
    while read -l -d ' ' name point type rest
        # The kernel writes a blank as \040.
        test "$type" = fuse.pycachefs; and printf '%b\n' (string replace -ar '\\\\(\d)' '\\\\0$1' $point)
    end </proc/self/mounts
end

function __pycachefs_directory
    __fish_complete_directories (commandline -ct)
end

function __pycachefs_path
    __fish_complete_path (commandline -ct)
end

function __pycachefs_command
    set -l rest (string escape -- (__pycachefs_rest))
    complete --do-complete=(string join -- ' ' $rest (commandline -ct))
end

# The last of the words that commas separate.
function __pycachefs_words
    set -l token (string replace -r '^-o' '' -- (commandline -ct))
    set -l last (string split , -- $token)[-1]
    set -l before (string replace -r '[^,]*$' '' -- $token)
    for path in $__pycachefs_paths
        if string match -q -- "$path*" $last
            set -l place (string replace -- $path '' $last)
            printf '%s\n' $before$path(__fish_complete_directories "$place")
            return
        end
    end
    for option in $__pycachefs_options
        printf '%s%b\n' "$before" $option
    end
end
