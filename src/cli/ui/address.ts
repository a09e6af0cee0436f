/** Where the live page is served, as `--ui-addr` says it. */

export interface UiAddress {
  readonly address: string;
  readonly port: number;
}

const LOOPBACK = "127.0.0.1";

/** Reads "PORT", ":PORT" or "ADDRESS:PORT", on loopback where no address is given; undefined where it is none of these. */
export function parseUiAddress(text: string): UiAddress | undefined {
  const [, bracketed, plain, port] = /^\d+$/.test(text)
    ? [, , "", text]
    : /^(?:\[([^\]]+)\]|([^:\]]*)):(\d{1,5})$/.exec(text) ?? [];
  const number = Number(port);
  if (port === undefined || number < 1 || number > 65_535) return undefined;
  const address = bracketed ?? plain ?? "";
  return { address: address === "" ? LOOPBACK : address, port: number };
}

export function isLoopback(address: string): boolean {
  return address.startsWith("127.") || address === "::1" || address === "localhost";
}
