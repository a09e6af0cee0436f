import { expect, test } from "bun:test";
import { passLab } from "./lab.ts";

const bird = `router id 10.129.6.91;
protocol device {}
protocol static { ipv4; route 10.9.0.0/16 blackhole; }
protocol bgp r2 {
  local 10.129.6.91 as 64513; neighbor 10.129.6.92 as 64513;
  connect delay time 1; connect retry time 1;
  ipv4 { import all; export all; };
}
`;

/** Passive: gobgpd waits ten seconds before it connects by itself. */
const neighbor = (address: string) =>
  `[[neighbors]]
  [neighbors.config]
    neighbor-address = "${address}"
    peer-as = 64513
  [neighbors.transport.config]
    passive-mode = true
`;
const gobgp = `[global.config]
  as = 64513
  router-id = "10.129.6.92"
${neighbor("10.129.6.91")}${neighbor("10.129.6.93")}`;

const frr = `router bgp 64513
 bgp router-id 10.129.6.93
 no bgp network import-check
 neighbor 10.129.6.92 remote-as 64513
 neighbor 10.129.6.92 timers connect 1
 address-family ipv4 unicast
  network 10.8.0.0/16
 exit-address-family
`;

const router = (name: string, last: number, daemon: string, config: string) => ({
  name,
  addresses: [`10.129.6.${last}/24`],
  daemon,
  config,
});

test("routers run BIRD, gobgpd and FRR with their configurations and learn from each other", async () => {
  const { stdout } = await passLab({
    topology: {
      routers: [
        router("R1", 91, "bird", "r1.conf"),
        router("R2", 92, "gobgp", "r2.toml"),
        router("R3", 93, "frr", "r3.conf"),
      ],
    },
    files: { "r1.conf": bird, "r2.toml": gobgp, "r3.conf": frr },
    script: `
      echo "$LAB_ROUTERS"
      routes() { $LAB exec router-R2 gobgp global rib -j | jq -r 'keys[]' | sort | tr '\\n' ' '; }
      for i in $(seq 100); do test "$(routes)" = "10.8.0.0/16 10.9.0.0/16 " && break; sleep 0.3; done
      routes; echo
      $LAB exec router-R1 birdc show protocols | awk '$1 == "r2" { print $NF }'
      $LAB exec router-R3 vtysh -c 'show bgp summary json' | jq -r '.ipv4Unicast.peers["10.129.6.92"].state'
    `,
  });
  expect(stdout).toBe("R1 R2 R3\n10.8.0.0/16 10.9.0.0/16 \nEstablished\nEstablished\n");
});
