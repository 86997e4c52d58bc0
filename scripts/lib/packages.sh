# Installs Debian packages that are missing. Source it; it runs nothing.

# need COMMAND-OR-PATH PACKAGE...: remembers the packages unless the command, or a file of that path (a pattern), is there.
missing_packages=()
need() {
    local what=$1
    shift
    if [[ $what == /* ]]; then
        compgen -G "$what" >/dev/null && return
    else
        command -v "$what" >/dev/null && return
    fi
    missing_packages+=("$@")
}

# Installs what `need` found missing. Asks nothing; says what to type where it may not install.
install_missing_packages() {
    [ ${#missing_packages[@]} -eq 0 ] && return
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null; then
            echo "missing packages; run as root: apt-get install ${missing_packages[*]}" >&2
            return 1
        fi
        as_root=(sudo)
    fi
    echo "installing ${missing_packages[*]}"
    "${as_root[@]}" apt-get -qq update
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq -y install --no-install-recommends "${missing_packages[@]}" >/dev/null
    missing_packages=()
}
