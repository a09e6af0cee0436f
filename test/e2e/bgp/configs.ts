/** What the daemons of `World` are configured as, and how our speaker peers with them: BIRD on link 1, GoBGP on 2, FRR on 3. */

export const bird = (bgp: string, channels: string, more = "") =>
  `${more}
protocol static s4 { ipv4; route 10.1.0.0/24 blackhole; route 10.1.1.0/24 blackhole; }
protocol bgp sp {
  connect retry time 1; connect delay time 1; error wait time 1, 2;
  ${bgp}
  ${channels}
}`;
export const BIRD_4 = "local 198.18.1.2 as 65001; neighbor 198.18.1.1 as 65000;";
export const BIRD_STATIC = "ipv4 { import all; export where source = RTS_STATIC; };";

export const frr = (lines: readonly string[], family4: readonly string[] = [], as = 65003) =>
  `router bgp ${as}
 bgp router-id 10.255.0.3
 no bgp ebgp-requires-policy
 no bgp network import-check
 neighbor 198.18.3.1 remote-as 65000
 neighbor 198.18.3.1 timers connect 1
${lines.map((line) => ` ${line}\n`).join("")} address-family ipv4 unicast
  network 10.3.0.0/24
${family4.map((line) => `  ${line}\n`).join("")} exit-address-family`;

export const gobgp = (more: { readonly global?: string; readonly neighbor?: string } = {}) =>
  `[global.config]
  as = 4200000002
  router-id = "10.255.0.2"
${more.global ?? ""}
[[neighbors]]
  [neighbors.config]
    neighbor-address = "198.18.2.1"
    peer-as = 65000
  [neighbors.transport.config]
    passive-mode = true
    local-address = "198.18.2.2"
${more.neighbor ?? ""}
`;

export const TO_BIRD = { address: "198.18.1.2", asn: 65001, connectRetrySeconds: 1 };
export const TO_GOBGP = { address: "198.18.2.2", asn: 4200000002, connectRetrySeconds: 1 };
export const TO_FRR = { address: "198.18.3.2", asn: 65003, connectRetrySeconds: 1 };
