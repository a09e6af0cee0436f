import { expect, test } from "bun:test";
import { leftText, removedText } from "../../../src/cli/cleanup.ts";

const PROOF = [{ where: "ipset", ours: [], others: 2 }];

test("what cleanup prints as JSON is one document, with the proof and for a dry run too", () => {
  expect(JSON.parse(removedText({ removed: ["a"], failed: [], proof: PROOF }, "json"))).toEqual({
    removed: ["a"],
    failed: [],
    proof: PROOF,
  });
  expect(JSON.parse(removedText({ removed: [], failed: ["b"] }, "json"))).toEqual({
    removed: [],
    failed: ["b"],
  });
  expect(JSON.parse(leftText(["link x"], "json"))).toEqual({ wouldRemove: ["link x"] });
});

test("what it prints as text names each thing", () => {
  expect(removedText({ removed: ["a"], failed: [] }, "text")).toBe(
    "- a\n1 removed, nothing of ours is left\n",
  );
  expect(removedText({ removed: [], failed: ["b"] }, "text")).toBe(
    "0 removed, 1 could not be removed\n",
  );
  expect(leftText(["link x"], "text")).toBe("would remove link x\n");
});
