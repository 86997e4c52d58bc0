# Section headings and their times, for scripts that run many steps. Source it; it runs nothing.

section_name=""
section_start=0
run_start=$SECONDS

# Ends the section before and begins one with that name.
section() {
    end_section
    section_name=$1
    section_start=$SECONDS
    printf '\n==== %s\n' "$section_name"
}

end_section() {
    if [ -n "$section_name" ]; then
        printf -- '---- %s: ok, %d s\n' "$section_name" $((SECONDS - section_start))
    fi
    section_name=""
}

# For `trap ... EXIT`: tells how the run ended. Keeps the exit code it was called with.
summary() {
    local code=$1 program=$2
    if [ "$code" -eq 0 ]; then
        end_section
        printf '\n%s: passed in %d s\n' "$program" $((SECONDS - run_start))
    else
        printf '\n%s: FAILED in "%s" with exit code %d after %d s\n' \
            "$program" "${section_name:-start}" "$code" $((SECONDS - run_start))
    fi
}
