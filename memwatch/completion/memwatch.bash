# bash completion for memwatch. Needs bash 4.4; with bash-completion the command after
# `memwatch run --` is completed as if it stood alone.

_memwatch() {
    local kind value _help command_at="" cur=${COMP_WORDS[COMP_CWORD]}
    COMPREPLY=()
    # Bash gives = as a word of its own; after it begins the value.
    [[ $cur == = ]] && cur=
    while IFS=$'\t' read -r kind value _help; do
        case $kind in
            plain) COMPREPLY+=("$value") ;;
            file) compopt -o default ;;
            dir) compopt -o dirnames ;;
            command) command_at=$value ;;
        esac
    done < <(_MEMWATCH_COMPLETE=bash_complete "${1/#\~\//$HOME/}" \
        "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    [[ $command_at ]] || return 0
    if declare -F _comp_command_offset >/dev/null; then
        _comp_command_offset "$command_at"
    elif declare -F _command_offset >/dev/null; then
        _command_offset "$command_at"
    else
        compopt -o default
        ((command_at < COMP_CWORD)) || mapfile -t COMPREPLY < <(compgen -c -- "$cur")
    fi
}

if ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] >= 404)); then
    complete -o nosort -F _memwatch memwatch
else
    echo "memwatch: completion needs bash 4.4 or newer, this is $BASH_VERSION" >&2
fi
