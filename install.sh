#!/bin/sh
# Installs git-credential-wit and wit below a prefix, shows them at work, or removes them.
set -eu

usage() {
    cat <<'USAGE'
usage: ./install.sh [--prefix DIR] [--from ARCHIVE [--sha256 SUM]] [--try]
       ./install.sh [--prefix DIR] --uninstall
       ./install.sh --help

Builds git-credential-wit and wit, or takes them from a release archive, and
installs them with their man pages and shell completions below DIR. Running it
again replaces what it installed.

  --prefix DIR    install below DIR (default: ~/.local)
  --from ARCHIVE  install what is in a release archive; nothing is built. Its
                  checksum has to be beside it, in ARCHIVE.sha256 or SHA256SUMS.
                  Where there are no sources, an archive beside this script is taken
  --sha256 SUM    the checksum of ARCHIVE, where it is in no file
  --try           install, then walk the whole way in a throwaway home: a server,
                  an account, a token, clone, push, revoke. It touches neither
                  your git configuration nor your keychain, and cleans up.
  --uninstall     remove what an earlier run installed below DIR, nothing else
  --help          print this

Needs: git, and to build also cargo (Rust) and a C compiler. Only Linux is tested.
USAGE
}

say() { printf '%s\n' "$*"; }
die() { printf 'install.sh: %s\n' "$1" >&2; shift; for line; do printf 'hint: %s\n' "$line" >&2; done; exit 1; }
misuse() { printf 'install.sh: %s\nhint: ./install.sh --help\n' "$1" >&2; exit 2; }

prefix=${HOME:+$HOME/.local}
action=install
try=no
archive=
sum=
while [ $# -gt 0 ]; do
    case $1 in
        --help | -h) usage; exit 0 ;;
        --prefix)
            [ $# -ge 2 ] || misuse "--prefix needs a directory"
            prefix=$2
            shift
            ;;
        --prefix=*) prefix=${1#--prefix=} ;;
        --from)
            [ $# -ge 2 ] || misuse "--from needs an archive"
            archive=$2
            shift
            ;;
        --from=*) archive=${1#--from=} ;;
        --sha256)
            [ $# -ge 2 ] || misuse "--sha256 needs a checksum"
            sum=$2
            shift
            ;;
        --sha256=*) sum=${1#--sha256=} ;;
        --try) try=yes ;;
        --uninstall) action=uninstall ;;
        *) misuse "unknown argument: $1" ;;
    esac
    shift
done
[ "$action" = install ] || [ "$try" = no ] || misuse "--try and --uninstall exclude each other"
[ "$action" = install ] || [ -z "$archive" ] || misuse "--from and --uninstall exclude each other"
[ -z "$sum" ] || [ -n "$archive" ] || misuse "--sha256 goes with --from"
case $sum in
    *[!0-9a-fA-F]*) misuse "--sha256 takes 64 hexadecimal digits" ;;
