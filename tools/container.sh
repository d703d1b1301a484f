#!/usr/bin/env bash
# Builds the image, runs it, asks it what a newcomer asks, measures it. With docker where an engine
# answers, else with buildah (as root) on a base made by debootstrap, kept for the next run in
# $DARKMATTER_CONTAINERS. The last line is "N passed, N failed".
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
PATH=$PATH:/usr/sbin:/sbin
LIMIT_MB=130 # on top of the base
image=darkmatter:check
name=darkmatter-check-$$
scratch=$(mktemp -d)
passed=0 failed=0 server=

check() { # SENTENCE COMMAND...
    local sentence=$1
    shift
    if "$@" >"$scratch/out" 2>&1; then
        printf '  ok      %s\n' "$sentence"
        passed=$((passed + 1))
    else
        printf '  FAILED  %s\n' "$sentence"
        tail -n 20 "$scratch/out"
        failed=$((failed + 1))
        return 1
    fi
}
finish() {
    stop_and_remove >/dev/null 2>&1
    rm -rf "$scratch"
    echo "$passed passed, $failed failed"
    ((failed == 0 && passed > 0))
    exit
}

# --- docker -----------------------------------------------------------------------------------
docker_functions() {
    build() { docker build -t "$image" .; }
    start() {
        docker run -d --name "$name" -p 127.0.0.1::5002 "$image" >/dev/null || return
        port=$(docker port "$name" 5002/tcp | sed -n '1s/.*://p')
        inner_port=5002
    }
    inside() { docker exec "$name" "$@"; }
    logs() { docker logs "$name"; }
    stop() { docker stop -t 20 "$name" >/dev/null && [ "$(docker inspect -f '{{.State.ExitCode}}' "$name")" = 0 ]; }
    stop_and_remove() { docker rm -fv "$name"; }
    health_command() { docker image inspect -f '{{.Config.Healthcheck.Test}}' "$image"; }
    megabytes() {
        local base
        base=$(sed -n 's/^ARG BASE=//p' Dockerfile)
        echo $((($(docker image inspect -f '{{.Size}}' "$image") - $(docker image inspect -f '{{.Size}}' "$base")) / 1000000))
    }
}

# --- buildah ----------------------------------------------------------------------------------
buildah_functions() {
    base=localhost/darkmatter-base:bookworm
    store=${DARKMATTER_CONTAINERS:-/var/cache/darkmatter/containers}
    b() { buildah --root "$store/root" --runroot "$store/run" --storage-driver vfs "$@"; }

    build() {
        b inspect --type image "$base" >/dev/null 2>&1 || make_base || return
        # The first stage gets a name so that rmi --prune leaves its layers for the next run.
        local bud=(b bud --isolation chroot --format docker --layers --build-arg "BASE=$base")
        "${bud[@]}" --target build -t "$image-build" . && "${bud[@]}" -t "$image" . &&
            b from --pull-never --name "$name" "$image"
    }
    make_base() { # as debian:bookworm-slim is made, from wherever this machine's apt fetches
        local sources root=$scratch/base container
        # shellcheck disable=SC2016 # apt fills in the names
        sources=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(ORIGIN)' 'Created-By: Packages' \
            'Component: main' 2>/dev/null | awk '$2 ~ /^bookworm/ && $3 == "Debian" {print $1, $2}' | sort -u)
        # shellcheck disable=SC2046 # no mirror is no argument: debootstrap then takes its own
        debootstrap --variant=minbase bookworm "$root" \
            $(awk '$2 == "bookworm" {print $1; exit}' <<<"$sources") || return
        [ -z "$sources" ] || awk '{print "deb", $1, $2, "main"}' <<<"$sources" >"$root/etc/apt/sources.list"
        apt-config dump | grep -E '^Acquire::(https?::|Check-|Retries)' >"$root/etc/apt/apt.conf.d/90host"
        cat >"$root/etc/dpkg/dpkg.cfg.d/slim" <<'EOF'
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/man/*
path-exclude /usr/share/locale/*
EOF
        rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/*.log
        find "$root/usr/share/doc" ! -type d ! -name copyright -delete
        find "$root/usr/share/man" "$root/usr/share/locale" -mindepth 1 -delete
        container=$(b from scratch) && b add -q "$container" "$root" / &&
            b commit -q "$container" "$base" && b rm "$container"
    }
    start() {
        mapfile -t argv < <(b inspect --type image --format \
            '{{range .OCIv1.Config.Entrypoint}}{{println .}}{{end}}{{range .OCIv1.Config.Cmd}}{{println .}}{{end}}' \
            "$image" | grep .)
        # The network is the host's: a port of its own, and reachable from here alone.
        port=$(free_port)
        inner_port=$port
        b run --isolation chroot "$name" -- "${argv[@]}" --port "$port" >"$scratch/log" 2>&1 &
        server=$!
    }
    free_port() {
        local p
        while p=$((20000 + RANDOM % 20000)); (: >"/dev/tcp/127.0.0.1/$p") 2>/dev/null; do :; done
        echo "$p"
    }
    inside() { b run --isolation chroot "$name" -- "$@"; }
    logs() { cat "$scratch/log"; }
    process() { # the server, wherever it stands below buildah
        cat /proc/[0-9]*/stat 2>/dev/null | awk -v top="$server" '
            { pid = $1; comm = $0; sub(/^[^(]*[(]/, "", comm); sub(/[)][^)]*$/, "", comm)
              rest = $0; sub(/.*[)] . /, "", rest); split(rest, f, " "); parent[pid] = f[1]; name[pid] = comm }
            END { for (pid in name) if (name[pid] ~ /^darkmatter/)
                      for (up = pid; up in parent; up = parent[up]) if (up == top) print pid }'
    }
    stop() {
        kill -TERM "$(process)" || return
        timeout 20 tail --pid="$server" -f /dev/null && wait "$server"
    }
    stop_and_remove() {
        # shellcheck disable=SC2046 # none, one or several
        [ -z "$server" ] || kill -KILL $(process) "$server"
        b rm "$name" "$name-base"
        b rmi --prune
    }
    health_command() { b inspect --type image --format '{{.Docker.Config.Healthcheck.Test}}' "$image"; }
    megabytes() {
        b from --pull-never --name "$name-base" "$base" >/dev/null || return
        local whole part
        whole=$(du -s -B1 --apparent-size "$(b mount "$name")" | cut -f1) || return
        part=$(du -s -B1 --apparent-size "$(b mount "$name-base")" | cut -f1) || return
        echo $(((whole - part) / 1000000))
    }
}

