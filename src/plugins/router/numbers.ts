/** Numbers and secrets as kube-router's annotations write them. */

/**
 * An unsigned number in the spelling of a Go literal: decimal, 0x, 0o or a leading 0 (octal), 0b, with underscores
 * between digits. `undefined` where it is none or above `max`. AS numbers in asdot ("1.10") are none.
 */
export function parseUint(text: string, max: number): number | undefined {
  const found = /^(0[xX]_?|0[oO]_?|0[bB]_?|0_?(?=[0-9]))?([0-9a-fA-F]+(?:_[0-9a-fA-F]+)*)$/.exec(
    text,
  );
  if (found === null) return undefined;
  const [, head = "", body = ""] = found;
  const letter = head.charAt(1).toLowerCase();
  const base = head === "" ? 10 : letter === "x" ? 16 : letter === "b" ? 2 : 8;
  const digits = body.replaceAll("_", "");
  const allowed = { 2: /^[01]+$/, 8: /^[0-7]+$/, 10: /^[0-9]+$/, 16: /^[0-9a-fA-F]+$/ }[base];
  if (allowed?.test(digits) !== true) return undefined;
  const value = Number.parseInt(digits, base);
  return value <= max ? value : undefined;
}

export const MAX_UINT32 = 0xffff_ffff;

/**
 * Whether a peer may have this AS number. Reserved are 0 (RFC 7607), 23456 (RFC 6793), those for documentation
 * (RFC 5398), the last ones (RFC 7300) and IANA's reserve.
 */
export function isPeerAsn(asn: number): boolean {
  return asn >= 1 && asn <= 23455 || asn >= 23457 && asn <= 63999 || asn >= 64512 && asn <= 65534 ||
    asn >= 131072 && asn <= 4294967294;
}

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/** The bytes of standard, padded base64; line ends within are passed over. `undefined` where it is none. */
export function decodeBase64(text: string): Uint8Array | undefined {
  const bare = text.replaceAll(/[\r\n]/g, "");
  return BASE64.test(bare) ? new Uint8Array(Buffer.from(bare, "base64")) : undefined;
}

/** Most bytes of a TCP MD5 key (TCP_MD5SIG_MAXKEYLEN of Linux). */
const MAX_KEY = 80;

export interface DecodedPassword {
  /** Absent: none, or one that cannot be used. */
  readonly key?: Uint8Array;
  /** What is wrong, without the value. */
  readonly problem?: string;
}

/** A TCP MD5 password in base64. Nothing that is said of it shows it. */
export function decodePassword(text: string): DecodedPassword {
  if (text === "") return {};
  const key = decodeBase64(text);
  if (key === undefined) return { problem: "its password is no standard base64 with padding" };
  if (key.length > MAX_KEY) {
    return { problem: `its password has ${key.length} bytes, Linux takes ${MAX_KEY} at most` };
  }
  // `echo secret | base64` encodes the line end too, which then is a part of the key (a documented trap of kube-router).
  if (key.at(-1) === 10) {
    return { key, problem: "its password ends with a line end, which is a part of the key" };
  }
  return { key };
}
