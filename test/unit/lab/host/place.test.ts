import { expect, test } from "bun:test";
import { choosePlace, type Machine } from "../../../lab/host/place.ts";
import { type Need, readTopology } from "../../../lab/topology/topology.ts";

const UML = "/usr/bin/linux.uml";
const KERNEL = "/cache/linux";
const machine = (over: Partial<Machine> = {}): Machine => ({
  root: true,
  host: new Set<Need>(["nftables"]),
  uml: UML,
  kernel: undefined,
  ...over,
});
const topology = (needs?: readonly Need[]) =>
  readTopology(needs === undefined ? {} : { needs }, () => {});

test("an ordinary topology runs in our own kernel, else in Debian's", () => {
  expect(choosePlace(topology(), machine({ kernel: KERNEL }), undefined))
    .toEqual({ place: "kernel", linux: KERNEL });
  expect(choosePlace(topology(), machine(), undefined)).toEqual({ place: "uml", linux: UML });
});

test("the host is taken where root finds there all that is needed", () => {
  const host = new Set<Need>(["ipvs", "dummy", "ipip", "nftables"]);
  expect(choosePlace(topology(), machine({ host }), "").place).toBe("host");
  expect(choosePlace(topology(), machine({ host, root: false }), undefined).place).toBe("uml");
  expect(choosePlace(topology([]), machine(), undefined).place).toBe("host");
  expect(choosePlace(topology(["nftables"]), machine(), undefined).place).toBe("host");
});

test("what no place has is refused with the remedy", () => {
  expect(() => choosePlace(topology(["ipvs", "nftables"]), machine(), undefined))
    .toThrow('build the lab\'s own kernel with "make lab-kernel"');
  expect(() => choosePlace(topology(), machine({ uml: undefined }), undefined))
    .toThrow("linux.uml is not installed");
});

test("LAB_PLACE overrides, and says what it lacks", () => {
  expect(choosePlace(topology(), machine({ kernel: KERNEL }), "uml").place).toBe("uml");
  expect(choosePlace(topology(), machine(), "host").place).toBe("host");
  expect(() => choosePlace(topology(), machine(), "kernel")).toThrow("make lab-kernel");
  expect(() => choosePlace(topology(), machine({ root: false }), "host")).toThrow("needs root");
  expect(() => choosePlace(topology(), machine(), "moon")).toThrow('"moon" is none of');
});
