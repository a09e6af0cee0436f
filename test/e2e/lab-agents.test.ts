import { expect, test } from "bun:test";
import { FAKE_AGENT } from "./lab-cluster.ts";
import { passLab } from "./lab.ts";

const TOPOLOGY = {
  flags: ["--run-router=false"],
  nodes: ["n1", "n2"].map((name, index) => ({
    name,
    addresses: [`192.168.50.${11 + index}/24`],
    podCIDRs: [`10.244.${1 + index}.0/24`],
    flags: [`--of=${name}`],
  })),
};

test("agents are stopped, started, killed and given new flags, each command ending when it is done", async () => {
  const { stdout, read } = await passLab({
    topology: TOPOLOGY,
    env: { ROUTELET: FAKE_AGENT },
    script: `
      alive() { $LAB exec node-$1 curl -s -o /dev/null http://127.0.0.1:20244/readyz && echo "$1 up" || echo "$1 down"; }
      alive n1; $LAB agent stop n1; alive n1; $LAB agent start n1; alive n1
      $LAB agent kill n1 n2; alive n1; alive n2
      $LAB wait && echo "nobody to wait for"
      $LAB agent flags n2 -- --other --flag; $LAB agent restart n1 n2; alive n1; alive n2
      $LAB agent logs n2
      $LAB agent start n1 || echo "twice $?"
      $LAB agent stop n9 || echo "unknown $?"
      $LAB run n1 -- plan --output json
      FAKE_STATUS=2 $LAB run n2 plan || echo "run $?"
      $LAB run n9 -- plan || echo "unknown $?"
    `,
  });
  const kubeconfig = "--kubeconfig=/run/lab/nodes/n2/kubeconfig";
  const flags = `${kubeconfig} --hostname-override=n2 --run-router=false`;
  expect(stdout).toBe(`n1 up
n1 down
n1 up
n1 down
n2 down
0
nobody to wait for
n1 up
n2 up
agent of n2 ${flags} --of=n2
agent of n2 ${flags} --other --flag
twice 1
unknown 1
ran plan --output json --kubeconfig=/run/lab/nodes/n1/kubeconfig on n1
ran plan ${kubeconfig} on n2
run 2
unknown 125
`);
  expect(read("agents/n1.log")).toContain("terminated\n");
});
