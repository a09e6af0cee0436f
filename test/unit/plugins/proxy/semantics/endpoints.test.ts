/** S1 to S6, S31 to S33 of Kubernetes' rules: which endpoints a Service has. */

import { expect, test } from "bun:test";
import { planService } from "../../../../../src/plugins/proxy/service-plan.ts";
import { at, eachStack, ipv4, type Pod } from "./stacks.ts";

const READY = { ready: true, serving: true, terminating: false };
const ENDING = { ready: false, serving: true, terminating: true };
const ENDED = { ready: false, serving: false, terminating: true };
const FAILING = { ready: false, serving: false, terminating: false };
const pod = (n: number, conditions: Pod["conditions"] = READY): Pod => ({ n, conditions });

eachStack("S1: slices of names, and of no address type that we know, serve nothing", (s) => {
  for (const addressType of ["FQDN", "IPvX", ""]) {
    const slices = s.slices([pod(1)], { addressType });
    s.expectEndpoints({ slices }, { clusterIP: "reject" });
  }
});

eachStack("S1: endpoints of one family never serve the other", (s) => {
  const slices = [...s.slices([pod(1)])].map((slice) => ({
    ...slice,
    addressType: slice.addressType === "IPv4" ? "IPv6" : "IPv4",
  }));
  s.expectEndpoints({ slices }, { clusterIP: "reject" });
});

eachStack(
  "S2: all slices of a Service are one list, and an endpoint in two of them is one",
  (s) => {
    const slices = [
      ...s.slices([pod(1), pod(2)]),
      ...s.slices([pod(2), pod(3)]),
      ...s.slices([]),
    ];
    s.expectEndpoints({ slices }, { clusterIP: [1, 2, 3], nodePort: [1, 2, 3] });
    s.expectEndpoints({ slices: slices.toReversed() }, { clusterIP: [1, 2, 3] });
  },
);

eachStack("S2: an endpoint that ends in one slice and is ready in the other is ready", (s) => {
  const slices = [...s.slices([pod(1, ENDING)]), ...s.slices([pod(1)])];
  s.expectEndpoints({ slices }, { clusterIP: [1] });
});

eachStack("S3: conditions that are not said are ready, serving and not terminating", (s) => {
  for (const conditions of [{}, { ready: true }, { serving: true }, { terminating: false }]) {
    s.expectEndpoints({ pods: [pod(1, conditions), pod(2)] }, { clusterIP: [1, 2] });
  }
  s.expectEndpoints({ pods: [pod(1, { terminating: true })] }, { clusterIP: [1] });
  s.expectEndpoints({ pods: [pod(1, { terminating: true }), pod(2)] }, { clusterIP: [2] });
});

eachStack("S4: the ready ones, else those that end and still serve, never one that fails", (s) => {
  const table: readonly (readonly [readonly Pod[], readonly number[] | "reject"])[] = [
    [[pod(1), pod(2), pod(3, ENDING), pod(4, FAILING)], [1, 2]],
    [[pod(1, ENDING), pod(2, ENDING), pod(3, FAILING)], [1, 2]],
    [[pod(1, ENDING), pod(2, ENDED)], [1]],
    [[pod(1, ENDED), pod(2, FAILING)], "reject"],
    [[], "reject"],
  ];
  for (const [pods, wanted] of table) {
    s.expectEndpoints({ pods }, { clusterIP: wanted, externalIP: wanted, loadBalancer: wanted });
  }
});

eachStack(
  "S4: inside the scope of the policy: a local one that ends goes before a remote ready one",
  (s) => {
    s.expectEndpoints({
      service: { externalTrafficPolicy: "Local" },
      pods: [{ ...pod(1, ENDING), nodeName: "one" }, { ...pod(2), nodeName: "two" }],
    }, { clusterIP: [2], nodePort: [1], loadBalancer: [1] });
  },
);

eachStack("S5: what a health check must know is in the plan: which endpoints end", (s) => {
  const plan = planService(s.service(), s.slices([pod(1, ENDING)]), s.context());
  for (const { endpoints } of plan.frontends) {
    expect(endpoints.map(({ of }) => of.conditions.terminating)).toEqual([true]);
  }
});

eachStack("S6: publishNotReadyAddresses keeps what ends among the ready ones", (s) => {
  const pods = [pod(1, { ready: true, serving: false, terminating: true }), pod(2)];
  s.expectEndpoints({ pods }, { clusterIP: [2] });
  s.expectEndpoints({ service: { publishNotReadyAddresses: true }, pods }, { clusterIP: [1, 2] });
});

eachStack("S31: one port may have another number in each slice, and no name", (s) => {
  const slices = [
    ...s.slices([pod(1)], { ports: [{ name: "", port: 8080 }] }),
    ...s.slices([pod(2)], { ports: [{ name: "", port: 9090 }] }),
    ...s.slices([pod(3)], { ports: [{ name: "other", port: 8080 }] }),
  ];
  const plan = planService(s.service({ ports: [{ name: "" }] }), slices, s.context());
  const first = plan.frontends[0];
  expect(first?.endpoints.map(({ port }) => port)).toEqual([8080, 9090]);
});

eachStack("S31: ports without a number, and slices without ports, are ignored", (s) => {
  const numberless = s.slices([pod(1)]).map((slice) => ({
    ...slice,
    ports: [{ name: "http", protocol: "TCP" }],
  }));
  s.expectEndpoints({ slices: numberless }, { clusterIP: "reject" });
  s.expectEndpoints({ slices: s.slices([pod(1)], { ports: [] }) }, { clusterIP: "reject" });
});

eachStack("S32: the addresses of one endpoint are one endpoint: the first", (s) => {
  const slices = s.slices([]).map((slice, i) => {
    const family = s.families[i] ?? 4;
    return {
      ...slice,
      endpoints: [{ addresses: [at(family, "pod", 7), at(family, "pod", 8)], conditions: {} }],
    };
  });
  s.expectEndpoints({ slices }, { clusterIP: [7] });
});

test("S33: odd spellings are one address, and what is none is left out", () => {
  for (const odd of ["010.001.000.007", "::ffff:10.1.0.7", "::FFFF:a01:7"]) {
    expect(endpointsOf(odd)).toEqual(["10.1.0.7"]);
  }
  for (const none of ["", "10.1.0", "10.1.0.256", "fe80::1%eth0", "example.org"]) {
    expect(endpointsOf(none)).toEqual([]);
  }
});

/** What a slice of one endpoint with this address gives. */
function endpointsOf(address: string): readonly string[] {
  const slices = ipv4.slices([]).map((slice) => ({
    ...slice,
    endpoints: [{ addresses: [address], conditions: {} }],
  }));
  const plan = planService(ipv4.service(), slices, ipv4.context());
  return plan.frontends[0]?.endpoints.map((e) => e.address) ?? ["no frontend"];
}
