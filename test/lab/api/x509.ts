/** A certificate authority for tests: ECDSA P-256 certificates (RFC 5280) over node:crypto. */

import { generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";
import { isIP } from "node:net";
import * as asn1 from "./der.ts";
import type { Certificate } from "./types.ts";

const OID = {
  commonName: "2.5.4.3",
  organization: "2.5.4.10",
  ecdsaWithSha256: "1.2.840.10045.4.3.2",
  subjectKeyId: "2.5.29.14",
  keyUsage: "2.5.29.15",
  subjectAltName: "2.5.29.17",
  basicConstraints: "2.5.29.19",
  authorityKeyId: "2.5.29.35",
  extendedKeyUsage: "2.5.29.37",
  serverAuth: "1.3.6.1.5.5.7.3.1",
  clientAuth: "1.3.6.1.5.5.7.3.2",
};
const DAY = 86_400_000;

export interface Subject {
  readonly commonName: string;
  readonly organizations?: readonly string[];
}

export interface IssueOptions {
  readonly usage: "server" | "client";
  /** Subject alternative names: DNS names and addresses. */
  readonly names?: readonly string[];
  /** Valid until yesterday. */
  readonly expired?: boolean;
}

export interface Authority {
  readonly caPem: string;
  readonly issue: (subject: Subject, options: IssueOptions) => Certificate;
}

interface Signer {
  readonly subject: Subject;
  readonly key: KeyObject;
  readonly keyId: Uint8Array;
}

export function createAuthority(commonName: string): Authority {
  const subject = { commonName };
  const { publicKey, privateKey } = keyPair();
  const keyId = randomBytes(20);
  const signer: Signer = { subject, key: privateKey, keyId };
  const ca = certificate(subject, publicKey, keyId, signer, false, [
    extension(OID.basicConstraints, true, asn1.sequence(asn1.boolean(true))),
    // keyCertSign, cRLSign, digitalSignature.
    extension(OID.keyUsage, true, asn1.bits(Uint8Array.of(0x86), 1)),
  ]);
  return {
    caPem: ca,
    issue: (subject, options) => {
      const keys = keyPair();
      const names = options.names ?? [];
      const usage = options.usage === "server" ? OID.serverAuth : OID.clientAuth;
      const cert = certificate(subject, keys.publicKey, randomBytes(20), signer, options.expired, [
        extension(OID.basicConstraints, true, asn1.sequence()),
        extension(OID.keyUsage, true, asn1.bits(Uint8Array.of(0x80), 7)),
        extension(OID.extendedKeyUsage, false, asn1.sequence(asn1.oid(usage))),
        ...(names.length === 0
          ? []
          : [extension(OID.subjectAltName, false, asn1.sequence(...names.map(alternative)))]),
      ]);
      return { cert, key: keys.privateKey.export({ type: "pkcs8", format: "pem" }) as string };
    },
  };
}

function keyPair(): { publicKey: Uint8Array; privateKey: KeyObject } {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return { publicKey: publicKey.export({ type: "spki", format: "der" }), privateKey };
}

function certificate(
  subject: Subject,
  publicKey: Uint8Array,
  keyId: Uint8Array,
  signer: Signer,
  expired: boolean | undefined,
  extensions: readonly Uint8Array[],
): string {
  const algorithm = asn1.sequence(asn1.oid(OID.ecdsaWithSha256));
  const start = Date.now() - 30 * DAY;
  const end = expired === true ? Date.now() - DAY : Date.now() + 3650 * DAY;
  const unsigned = asn1.sequence(
    asn1.tagged(0, asn1.integer(Uint8Array.of(2))),
    asn1.integer(randomBytes(16)),
    algorithm,
    name(signer.subject),
    asn1.sequence(asn1.time(new Date(start)), asn1.time(new Date(end))),
    name(subject),
    publicKey,
    asn1.tagged(
      3,
      asn1.sequence(
        ...extensions,
        extension(OID.subjectKeyId, false, asn1.octets(keyId)),
        extension(OID.authorityKeyId, false, asn1.sequence(asn1.implicit(0, signer.keyId))),
      ),
    ),
  );
  const signature = sign("sha256", unsigned, signer.key);
  return asn1.pem("CERTIFICATE", asn1.sequence(unsigned, algorithm, asn1.bits(signature)));
}

function name({ commonName, organizations = [] }: Subject): Uint8Array {
  return asn1.sequence(
    ...organizations.map((organization) => attribute(OID.organization, organization)),
    attribute(OID.commonName, commonName),
  );
}

function attribute(type: string, value: string): Uint8Array {
  return asn1.set(asn1.sequence(asn1.oid(type), asn1.utf8(value)));
}

function extension(id: string, critical: boolean, value: Uint8Array): Uint8Array {
  return asn1.sequence(
    asn1.oid(id),
    ...(critical ? [asn1.boolean(true)] : []),
    asn1.octets(value),
  );
}

function alternative(text: string): Uint8Array {
  return isIP(text) === 0
    ? asn1.implicit(2, Buffer.from(text))
    : asn1.implicit(7, addressBytes(text));
}

function addressBytes(address: string): Uint8Array {
  if (isIP(address) === 4) return Uint8Array.from(address.split(".").map(Number));
  const [head = "", tail] = address.split("::");
  const left = head === "" ? [] : head.split(":");
  const right = tail === undefined || tail === "" ? [] : tail.split(":");
  const groups = [...left, ...Array(8 - left.length - right.length).fill("0"), ...right];
  return Uint8Array.from(groups.flatMap((group) => {
    const value = parseInt(group, 16);
    return [value >> 8, value & 255];
  }));
}
