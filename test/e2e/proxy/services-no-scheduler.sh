#!/usr/bin/env bash
# A scheduler that this Linux lacks: rr serves, the Service is told of, and the scheduler is taken when Linux has it.
. "$(dirname "$0")/services-lib.sh"

annotated() { # annotated ANNOTATIONS
  $LAB apply - <<YAML
apiVersion: v1
kind: Service
metadata: { name: annotated, namespace: default, annotations: { $1 } }
spec: { clusterIP: 10.96.5.1, selector: { app: web }, ports: [{ port: 80, targetPort: http }] }
YAML
  settle
}
line() { ipvs one | tr -s ' ' | grep -F "TCP 10.96.5.1:80" | sed 's/ $//'; }
now_ovf() { line | grep -q ovf; }

modprobe=$(cat /proc/sys/kernel/modprobe)
echo /bin/false >/proc/sys/kernel/modprobe
rmmod ip_vs_ovf 2>/dev/null || true
annotated 'kube-router.io/service.scheduler: ovf, kube-router.io/service.schedflags: ""'
expect "a new Service is served by rr" "$(line)" "TCP 10.96.5.1:80 rr"
reached "with all endpoints" pod-default-client TCP 10.96.5.1 80 "$BOTH"
problem "it is named with module and remedy" 'of service default/annotated.*scheduler "ovf".*modprobe ip_vs_ovf'
annotated 'kube-router.io/service.scheduler: lc'
expect "another scheduler is taken at once" "$(line)" "TCP 10.96.5.1:80 lc"
lacks "and nothing is wrong any more" sh -c '$LAB run one -- status | grep -q default/annotated'
annotated 'kube-router.io/service.scheduler: ovf'
expect "a Service that changes is served by rr" "$(line)" "TCP 10.96.5.1:80 rr"
$LAB agent restart one
settle
expect "and after a restart" "$(line)" "TCP 10.96.5.1:80 rr"
reached "with all endpoints" pod-default-client TCP 10.96.5.1 80 "$BOTH"
echo "$modprobe" >/proc/sys/kernel/modprobe
within 90 "the scheduler is taken when Linux has it" now_ovf
