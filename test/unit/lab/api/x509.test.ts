import { expect, test } from "bun:test";
import { X509Certificate } from "node:crypto";
import * as asn1 from "../../../lab/api/der.ts";
import { createAuthority } from "../../../lab/api/x509.ts";

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

test.each<[string, Uint8Array, string]>([
  ["a small integer", asn1.integer(Uint8Array.of(0, 5)), "020105"],
  ["zero", asn1.integer(Uint8Array.of(0)), "020100"],
  ["an integer with its high bit set", asn1.integer(Uint8Array.of(0x80)), "02020080"],
  ["an object identifier", asn1.oid("1.2.840.10045.4.3.2"), "06082a8648ce3d040302"],
  ["a UTC time", asn1.time(new Date("2026-01-02T03:04:05.6Z")), "170d3236303130323033303430355a"],
  [
    "a time past 2049",
    asn1.time(new Date("2051-01-01T00:00:00Z")),
    "180f32303531303130313030303030305a",
  ],
  ["a long string", asn1.octets(new Uint8Array(200)).subarray(0, 3), "0481c8"],
  ["a longer string", asn1.octets(new Uint8Array(300)).subarray(0, 4), "0482012c"],
])("DER of %s", (_name, bytes, expected) => {
  expect(hex(bytes)).toBe(expected);
});

test("a certificate is signed by its authority and by no other", () => {
  const authority = createAuthority("one");
  const ca = new X509Certificate(authority.caPem);
  const issued = new X509Certificate(
    authority.issue({ commonName: "c" }, { usage: "client" }).cert,
  );
  expect(issued.verify(ca.publicKey)).toBe(true);
  expect(issued.issuer).toBe("CN=one");
  expect(ca.ca).toBe(true);
  expect(issued.ca).toBe(false);
  const other = new X509Certificate(createAuthority("one").caPem);
  expect(issued.verify(other.publicKey)).toBe(false);
});

test("a server's certificate holds its names and addresses", () => {
  const names = ["localhost", "127.0.0.1", "fd00::1:2", "::"];
  const { cert } = createAuthority("ca").issue({ commonName: "s" }, { usage: "server", names });
  const certificate = new X509Certificate(cert);
  expect(certificate.checkHost("localhost")).toBe("localhost");
  expect(certificate.checkIP("127.0.0.1")).toBe("127.0.0.1");
  expect(certificate.checkIP("fd00::1:2")).toBe("fd00::1:2");
  expect(certificate.checkIP("127.0.0.2")).toBeUndefined();
});

test("a client's certificate holds its groups, and its key is its own", () => {
  const subject = { commonName: "jane", organizations: ["dev", "ops"] };
  const { cert, key } = createAuthority("ca").issue(subject, { usage: "client" });
  const certificate = new X509Certificate(cert);
  expect(certificate.subject).toBe("O=dev\nO=ops\nCN=jane");
  expect(key).toStartWith("-----BEGIN PRIVATE KEY-----");
});

test("an expired certificate ended before now", () => {
  const options = { usage: "client", expired: true } as const;
  const { cert } = createAuthority("ca").issue({ commonName: "c" }, options);
  const { validFrom, validTo } = new X509Certificate(cert);
  expect(Date.parse(validTo)).toBeLessThan(Date.now());
  expect(Date.parse(validFrom)).toBeLessThan(Date.parse(validTo));
});
