#!/usr/bin/env bash
# The layer check: includes point down only (the order below, lowest first), and each foreign library
# has one door. Prints "file: include: rule" for every violation.
set -euo pipefail
cd "$(dirname "$0")/.."

find core server -name '*.[ch]' -exec grep -HE '^[[:space:]]*#[[:space:]]*include' {} + | awk '
BEGIN {
    n = split("core/base core/formats core/math core/gemma core/sae core/lens core/dashboard core/engine " \
              "server/metrics server/store server/http server/work server/app server/v1 server/api " \
              "server/routes server/command server/main", order, " ")
    for (i = 1; i <= n; i++) rank[order[i]] = i
    door["microhttpd.h"] = "^server/http/"; door["sqlite3.h"] = "^server/store/"
    door["cjson/cJSON.h"] = "^core/base/json[.]h$"
}
function part(path,   p) { split(path, p, "/"); sub(/([.]|_.*[.])[ch]$/, "", p[2]); return p[1] "/" p[2] }
function wrong(rule) { print file ": " include ": " rule; bad = 1 }
{
    file = $0; sub(/:.*/, "", file)
    include = $0; sub(/^[^"<]*["<]/, "", include); sub(/[">].*/, "", include)
    from = part(file); to = part(include)
    if (!(from in rank)) wrong(from " has no place in the order of tools/layers.sh")
    else if (include in door) { if (file !~ door[include]) wrong("only " door[include] " may include it") }
    else if (include !~ /^(core|server)\//) { if ($0 ~ /include[[:space:]]*"/) wrong("name the path from the root") }
    else if (!(to in rank)) wrong(to " has no place in the order of tools/layers.sh")
    else if ((from == "server/store" || from == "server/http") && to != from && to != "core/base")
        wrong(from " includes core/base and itself only")
    else if (rank[to] > rank[from]) wrong("includes point down only: " to " is above " from)
}
END { exit bad }' >&2
