#!/bin/sh
# The simple load: wrk -> rouse serve (private Postgres, durable) -> rouse simulate, all on this machine over loopback.
# Prints rate, accept latency, CPU per delivery of Rouse and of Postgres, WAL per delivery, and peak memory.
# Usage: bench/simple.sh [CONNECTIONS] [SECONDS] [USERS]. Needs wrk, curl, psql and a release build.
# Environment: VENDOR (xiaomi, or apns: TLS and HTTP/2), VENDOR_LATENCY_MS (0), APP_SETTINGS (JSON of the app's settings: what
# counting costs), and for apns APNS_CONNECTIONS (2) and APNS_STREAMS (500, of each connection).
set -eu
cd -- "$(dirname -- "$0")/.."
connections=${1:-64} seconds=${2:-20} users=${3:-10000}
vendor=${VENDOR:-xiaomi} latency_ms=${VENDOR_LATENCY_MS:-0}
rouse=${CARGO_TARGET_DIR:-target}/release/rouse
home=$(mktemp -d)
sim_pid='' serve_pid=''
cleanup() {
    [ -z "$serve_pid" ] || { kill "$serve_pid" && wait "$serve_pid" || :; }
    [ -z "$sim_pid" ] || kill "$sim_pid" || :
    rm -rf -- "$home" "$home.pem"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

"$rouse" simulate --listen 127.0.0.1:7390 --apns-listen 127.0.0.1:7391 --apns-sandbox-listen 127.0.0.1:7392 \
    --ca-file "$home.pem" --app bench-secret=com.example.bench --latency-ms "$latency_ms" --counters-only >/dev/null &
sim_pid=$!
for _ in $(seq 100); do
    [ -s "$home.pem" ] && break
    sleep 0.1
done
ROUSE_EMBEDDED__DATA_DIR=$home ROUSE_SERVER__LISTEN=127.0.0.1:8390 ROUSE_VENDORS__XIAOMI__CN=http://127.0.0.1:7390 \
    ROUSE_VENDORS__APNS__PRODUCTION=https://127.0.0.1:7391 ROUSE_VENDORS__EXTRA_CA_FILE=$home.pem \
    ROUSE_VENDORS__APNS__CONNECTIONS=${APNS_CONNECTIONS:-2} ROUSE_VENDORS__APNS__STREAMS_PER_CONNECTION=${APNS_STREAMS:-500} \
    ROUSE_LOG__FILTER=warn ROUSE_DISPATCH__LANE_CAPACITY=50000 "$rouse" serve 2>"$home/serve.log" &
serve_pid=$!
api=http://127.0.0.1:8390
for _ in $(seq 100); do
    curl -fs $api/readyz >/dev/null 2>&1 && break
    sleep 0.1
done
key=$(grep -o 'rouse_[A-Za-z0-9_-]*' "$home/serve.log" | head -n 1)
call() {
    curl -fsS -o /dev/null -H "Authorization: Bearer $key" -H 'Content-Type: application/json' "$api$1" -d "$2"
}
settings='{}'
[ -z "${APP_SETTINGS:-}" ] || settings=$APP_SETTINGS
call /v1/apps '{"app_id":1,"name":"bench","settings":'"$settings"'}'
if [ "$vendor" = apns ]; then
    key_p8=$(openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 | awk '{ printf "%s\\n", $0 }')
    call /v1/apps/1/certificates '{"vendor":"apns","certificate_id":1,"topic":"com.example.bench","environment":"production","key_id":"BENCHKEY01","team_id":"BENCHTEAM1","key_p8":"'"$key_p8"'"}'
    platform=ios token=%064d
    sim() { curl -fs --cacert "$home.pem" "https://127.0.0.1:7391/_sim/$1"; }
else
    call /v1/apps/1/certificates '{"vendor":"xiaomi","certificate_id":1,"package_name":"com.example.bench","app_id":"1","app_secret":"bench-secret","rate_limit":100000}'
    platform=android token=token-%032d
    sim() { curl -fs "http://127.0.0.1:7390/_sim/$1"; }
fi
received() { sim state | sed 's/.*"received":\([0-9]*\).*/\1/'; }
now=$(date +%s)000
user=1
while [ $user -le "$users" ]; do
    awk -v first=$user -v last="$users" -v now="$now" -v platform=$platform -v token=$token 'BEGIN {
        printf "{\"events\":["
        for (u = first; u < first + 500 && u <= last; u++) {
            head = sprintf("\"user_id\":\"user-%d\",\"device_id\":\"phone-%d\",\"platform\":\"%s\",\"event_time\":%s", u, u, platform, now)
            printf "%s{%s,\"type\":\"login\",\"certificate_id\":1,\"token\":\"" token "\"},{%s,\"type\":\"disconnect\"}", (u > first ? "," : ""), head, u, head
        }
        print "]}"
    }' > "$home/events.json"
    call /v1/apps/1/session-events "@$home/events.json"
    user=$((user + 500))
done

postmaster=$(head -n 1 "$home/postgres/data/postmaster.pid")
ticks() { # CPU of a process and its children that ended, in clock ticks
    awk '{ sub(/^.*\) /, ""); print $12 + $13 + $14 + $15 }' "/proc/$1/stat" 2>/dev/null || echo 0
}
postgres_ticks() {
    total=$(ticks "$postmaster")
    for pid in $(pgrep -P "$postmaster"); do total=$((total + $(ticks "$pid"))); done
    echo $total
}
sql() { psql -qAt -h "$home/postgres" -U rouse rouse -c "$1"; }

export BENCH_KEY="$key" BENCH_APP=1 BENCH_USERS="$users"
wrk -t 2 -c "$connections" -d 3s -s bench/notify.lua $api >/dev/null # warm up
lsn=$(sql 'SELECT pg_current_wal_lsn()') rouse_before=$(ticks $serve_pid) postgres_before=$(postgres_ticks) sim_before=$(ticks $sim_pid) received_before=$(received)
line=$(wrk -t 2 -c "$connections" -d "${seconds}s" --latency -s bench/notify.lua $api | grep '^BENCH')
rouse_after=$(ticks $serve_pid) postgres_after=$(postgres_ticks) sim_after=$(ticks $sim_pid) received_after=$(received)
wal=$(sql "SELECT pg_current_wal_lsn() - '$lsn'")
sleep 2
left=$(sql 'SELECT count(*) FROM deliveries')
accepted=$(echo "$line" | sed 's/.*accepted=\([0-9]*\).*/\1/')
peak=$(awk '/VmHWM/ { print int($2 / 1024) }' "/proc/$serve_pid/status")
hz=$(getconf CLK_TCK)
awk -v line="${line#BENCH }" -v n="$accepted" -v hz="$hz" -v r=$((rouse_after - rouse_before)) -v p=$((postgres_after - postgres_before)) \
    -v s=$((sim_after - sim_before)) -v wal="$wal" -v peak="$peak" -v left="$left" -v c="$connections" -v got=$((received_after - received_before)) -v t="$seconds" 'BEGIN {
    printf "connections=%d %s\ncpu_us rouse=%.0f postgres=%.0f simulator=%.0f  wal_bytes=%.0f  rss_peak_mb=%d  left=%d  vendor_rate=%.0f\n",
        c, line, r / hz / n * 1e6, p / hz / n * 1e6, s / hz / n * 1e6, wal / n, peak, left, got / t }'
