import { expect, test } from "bun:test";
import {
  chooseBackend,
  otherBackend,
} from "../../../../../src/kernel/dataplane/linux/netfilter.ts";

test("auto is iptables where its tools are, else nftables", () => {
  expect(chooseBackend("auto", () => true)).toBe("iptables");
  expect(chooseBackend("auto", () => false)).toBe("nftables");
});

test("a wish is never changed, whatever the host has", () => {
  expect(chooseBackend("iptables", () => false)).toBe("iptables");
  expect(chooseBackend("nftables", () => true)).toBe("nftables");
});

test("each backend has one other", () => {
  expect(otherBackend("iptables")).toBe("nftables");
  expect(otherBackend("nftables")).toBe("iptables");
});