esac
[ -z "$sum" ] || [ "${#sum}" = 64 ] || misuse "--sha256 takes 64 hexadecimal digits"
[ -n "$prefix" ] || misuse "there is no HOME; name a directory with --prefix"
case $prefix in
    /*) ;;
    *) prefix=$(pwd)/$prefix ;;
esac
case $prefix in
    *'
'*) misuse "the prefix may not hold a line break" ;;
esac

source_dir=$(cd "$(dirname "$0")" && pwd)
# What was installed, one per line: "f PATH" for a file, "d PATH" for a directory that was made,
# both below the prefix; "p" where the prefix itself was made. The uninstallation goes by this list alone.
manifest=$prefix/share/git-credential-wit/manifest

# Whether the manifest of an earlier run lists this file.
ours() { [ -f "$manifest" ] && grep -qxF "f $1" "$manifest"; }

# Whether git was set up for a program below another prefix, which is still there.
of_another_prefix() {
    case $(command -v git-credential-wit 2>/dev/null) in
        "$prefix/bin/git-credential-wit" | '') own=yes ;;
        *) own=no ;;
    esac
    # A name alone is found in the PATH.
    ! grep -qF "$prefix/bin/git-credential-wit" "$1" || return 1
    ! grep -q '"value": "wit[ "]' "$1" || [ "$own" = no ] || return 1
    sed -n 's|.*"value": "\(/[^"]*git-credential-wit\)".*|\1|p; s|.*"value": "wit[ "].*|/bin/true|p' "$1" |
        while read -r program; do
            [ ! -x "$program" ] || echo another
        done | grep -q another
}

uninstall() {
    [ -f "$manifest" ] || die "nothing of this installer below $prefix" \
        "./install.sh --prefix DIR --uninstall, with the DIR that it was installed to"
    # Only wit itself takes back to the byte what `wit setup` did.
    for record in "${XDG_STATE_HOME:-${HOME-}/.local/state}/wit/setup.json" \
        "${HOME-}/Library/Application Support/wit/setup.json"; do
        if [ -f "$record" ] && [ -x "$prefix/bin/wit" ] && ! of_another_prefix "$record"; then
            die "wit setup is still in effect, and only wit can take it back; nothing was removed" \
                "$prefix/bin/wit setup --undo" \
                "the same with --system, or with --local in its repository, for what was set up so" \
                "to leave all of that as it is: rm '$record'"
        fi
    done
    if command -v git >/dev/null 2>&1; then
        # A key is followed by the helper as it was configured.
        git config --global --get-regexp '^credential\.(.*\.)?helper$' 2>/dev/null |
            grep -E '^[^ ]+ (wit( |$)|.*git-credential-wit)' | sed 's/ .*//' | sort -u |
            while read -r key; do
                say "git still asks the helper wit. To make it stop:"
                say "    git config --global --unset-all '$key' '^wit( |\$)|git-credential-wit'"
            done
    fi
    while read -r kind path; do
        if [ "$kind" = f ] && [ -e "$prefix/$path" ]; then
            rm -f -- "$prefix/$path"
        fi
    done <"$manifest"
    say "Removed what was installed below $prefix."
    # The deepest directory first; one that holds something of somebody else stays.
    dirs=$(sed -n 's/^d //p' "$manifest" | sort -r)
    made_prefix=$(grep -x p "$manifest" || :)
    rm -f -- "$manifest"
    printf '%s\n' "$dirs" | while read -r path; do
        [ -z "$path" ] || rmdir -- "$prefix/$path" 2>/dev/null || :
    done
    [ -z "$made_prefix" ] || rmdir -- "$prefix" 2>/dev/null || :
    say "Tokens and settings that wit keeps for you were left alone: they are in the store that"
    say "\`wit setup\` named, and below ~/.config/wit, ~/.local/share/wit and ~/.local/state/wit."
}

check_needs() {
    missing=
    command -v git >/dev/null 2>&1 || missing="$missing git"
    if [ -z "$tree" ]; then
        command -v cc >/dev/null 2>&1 || command -v gcc >/dev/null 2>&1 ||
            command -v clang >/dev/null 2>&1 || missing="$missing C-compiler"
        command -v cargo >/dev/null 2>&1 || missing="$missing cargo"
    fi
    [ -n "$missing" ] || return 0
    say "install.sh: missing:$missing" >&2
    if [ "$missing" = " git" ]; then
        say "hint: install git from your system's packages" >&2
        exit 1
    fi
    say "hint: with a release archive nothing is built: ./install.sh --from ARCHIVE" >&2
    case $missing in
        *git* | *C-compiler*)
            if command -v apt-get >/dev/null 2>&1; then
                say "hint: sudo apt-get install git build-essential" >&2
            elif command -v dnf >/dev/null 2>&1; then
                say "hint: sudo dnf install git gcc" >&2
            elif command -v pacman >/dev/null 2>&1; then
                say "hint: sudo pacman -S git gcc" >&2
            elif command -v apk >/dev/null 2>&1; then
                say "hint: apk add git build-base" >&2
            elif command -v xcode-select >/dev/null 2>&1; then
                say "hint: xcode-select --install" >&2
            else
                say "hint: install git and a C compiler from your system's packages" >&2
            fi
            ;;
    esac
    case $missing in
        *cargo*)
            say "hint: install Rust as https://rustup.rs says; where it is installed, add it: . ~/.cargo/env" >&2
            ;;
    esac
    exit 1
}

# Calls $1 with the source, the path below the prefix and the mode of each file.
for_each_file() {
    if [ -n "$tree" ]; then
        for file in $(cd "$tree" && find bin share -type f); do
            case $file in bin/*) mode=755 ;; *) mode=644 ;; esac
            "$1" "$tree/$file" "$file" "$mode"
        done
        return 0
    fi
    "$1" "$built/git-credential-wit" bin/git-credential-wit 755
    "$1" "$built/wit" bin/wit 755
    for page in man/*.1; do
        "$1" "$page" "share/man/man1/${page##*/}" 644
    done
    "$1" completions/wit.bash share/bash-completion/completions/wit 644
    "$1" completions/_wit share/zsh/site-functions/_wit 644
    "$1" completions/wit.fish share/fish/vendor_completions.d/wit.fish 644
    # PowerShell has no directory of its own for them.
    "$1" completions/wit.ps1 share/git-credential-wit/wit.ps1 644
}

