import { expect, test } from "bun:test";
import { ALL_PORTS, ASK, pod, PODS, TOPOLOGY } from "./lab-cluster.ts";
import { passLab } from "./lab.ts";

const get = (path: string) => `curl -s -H "Authorization: Bearer $LAB_TOKEN" "$LAB_API${path}"`;

test("a pod is up when apply returns, replaced when it changes, gone when it ends", async () => {
  const { stdout } = await passLab({
    topology: TOPOLOGY,
    files: {
      "pods.yaml": PODS,
      "new.json": [pod("new", "n2", ["10.244.2.20", "fd00:244:2::20"])],
      "moved.json": [pod("new", "n3", ["10.244.3.20"], { ports: [{ containerPort: 81 }] })],
      "ended.json": [pod("new", "n3", ["10.244.3.20"], { status: { phase: "Succeeded" } })],
      "heir.json": [pod("heir", "n1", ["10.244.1.11", "fd00:244:1::11"], { ports: ALL_PORTS })],
      "b.json": [pod("b", "n1", ["10.244.1.11"])],
      "host.json": [pod("host", "n1", ["192.168.50.11"], { spec: { hostNetwork: true } })],
      "later.json": [pod("later", "n1", [])],
      "elsewhere.json": [pod("elsewhere", "n1", ["172.31.0.7"])],
    },
    script: `${ASK}
      $LAB apply new.json; ask pod-default-a 10.244.2.20 80; ask pod-default-a fd00:244:2::20 80
      $LAB apply moved.json; ask pod-default-a 10.244.3.20 81; ask pod-default-a 10.244.3.20 80
      $LAB apply ended.json; $LAB exec pod-default-new true || echo "gone $?"
      echo "the address of b, known to its neighbours, goes to another pod:"
      ask pod-default-a 10.244.1.11 80; ask pod-default-a fd00:244:1::11 80
      $LAB delete b.json; $LAB apply heir.json
      ask pod-default-a 10.244.1.11 80 TCP 400; ask pod-default-a fd00:244:1::11 80 TCP 400
      ask node-n1 10.244.1.11 53 UDP 400
      $LAB apply host.json; ask pod-default-c 192.168.50.11 80
      $LAB delete host.json; ask pod-default-c 192.168.50.11 80
      $LAB apply later.json; $LAB exec pod-default-later true || echo "no address yet $?"
      $LAB apply elsewhere.json; ask node-n1 172.31.0.7 80
      $LAB delete b.json || echo "not there $?"
    `,
  });
  expect(stdout).toBe(`default/new 10.244.2.20 10.244.1.10
default/new fd00:244:2::20 fd00:244:1::10
default/new 10.244.3.20 10.244.1.10
refused
gone 125
the address of b, known to its neighbours, goes to another pod:
default/b 10.244.1.11 10.244.1.10
default/b fd00:244:1::11 fd00:244:1::10
default/heir 10.244.1.11 10.244.1.10
default/heir fd00:244:1::11 fd00:244:1::10
default/heir 10.244.1.11 10.244.1.1
default/host 192.168.50.11 10.244.2.10
refused
no address yet 125
default/elsewhere 172.31.0.7 10.244.1.1
not there 1
`);
});

test("objects come as documents, lists and JSON; Nodes are merged; namespaces take their content along", async () => {
  const { stdout, stderr } = await passLab({
    topology: TOPOLOGY,
    files: { "pods.yaml": PODS },
    script: `${ASK}
      cat >many.yaml <<'Y'
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: null}
---
# an empty document follows
---
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Pod
  metadata: {name: till, namespace: shop, labels: {app: till}}
  spec: {nodeName: n2, containers: [{name: c, ports: [{containerPort: 80}]}]}
  status: {podIP: 10.244.2.30}
- apiVersion: v1
  kind: Service
  metadata: {name: till, namespace: shop}
  spec: {clusterIP: 10.96.1.1, selector: {app: till}, ports: [{port: 80}]}
Y
      $LAB apply many.yaml
      ${get("/api/v1/namespaces/shop")} | jq -c .metadata.labels
      ${
      get("/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices")
    } | jq -c '.items[].endpoints[].addresses'
      ask pod-default-a 10.244.2.30 80
      echo '{"apiVersion":"v1","kind":"Node","metadata":{"name":"n1","labels":{"zone":"a"}},"spec":{"taints":[{"key":"x","effect":"NoSchedule"}]}}' | $LAB apply -
      ${
      get("/api/v1/nodes/n1")
    } | jq -c '[.metadata.labels["zone"], .metadata.labels["kubernetes.io/hostname"], .spec.podCIDR, .spec.taints[0].key, .status.addresses[0].address]'
      echo '{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"shop"}}' | $LAB delete -
      ${get("/api/v1/services")} | jq -c '[.items[].metadata.name]'
      $LAB exec pod-shop-till true || echo "gone $?"
      printf '%s\\n---\\n%s\\n' \\
        '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"c","namespace":"a-b"},"spec":{"nodeName":"n1","containers":[]},"status":{"podIP":"10.244.1.40"}}' \\
        '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"b-c","namespace":"a"},"spec":{"nodeName":"n1","containers":[]},"status":{"podIP":"10.244.1.41"}}' |
        $LAB apply - || echo "clash $?"
      $LAB exec pod-a-b-c ip -4 -br a show eth0 | grep -o '10.244.1.4.'
    `,
  });
  expect(stdout).toBe(`{"kubernetes.io/metadata.name":"shop"}
["10.244.2.30"]
shop/till 10.244.2.30 10.244.1.10
["a","n1","10.244.1.0/24","x","192.168.50.11"]
[]
gone 125
clash 1
10.244.1.40
`);
  expect(stderr).toContain(
    'Pod "a/b-c" is refused: pod "a-b/c" has the namespace "pod-a-b-c" already',
  );
});