# --- what is checked --------------------------------------------------------------------------
answers_health() {
    local tries
    for ((tries = 0; tries < 120; tries++)); do
        curl -sf -m 2 "http://127.0.0.1:$port/health" && return
        [ -z "$server" ] || kill -0 "$server" 2>/dev/null || break
        sleep 0.5
    done
    logs
    return 1
}
post() { curl -s -m 60 -w '\nstatus %{http_code}\n' -H 'content-type: application/json' -d "$2" "http://127.0.0.1:$port$1"; }
tokenizes() {
    post /v1/tokenize '{"model": "gemma-2-demo", "text": "there is"}' >"$scratch/reply"
    cat "$scratch/reply"
    grep -q '^status 200$' "$scratch/reply" && grep -qE '"tokens": ?\[2, ?[0-9]+' "$scratch/reply"
}
activates() {
    post /v1/activation/single '{"model": "gemma-2-demo", "source": "2-gemmascope-res-2k", "index": "140",
        "prompt": "And there was"}' >"$scratch/reply"
    cat "$scratch/reply"
    grep -q '^status 200$' "$scratch/reply" && grep -qE '"max_value": ?8\.5' "$scratch/reply" &&
        grep -qE '"max_value_index": ?1\b' "$scratch/reply"
}
not_root() { # the owner of the listening socket
    inside cat /proc/net/tcp /proc/net/tcp6 >"$scratch/tcp"
    awk -v port="$(printf ':%04X' "$inner_port")" '
        $4 == "0A" && substr($2, length($2) - 4) == port { found = 1; print "uid", $8; if ($8 == 0) root = 1 }
        END { exit !found || root }' "$scratch/tcp"
}
keeps_database() { inside ls -ln /data && inside test -s /data/darkmatter.db; }
declares_health() { health_command | tee /dev/stderr | grep -q 'darkmatter health'; }
is_small() { ((size > 0 && size <= LIMIT_MB)); }

if docker info >/dev/null 2>&1; then
    docker_functions
elif ((EUID != 0)); then
    rm -rf "$scratch"
    exec sudo --preserve-env=DARKMATTER_CONTAINERS,http_proxy,https_proxy,no_proxy "$0" "$@"
else
    tools/deps.sh container || exit
    buildah_functions
    mkdir -p "$store"
    exec 9>"$store/lock"
    flock 9 # one at a time: the image's name is shared
fi

trap finish EXIT
trap 'exit 1' INT TERM
check "the image builds" build || exit
start
check "GET /health answers" answers_health || exit
check "POST /v1/tokenize answers" tokenizes
check "POST /v1/activation/single finds feature 140 on \"there\"" activates
check "the server does not run as root" not_root
check "darkmatter health says so in the container" inside darkmatter health --port "$inner_port"
check "the image declares its health check" declares_health
check "the database lies in /data" keeps_database
check "SIGTERM ends it with status 0" stop
size=$(megabytes)
check "$size MB on top of the base, at most $LIMIT_MB" is_small