refuse_foreign() {
    if [ -e "$prefix/$2" ] && ! ours "$2"; then
        die "$prefix/$2 is there already and is not from this installer" \
            "move it away, or choose another directory: ./install.sh --prefix DIR"
    fi
}

# Prints the manifest's lines for a file and for the directories that will be made for it.
note() {
    note_dir "${2%/*}"
    printf 'f %s\n' "$2"
}

note_dir() {
    [ -d "$prefix/$1" ] && return 0
    case $1 in */*) note_dir "${1%/*}" ;; esac
    printf 'd %s\n' "$1"
}

write_manifest() {
    sort -u >"$manifest.new"
    mv -f -- "$manifest.new" "$manifest"
}

# place SOURCE PATH MODE: by rename, so that a program that runs meanwhile sees the old file or the
# new one, never half of one.
place() {
    mkdir -p -- "$prefix/${2%/*}"
    partial=$prefix/${2%/*}/.install.$$
    cp -- "$1" "$partial"
    chmod "$3" "$partial"
    mv -f -- "$partial" "$prefix/$2"
}

# Prints the checksum of the archive, from whatever program this machine has for that.
sum_of() {
    if command -v sha256sum >/dev/null 2>&1; then
        sha256sum <"$1"
    elif command -v shasum >/dev/null 2>&1; then
        shasum -a 256 <"$1"
    else
        openssl dgst -sha256 -r <"$1"
    fi | sed 's/ .*//'
}

