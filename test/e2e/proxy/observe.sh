#!/usr/bin/env bash
# Health check node ports, metrics by the names that dashboards know, health apart from liveness.
. "$(dirname "$0")/../agent/lib.sh"
on() { $LAB exec node-one "$@"; }

$LAB apply - <<'YAML'
apiVersion: v1
kind: Service
metadata: { name: balanced, namespace: default }
spec:
  type: LoadBalancer
  externalTrafficPolicy: Local
  healthCheckNodePort: 32555
  clusterIP: 10.96.5.1
  selector: { app: web }
  ports: [{ name: http, port: 80, targetPort: 8080, nodePort: 30555 }]
YAML
settle
check() { # check ADDRESS: status, weight and body of the health check
  $LAB exec client-outside curl -gs --max-time 3 -D "$LAB_OUT/head" -o "$LAB_OUT/body" -w '%{http_code} ' "http://$1:32555/healthz"
  grep -i '^x-load-balancing-endpoint-weight' "$LAB_OUT/head" | tr -d '\r' | cut -d' ' -f2
}
for address in 192.168.50.11 "[fd00:50::11]"; do
  expect "the health check at $address finds the one local endpoint" "$(check "$address")" "200 1"
done
expect "its body is kube-proxy's" "$(cat "$LAB_OUT/body")" \
  '{"service":{"namespace":"default","name":"balanced"},"localEndpoints":1,"serviceProxyHealthy":true}'

printf 'apiVersion: v1\nkind: Pod\nmetadata: { name: web-1, namespace: default }\n' | $LAB delete -
settle
expect "without a local endpoint it answers 503" "$(check 192.168.50.11)" "503 0"
printf 'apiVersion: v1\nkind: Service\nmetadata: { name: balanced, namespace: default }\n' | $LAB delete -
settle
$LAB exec client-outside curl -s --max-time 3 http://192.168.50.11:32555/healthz && fail "the port is closed with its Service" ""
pass "the port is closed with its Service"

probe_all pod-default-client TCP 8 10.96.1.1 80 >/dev/null
# Linux adds its counters up every two seconds.
for _ in $(seq 40); do
  metrics=$(on curl -s http://127.0.0.1:20241/metrics)
  grep -qE '^kube_router_service_total_connections\{.*service_vip="10.96.1.1",protocol="tcp".*\} [1-9]' <<<"$metrics" && break
  sleep 0.25
done
has() { # has DESCRIPTION PATTERN
  grep -qE -- "$2" <<<"$metrics" || fail "$1" "$metrics"
  pass "$1"
}
has "a Service's connections are counted by kube-router's name and labels" \
  '^kube_router_service_total_connections\{svc_namespace="default",service_name="web",service_vip="10.96.1.1",protocol="tcp",port="80"\} [1-9]'
has "IPv6 node ports are counted as well" 'kube_router_service_bytes_in\{.*service_vip="fd00:50::11",protocol="tcp",port="30080"\}'
has "the number of IPVS services is there" '^kube_router_controller_ipvs_services [1-9]'
has "sync times are there by kube-router's name" '^kube_router_controller_ipvs_services_sync_time_count [1-9]'
has "and by kube-proxy's" '^kubeproxy_sync_proxy_rules_duration_seconds_count [1-9]'
has "the last sync has a time" '^kubeproxy_sync_proxy_rules_last_timestamp_seconds [1-9]'
has "programming latency is measured" '^kubeproxy_network_programming_duration_seconds_count '

code() { on curl -s -o "$LAB_OUT/health" -w '%{http_code}' "http://127.0.0.1:20244$1"; }
expect "a node that works is healthy" "$(code /healthz)" "200"
$LAB apply - <<'YAML'
apiVersion: v1
kind: Node
metadata: { name: one }
spec: { taints: [{ key: ToBeDeletedByClusterAutoscaler, effect: NoSchedule }] }
YAML
settle
expect "a node that the autoscaler removes is not healthy" "$(code /healthz)" "500"
grep -q ToBeDeletedByClusterAutoscaler "$LAB_OUT/health" || fail "it says why" "$(cat "$LAB_OUT/health")"
pass "it says why"
expect "but alive" "$(code /livez)" "200"
expect "and ready" "$(code /readyz)" "200"
