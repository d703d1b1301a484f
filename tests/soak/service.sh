#!/usr/bin/env bash
# tests/soak/service.sh: boots systemd as process 1 of namespaces of its own, over a copy of this system
# that is thrown away, starts tools/darkmatter.service there on the demo and looks at it: who it is, what
# it can write, whether it answers, comes back after a SIGKILL and stops. Needs root, systemd and overlayfs.
# shellcheck disable=SC2317 # functions that `check` and the trap call
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1

name="systemd runs tools/darkmatter.service"
here=$(mktemp -d)
passed=0 failed=0
check() { # SENTENCE COMMAND...
    local sentence=$1
    shift
    if "$@" >>"$here/said" 2>&1; then
        echo "  ok      $sentence"
        passed=$((passed + 1))
    else
        echo "  FAILED  $sentence"
        tail -n 5 "$here/said"
        failed=$((failed + 1))
    fi
}
finish() {
    echo "$passed passed, $failed failed${1:+, $1 skipped}"
    exit $((failed > 0))
}

cat >"$here/boot.sh" <<'BOOT'
set -e
here=$1 checkout=$2 root=$1/disk/root
mount --make-rprivate /
mkdir "$here/disk" && mount -t tmpfs -o size=600m tmpfs "$here/disk"
mkdir "$here/disk/upper" "$here/disk/work" "$root"
mount -t overlay -o "lowerdir=/,upperdir=$here/disk/upper,workdir=$here/disk/work" overlay "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
for folder in run tmp dev sys/fs/cgroup; do mount -t tmpfs -o mode=755 tmpfs "$root/$folder"; done
chmod 1777 "$root/tmp"
for device in null zero full random urandom tty; do
    touch "$root/dev/$device" && mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/shm" "$root/dev/pts" "$root/sys/fs/cgroup/systemd"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
mount -t cgroup -o none,name=systemd cgroup "$root/sys/fs/cgroup/systemd" 2>/dev/null ||
    { umount "$root/sys/fs/cgroup"; mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"; }
units=$root/etc/systemd/system
rm -rf "${units:?}"/* "$root/opt/darkmatter"
mkdir -p "$units" "$root/opt/darkmatter"
for part in static migrations golden demo; do cp -r "$checkout/$part" "$root/opt/darkmatter/"; done
cp -L "$checkout/darkmatter" "$root/opt/darkmatter/"
sed 's, --model [^ ]* --saes [^ ]*,,' "$checkout/tools/darkmatter.service" >"$units/darkmatter.service"
printf '[Unit]\nDefaultDependencies=no\nRequires=darkmatter.service\n' >"$units/try.target"
: >"$root/etc/machine-id"
install -m 600 /dev/stdin "$root/etc/darkmatter.env" <<<'DARKMATTER_SECRET=unit-secret'
mkdir "$root/old" && cd "$root" && pivot_root . old && umount -l /old
exec env -i container=other PATH="$PATH" /lib/systemd/systemd --system --unit=try.target --show-status=no
BOOT

if ((EUID != 0)) || ! [ -x /lib/systemd/systemd ]; then
    echo "  skipped $name (needs root and systemd)"
    rm -rf "$here"
    finish 1
fi
unshare --mount --pid --fork --uts --ipc --net --cgroup bash "$here/boot.sh" "$here" "$PWD" >"$here/boot.log" 2>&1 &
outer=$!
stop() {
    pkill -KILL -P "$outer" 2>/dev/null # process 1 of the namespace, and with it all that is there
    wait "$outer" 2>/dev/null
    rm -rf "$here"
}
trap stop EXIT

first=
inside() { nsenter -t "$first" -a "$@"; }
main() { inside systemctl show -p MainPID --value darkmatter; }
answers() { # PATH STATUS [CURL FLAGS...]
    [ "$(inside curl -s -o /dev/null -w '%{http_code}' "${@:3}" "http://127.0.0.1:5002$1")" = "$2" ]
}
healthy() {
    for _ in $(seq 300); do
        first=$(pgrep -P "$outer" | head -n 1)
        [ -n "$first" ] && answers /health 200 && return 0
        kill -0 "$outer" 2>/dev/null || return 1
        sleep 0.2
    done
    return 1
}
if ! healthy 2>/dev/null; then
    if [ -z "$first" ] || ! inside systemctl show darkmatter >/dev/null 2>&1; then
        echo "  skipped $name (namespaces or overlayfs: $(tail -n 1 "$here/boot.log"))"
        finish 1
    fi
    inside journalctl --no-pager -n 20 -u darkmatter
    echo "  FAILED  $name: it does not answer"
    failed=1
    finish
fi

status() { inside grep -E "^$1:" "/proc/$(main)/status" | cut -f 2-; }
secret=(-H 'X-SECRET-KEY: unit-secret')
ask='{"prompt": "In the beginning", "source": "2-gemmascope-res-2k", "index": "140"}'
can_write() { # FOLDER, as the service sees it
    inside nsenter -t "$(main)" -m sh -c "touch $1/x && rm $1/x"
}
only_its_folder() {
    for folder in /opt/darkmatter /etc /usr /var /home /root /srv; do
        ! can_write "$folder" || return 1
    done
    can_write /var/lib/darkmatter && can_write /tmp
}
no_rights() {
    [ "$(status Uid | cut -f 1)" -gt 60000 ] && [ "$(status CapEff)" = 0000000000000000 ] &&
        [ "$(status CapBnd)" = 0000000000000000 ] && [ "$(status NoNewPrivs)" = 1 ] && [ "$(status Seccomp)" = 2 ]
}
indexed() {
    for _ in $(seq 240); do
        inside curl -s "${secret[@]}" http://127.0.0.1:5002/v1/capabilities | grep -q '"state":"done"' && return 0
        sleep 0.5
    done
    return 1
}
comes_back() {
    inside kill -9 "$(main)" && sleep 0.5 && healthy && [ "$(inside systemctl show -p NRestarts --value darkmatter)" = 1 ]
}
stops() {
    inside systemctl stop darkmatter &&
        [ "$(inside systemctl show -p Result --value darkmatter)" = success ] &&
        [ "$(inside systemctl show -p ExecMainStatus --value darkmatter)" = 0 ] &&
        ! inside test -e /var/lib/darkmatter/darkmatter.db-wal
}
check "systemd ($(inside systemctl --version | head -n 1)) started it" test -n "$(main)"
check "a user of its own, no capability, no new privileges, system calls filtered" no_rights
check "it writes to its folder and a /tmp of its own, nowhere else" only_its_folder
check "it answers, and asks for the secret of /etc/darkmatter.env" answers /v1/tokenize 401 -d '{"text": "a"}'
check "the model computes" answers /v1/activation/single 200 "${secret[@]}" -d "$ask"
check "the demo is indexed, under its limits" indexed
check "after a SIGKILL it is started again" comes_back
check "and answers from the database" answers /v1/activation/single 200 "${secret[@]}" -d "$ask"
check "it stops with exit code 0 and one database file" stops
echo "  $(systemd-analyze security --offline=yes --no-pager tools/darkmatter.service 2>/dev/null | tail -n 1)"
finish
