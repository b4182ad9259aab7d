# fish completion for memwatch.

function __memwatch_complete
    set -l before (commandline -opc)
    set -l current (commandline -ct)
    # Of --option=value only the value is completed, but the whole is written.
    set -l prefix (string match -r -- '^--[^=]*=' $current)
    set -l program (string replace -r -- '^~/' "$HOME/" $before[1])
    for line in (_MEMWATCH_COMPLETE=fish_complete $program $before[2..-1] "$current" 2>/dev/null)
        set -l item (string split \t -- $line)
        switch $item[1]
            case plain
                printf '%s%s\t%s\n' "$prefix" $item[2] "$item[3]"
            case file
                printf "$prefix%s\n" (__fish_complete_path $item[2])
            case dir
                printf "$prefix%s\n" (__fish_complete_directories $item[2])
            case command
                # Its first word is counted from 0 by memwatch, from 1 by fish.
                set -l start (math $item[2] + 1)
                complete -C (string join ' ' -- (string escape -- $before[$start..-1]) "$current")
        end
    end
end

complete --command memwatch --no-files --keep-order --arguments '(__memwatch_complete)'
