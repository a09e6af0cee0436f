import { expect, test } from "bun:test";
import { ASK, pod, PODS, TOPOLOGY } from "./lab-cluster.ts";
import { passLab } from "./lab.ts";

test("links are cut, restored and degraded in both directions", async () => {
  const { stdout } = await passLab({
    topology: TOPOLOGY,
    files: { "pods.yaml": PODS },
    script: `${ASK}
      ask pod-default-a 10.244.2.10 80 >/dev/null
      $LAB link node-n2 down; ask pod-default-a 10.244.2.10 80 TCP 300
      $LAB exec node-n2 ip -br link show eth0 | grep -o NO-CARRIER
      $LAB link node-n2 up; ask pod-default-a 10.244.2.10 80
      $LAB link pod-default-c down; ask pod-default-a 10.244.2.10 80 TCP 300
      $LAB link pod-default-c up; ask pod-default-a 10.244.2.10 80
      $LAB netem client-outside loss 100%; ask client-outside 10.244.2.10 80 TCP 300
      $LAB netem client-outside off; ask client-outside 10.244.2.10 80
      $LAB netem node-n1 delay 60ms
      echo '{"from":"node-n1","to":"10.244.2.10","port":80}' | $LAB probe | jq '.ms > 200'
      $LAB netem nobody delay 1ms || echo "unknown $?"
    `,
  });
  expect(stdout).toBe(`timeout
NO-CARRIER
default/c 10.244.2.10 10.244.1.10
timeout
default/c 10.244.2.10 10.244.1.10
timeout
default/c 10.244.2.10 192.168.50.99
true
unknown 1
`);
});

test("the API fails as told while the LAB's own commands go on", async () => {
  const { stdout } = await passLab({
    topology: TOPOLOGY,
    files: {
      "pods.yaml": PODS,
      "kubernetes.json": [{
        apiVersion: "discovery.k8s.io/v1",
        kind: "EndpointSlice",
        metadata: {
          name: "kubernetes",
          namespace: "default",
          labels: { "kubernetes.io/service-name": "kubernetes" },
        },
        addressType: "IPv4",
        endpoints: [{ addresses: ["192.168.50.11"] }],
        ports: [{ name: "https", port: 6443, protocol: "TCP" }],
      }],
      "new.json": [pod("new", "n2", ["10.244.2.20"])],
    },
    script: `${ASK}
      code() { $LAB exec node-n2 curl -sk -m 3 -o /dev/null -w '%{http_code}\\n' https://$1:6443/readyz; }
      code 192.168.50.254 || true
      code 192.168.50.11 || echo "not served there yet"
      $LAB apply kubernetes.json; code 192.168.50.11
      $LAB api fail 500 60; code 192.168.50.254; code 192.168.50.11
      $LAB api fail 429 60; code 192.168.50.254
      $LAB api fail down 60; code 192.168.50.254 || true; code 192.168.50.11 || true
      $LAB apply new.json; ask pod-default-a 10.244.2.20 80
      $LAB api fail drop; code 192.168.50.254
      $LAB api fail nonsense || echo "unknown $?"
    `,
  });
  expect(stdout).toBe(`200
000
not served there yet
200
500
500
429
000
000
default/new 10.244.2.20 10.244.1.10
200
unknown 1
`);
});