# Unpacks the archive into $unpacked, once its checksum is the one that is expected, and leaves its
# only directory in $tree.
unpack() {
    [ -f "$archive" ] || die "there is no archive $archive"
    if [ -z "$sum" ]; then
        name=${archive##*/}
        # A file that is named after the archive is for it, whatever the archive was called before.
        sum=$(sed -n 's/^\([0-9a-fA-F]\{64\}\) .*/\1/p' "$archive.sha256" 2>/dev/null | head -n 1)
        sums=$(dirname -- "$archive")/SHA256SUMS
        if [ -z "$sum" ] && [ -f "$sums" ]; then
            # The form of sha256sum: the sum, two characters, the name.
            sum=$(sed -n 's/\r$//; s/^\([0-9a-fA-F]\{64\}\) [ *]\(.*\)$/\2 \1/p' "$sums" |
                while read -r line; do
                    [ "${line% *}" != "$name" ] || printf '%s\n' "${line##* }"
                done | head -n 1)
        fi
        [ -n "$sum" ] || die "there is no checksum of $archive beside it; nothing was installed" \
            "download $name.sha256 to the same directory, or name the sum: --sha256 SUM"
    fi
    actual=$(sum_of "$archive")
    [ "$(printf '%s' "$sum" | tr 'A-F' 'a-f')" = "$actual" ] ||
        die "$archive is damaged or was changed; nothing was installed" \
            "expected $sum, found $actual" "download it again"
    unpacked=$(mktemp -d "${TMPDIR:-/tmp}/wit-install.XXXXXX")
    trap 'rm -rf -- "$unpacked"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    trap 'exit 141' PIPE
    # tar says the same of each file; the first line tells.
    gzip -dc <"$archive" 2>"$unpacked/error" | tar -xf - -C "$unpacked" 2>>"$unpacked/error" || :
    if [ -s "$unpacked/error" ]; then
        die "can't unpack $archive: $(head -n 1 "$unpacked/error")" \
            "is there room in ${TMPDIR:-/tmp}? TMPDIR names another directory"
    fi
    tree=$(echo "$unpacked"/git-credential-wit-*)
    for file in bin/git-credential-wit bin/wit share/man/man1/wit.1; do
        { [ -f "$tree/$file" ] && [ ! -L "$tree/$file" ]; } ||
            die "$archive is no release of git-credential-wit: it has no $file"
    done
    for program in git-credential-wit wit; do
        "$tree/bin/$program" --version >/dev/null 2>&1 ||
            die "the $program of $archive does not run on this machine ($(uname -sm))" \
                "take the archive for it, or build: ./install.sh" \
                "where ${TMPDIR:-/tmp} may not hold programs (noexec), name another directory in TMPDIR"
    done
}

install() {
    tree=
    unpacked=
    if [ -n "$archive" ]; then
        unpack
    elif [ -x "$source_dir/bin/wit" ] && [ ! -e "$source_dir/Cargo.toml" ]; then
        # This is in an archive that somebody has unpacked.
        tree=$source_dir
    elif [ ! -e "$source_dir/Cargo.toml" ]; then
        # Downloaded beside it.
        for archive in "$source_dir"/git-credential-wit-*.tar.gz; do :; done
        [ -f "$archive" ] || die "there are no sources here to build, nor a release archive" \
            "./install.sh --from ARCHIVE"
        say "Installing from $archive"
        unpack
    fi
    check_needs
    cd "$source_dir"
    built=
    for_each_file refuse_foreign
    [ -n "$tree" ] || build

    # For everybody who may use the prefix, whatever this shell makes otherwise.
    umask 022
    partial=
    trap 'rm -rf -- "$manifest.new" ${partial:+"$partial"} ${unpacked:+"$unpacked"}' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    trap 'exit 141' PIPE
    # All that will be there is written down first: an installation that was interrupted can be
    # finished, and taken back.
    before=
    [ ! -f "$manifest" ] || before=$(cat -- "$manifest")
    now=$(
        [ -d "$prefix" ] || say p
        for_each_file note
    )
    { mkdir -p -- "${manifest%/*}" 2>/dev/null && [ -w "${manifest%/*}" ]; } ||
        die "nothing can be installed below $prefix: no permission, or no directory" \
            "choose another directory: ./install.sh --prefix DIR; or run it as root"
    printf '%s\n' "$before" "$now" | grep . | write_manifest
    for_each_file place
    # What an earlier version installed and this one does not have.
    printf '%s\n' "$before" | sed -n 's/^f //p' | while read -r path; do
        printf '%s\n' "$now" | grep -qxF "f $path" || rm -f -- "$prefix/$path"
    done
    { printf '%s\n' "$before" | grep '^[dp]' || :; printf '%s\n' "$now"; } | write_manifest
    [ -z "$unpacked" ] || rm -rf -- "$unpacked"
    trap - EXIT INT TERM HUP PIPE
    say "Installed git-credential-wit and wit in $prefix/bin, man pages and completions in $prefix/share."
}

build() {
    say "Building a release; the first time takes some minutes."
    built=$(packaging/build)
}

# What is left to do in the person's own shell.
next_steps() {
    case ":${PATH:-}:" in
        *":$prefix/bin:"*) ;;
        *)
            say ""
            say "$prefix/bin is not in your PATH. Add this line to your shell's start file first:"
            say "    export PATH=\"$prefix/bin:\$PATH\""
            ;;
    esac
    case ${SHELL:-} in
        */zsh)
            say ""
            say "For completions add this line to ~/.zshrc, before compinit is run:"
            say "    fpath=('$prefix/share/zsh/site-functions' \$fpath)"
            ;;
    esac
    # An upgrade changes nothing of what was set up.
    [ -z "$before" ] || return 0
    say ""
    say "To use it for real:"
    say "    wit setup                       # git asks wit for credentials from now on"
    say "    wit login https://YOUR-SERVER   # sign in"
}

# Prints a command as one would type it, then runs it.
step() {
    current=$1
    printf '\n$ %s\n' "$1"
    eval "$1"
}

# The same, and keeps what the command printed in $output.
step_output() {
    current=$1
    printf '\n$ %s\n' "$1"
    status=0
    eval "$1" >"$home/.output" 2>&1 || status=$?
    cat -- "$home/.output"
    output=$(cat -- "$home/.output")
    return "$status"
}

end_try() {
    status=$?
    trap - EXIT INT TERM HUP
    cd /
    if [ "$running" = yes ]; then
        wit down >/dev/null 2>&1 || :
    fi
    rm -rf -- "$home"
    if [ "$status" -ne 0 ]; then
        printf '\ninstall.sh: the try failed at: %s\n' "$current" >&2
        printf 'hint: what is installed stays; ./install.sh --prefix %s --uninstall removes it\n' "$prefix" >&2
    fi
    exit "$status"
}

