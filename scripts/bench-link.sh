#!/bin/bash
# A docker-registry that counts what it sends, on loopback and behind a link of 20 ms and 200 Mbit/s. Root; everything stays
# on this machine.
#
#   scripts/bench-link.sh up|down            starts and stops both; storage and logs are in $BENCH_DIR
#   scripts/bench-link.sh registry [slow]    prints HOST:PORT of the plain or of the slow registry
#   scripts/bench-link.sh run fast|slow CMD  runs CMD where that registry is reachable
#   scripts/bench-link.sh mark fast|slow     the present number of lines of its access log
#   scripts/bench-link.sh bytes fast|slow N  requests and bytes (headers included) that it answered since line N
#
# nginx in front of docker-registry serves blobs from the registry's storage with sendfile, as a CDN would, and passes on
# everything else. The slow link needs no sch_netem, which not every kernel has: two fresh network namespaces that reach
# nothing else, joined by native/netdelay.c (real TCP, so handshakes and slow start cost what they cost) and a tbf qdisc.
# RATE (200mbit), RTT_MS (20) and PORT (5210) may be set.
set -euo pipefail
cd "$(dirname "$0")/.."

dir=${BENCH_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/lazymount-bench}
net=$dir/net
rate=${RATE:-200mbit}
rtt_ms=${RTT_MS:-20}
port=${PORT:-5210}
server=lazymount-server
client=lazymount-client
fast=127.0.0.1:$port
slow=198.18.0.2:$port # RFC 2544's range for benchmarks, inside the namespaces only

alive() { [ -f "$net/$1.pid" ] && readlink "/proc/$(cat "$net/$1.pid")/exe" >/dev/null; } # false for a zombie
configuration() { # NAME LISTEN
  cat <<NGINX
user root; worker_processes 1; pid $net/$1.pid; error_log $net/$1.err warn; daemon on;
events { worker_connections 512; }
http {
  sendfile on; tcp_nopush on; keepalive_timeout 65s; keepalive_requests 100000;
  client_max_body_size 0; proxy_request_buffering off; proxy_buffering off;
  proxy_temp_path $net/tmp; client_body_temp_path $net/tmp; fastcgi_temp_path $net/tmp; uwsgi_temp_path $net/tmp; scgi_temp_path $net/tmp;
  log_format counted '\$msec \$request_method \$uri \$status \$bytes_sent "\$http_range" \$request_time \$connection';
  access_log $net/$1.log counted;
  server {
    listen $2;
    proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host \$http_host;
    location / { proxy_pass http://unix:$net/registry.sock:; }
    location ~ "^/v2/.+/blobs/sha256:([0-9a-f]{2})([0-9a-f]{62})\$" {
      if (\$request_method != GET) { proxy_pass http://unix:$net/registry.sock:; }
      default_type application/octet-stream; etag off;
      add_header Docker-Content-Digest sha256:\$1\$2;
      alias $dir/registry/docker/registry/v2/blobs/sha256/\$1/\$1\$2/data;
    }
  }
}
NGINX
}

case ${1:-} in
up)
  scripts/install-packages.sh docker-registry gcc iproute2 libc6-dev nginx-light util-linux
  mkdir -p "$net/tmp" "$dir/registry"
  if ! alive registry; then
    rm -f "$net/registry.sock"
    printf 'version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %s}, delete: {enabled: true}}\nhttp: {net: unix, addr: %s}\n' \
      "$dir/registry" "$net/registry.sock" >"$net/registry.yml"
    setsid docker-registry serve "$net/registry.yml" >"$net/registry.log" 2>&1 </dev/null &
    echo $! >"$net/registry.pid"
    for _ in $(seq 50); do [ -S "$net/registry.sock" ] && break; sleep 0.1; done
  fi
  alive fast || { configuration fast "$fast" >"$net/fast.conf"; nginx -c "$net/fast.conf"; }
  if ! alive delay; then
    cc -O2 -pthread -o "$net/netdelay" native/netdelay.c
    for name in $server $client; do
      ip netns add $name 2>/dev/null || true
      ip -n $name link set lo up
    done
    setsid "$net/netdelay" $server $client $((rtt_ms * 500)) >"$net/delay.log" 2>&1 </dev/null &
    echo $! >"$net/delay.pid"
    sleep 0.3
    ip -n $server addr add 198.18.0.2/30 dev lm0
    ip -n $client addr add 198.18.0.1/30 dev lm0
    for name in $server $client; do
      ip -n $name link set lm0 up txqueuelen 2000
      tc -n $name qdisc replace dev lm0 root tbf rate "$rate" burst 32kb latency 80ms
    done
  fi
  alive slow || { configuration slow "$slow" >"$net/slow.conf"; nsenter --net=/run/netns/$server nginx -c "$net/slow.conf"; }
  ;;
down)
  for name in slow fast registry delay; do
    ! alive $name || kill "$(cat "$net/$name.pid")"
    rm -f "$net/$name.pid"
  done
  for name in $server $client; do ip netns del $name 2>/dev/null || true; done
  ;;
registry) if [ "${2:-}" = slow ]; then echo "$slow"; else echo "$fast"; fi ;;
run)
  link=$2
  shift 2
  if [ "$link" = slow ]; then exec nsenter --net=/run/netns/$client "$@"; fi
  exec "$@"
  ;;
mark) wc -l <"$net/$2.log" ;;
bytes)
  sleep 0.2 # nginx writes a line when the answer is out
  tail -n +$(($3 + 1)) "$net/$2.log" | awk '{n++; b += $5} END {print n + 0, b + 0}'
  ;;
*)
  sed -n '2,16s/^# \{0,1\}//p' "$0"
  exit 2
  ;;
esac
