# A private PostgreSQL: free port, temporary folder, never as root, gone when stopped. Source it; it runs nothing.

postgres_folder=""

# Starts it and exports TRUNKLINE_TEST_POSTGRES_URL, whose user may make databases.
start_postgres() {
    postgres_folder=$(mktemp -d "${TMPDIR:-/tmp}/trunkline-postgres-XXXXXX")
    chmod 755 "$postgres_folder"
    if [ "$(id -u)" -eq 0 ]; then chown postgres: "$postgres_folder"; fi
    # No --locale: C collation makes the order of text the same on every machine.
    as_postgres initdb --no-sync --no-locale --encoding=UTF8 --auth=trust --username=postgres \
        -D "$postgres_folder/data" >"$postgres_folder.log" 2>&1 || { cat "$postgres_folder.log" >&2; return 1; }
    local port attempt
    for attempt in 1 2 3; do
        port=$(free_port)
        # Nothing here outlives a crash, so nothing needs to reach the disk.
        if as_postgres pg_ctl -s -w -D "$postgres_folder/data" -l "$postgres_folder/data/log" -o "-p $port \
            -c listen_addresses=127.0.0.1 -c unix_socket_directories=$postgres_folder -c max_connections=300 \
            -c fsync=off -c synchronous_commit=off -c full_page_writes=off" start >>"$postgres_folder.log" 2>&1; then
            export TRUNKLINE_TEST_POSTGRES_URL="postgres://postgres@127.0.0.1:$port/postgres"
            return
        fi
        echo "PostgreSQL did not start on port $port (attempt $attempt)" >&2
    done
    cat "$postgres_folder.log" "$postgres_folder/data/log" >&2
    return 1
}

# Stops it and removes its folder. Harmless when it never started.
stop_postgres() {
    [ -n "$postgres_folder" ] || return 0
    as_postgres pg_ctl -s -w -m immediate -D "$postgres_folder/data" stop >/dev/null 2>&1 || true
    rm -rf "$postgres_folder" "$postgres_folder.log"
    postgres_folder=""
}

# Runs a program of the newest PostgreSQL installed, or of the one in TRUNKLINE_TEST_POSTGRES_BIN, as `postgres` when this is root.
as_postgres() {
    local program=$1 folder
    shift
    # Debian keeps the server's programs of each version apart and out of PATH.
    folder=${TRUNKLINE_TEST_POSTGRES_BIN:-$(compgen -G "/usr/lib/postgresql/*/bin" | sort -V | tail -n 1 || true)}
    [ -n "$folder" ] && program=$folder/$program
    # The caller's folder may be closed to that user.
    if [ "$(id -u)" -eq 0 ]; then
        (cd / && exec setpriv --reuid=postgres --regid=postgres --init-groups "$program" "$@")
    else
        (cd / && exec "$program" "$@")
    fi
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}