# Runs in a subshell: nothing of its environment gets out.
try_it() {
    PATH=$prefix/bin:$PATH
    home=$(mktemp -d "${TMPDIR:-/tmp}/wit-try.XXXXXX")
    running=no
    current="making a throwaway home"
    trap end_try EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    trap 'exit 141' PIPE

    # Nothing of the person's own: no git configuration, no keychain, no account, no proxy.
    for name in $(env | sed -n 's/^\([A-Za-z_][A-Za-z0-9_]*\)=.*/\1/p'); do
        case $name in
            GIT_EXEC_PATH | GIT_SSL_*) ;;
            GIT_* | WIT_* | XDG_* | DBUS_* | DATABASE_URL | SSH_ASKPASS | DISPLAY | WAYLAND_DISPLAY | [a-z]*_proxy | [A-Z]*_PROXY)
                unset "$name"
                ;;
        esac
    done
    HOME=$home
    # The try keeps its secrets in the throwaway home, whatever keychain this machine has.
    WIT_STORE='file'
    # Without it some D-Bus libraries look for the bus at its usual place.
    XDG_RUNTIME_DIR=$home/run
    GIT_CONFIG_NOSYSTEM=1
    GIT_TERMINAL_PROMPT=0
    LC_ALL=C
    export HOME PATH WIT_STORE XDG_RUNTIME_DIR GIT_CONFIG_NOSYSTEM GIT_TERMINAL_PROMPT LC_ALL
    mkdir -m 700 -- "$home/run"
    cd "$home"
    # From here on nothing can ask the person anything.
    exec </dev/null
    (umask 077 && od -An -N16 -tx1 /dev/urandom | tr -d ' \n' >"$home/password")

    say ""
    say "The whole way, in a throwaway home ($home), with GIT_TERMINAL_PROMPT=0 and WIT_STORE=file."
    running=yes
    step_output "wit up --port 0"
    url=$(printf '%s\n' "$output" | sed -n 's|.*\(http://127\.0\.0\.1:[0-9][0-9]*\).*|\1|p' | head -n 1)
    [ -n "$url" ] || die "wit up named no address"
    step "wit login $url --sign-up --email ada@example.org --username ada --password-stdin < ~/password"
    step "wit setup"
    step "wit token create --expires 30"
    step_output "wit repo create hello"
    repository=$(printf '%s\n' "$output" | sed -n 's|.*\(http://[^ ]*\.git\).*|\1|p' | head -n 1)
    [ -n "$repository" ] || die "wit repo create named no URL"
    step "git clone $repository"
    step "cd hello"
    step "git config user.name Ada && git config user.email ada@example.org"
    step "echo hello > README && git add README && git commit -m 'First commit'"
    step "git push -u origin HEAD"
    step "git fetch"
    step_output "wit token list"
    case $output in
        *"Last used"*) ;;
        *) die "the token is not listed as used" ;;
    esac
    prefix_of_token=$(printf '%s\n' "$output" | sed -n 's/^\(wit_[0-9a-f]*\)\.\.\..*/\1/p' | head -n 1)
    [ -n "$prefix_of_token" ] || die "wit token list showed no token"
    # Revoking also removes the token from this machine. It is put back, so that what the server
    # refuses is the revoked token and not an absent one.
    step "echo url=$url | git credential fill > ~/kept"
    step "wit token revoke $prefix_of_token"
    step "git credential approve < ~/kept"
    step "git commit --allow-empty -m 'Second commit'"
    # git's own trace tells what the server answered; it leaves secrets out.
    GIT_TRACE_CURL=$home/trace GIT_TRACE_CURL_NO_DATA=1
    export GIT_TRACE_CURL GIT_TRACE_CURL_NO_DATA
    if step "git push"; then
        die "the push went through with a revoked token"
    fi
    unset GIT_TRACE_CURL GIT_TRACE_CURL_NO_DATA
    answer=$(sed -n 's|.*<= Recv header: HTTP/[0-9.]* \([0-9]*\).*|\1|p' "$home/trace" | tail -n 1)
    grep -q '=> Send header: Authorization: Basic' "$home/trace" || die "git sent no token"
    [ "$answer" = 401 ] || die "the server answered ${answer:-nothing} to a revoked token, not 401"
    say "(refused by the server with 401, as it should be)"
    step "wit down"
    running=no
    say ""
    say "That was all of it; the throwaway home was removed."
}

if [ "$action" = uninstall ]; then
    uninstall
    exit 0
fi
install
if [ "$try" = yes ]; then
    # Not "( … ) || exit": that would switch off set -e inside.
    (try_it)
fi
next_steps
