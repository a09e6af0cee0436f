/** BFD control packets (RFC 5880 section 4.1), without authentication. */

export const State = { AdminDown: 0, Down: 1, Init: 2, Up: 3 } as const;
export type State = (typeof State)[keyof typeof State];

export const Diagnostic = {
  None: 0,
  DetectionTimeExpired: 1,
  NeighborSignalledDown: 3,
  AdministrativelyDown: 7,
} as const;

const DIAGNOSTICS: readonly string[] = [
  "no diagnostic",
  "control detection time expired",
  "echo function failed",
  "neighbor signalled session down",
  "forwarding plane reset",
  "path down",
  "concatenated path down",
  "administratively down",
  "reverse concatenated path down",
];

export function diagnosticName(code: number): string {
  return DIAGNOSTICS[code] ?? `diagnostic ${code}`;
}

export interface ControlPacket {
  readonly diagnostic: number;
  readonly state: State;
  readonly poll: boolean;
  readonly final: boolean;
  readonly controlPlaneIndependent: boolean;
  readonly demand: boolean;
  readonly detectMultiplier: number;
  readonly myDiscriminator: number;
  readonly yourDiscriminator: number;
  /** Microseconds, as all intervals here. */
  readonly desiredMinTx: number;
  readonly requiredMinRx: number;
  readonly requiredMinEchoRx: number;
}

const LENGTH = 24;
const VERSION = 1;

export function encodeControl(packet: ControlPacket): Uint8Array {
  const bytes = new Uint8Array(LENGTH);
  const view = new DataView(bytes.buffer);
  bytes[0] = (VERSION << 5) | packet.diagnostic;
  bytes[1] = (packet.state << 6) | (packet.poll ? 0x20 : 0) | (packet.final ? 0x10 : 0) |
    (packet.controlPlaneIndependent ? 0x08 : 0) | (packet.demand ? 0x02 : 0);
  bytes[2] = packet.detectMultiplier;
  bytes[3] = LENGTH;
  view.setUint32(4, packet.myDiscriminator);
  view.setUint32(8, packet.yourDiscriminator);
  view.setUint32(12, packet.desiredMinTx);
  view.setUint32(16, packet.requiredMinRx);
  view.setUint32(20, packet.requiredMinEchoRx);
  return bytes;
}

/** The packet, or why section 6.8.6 discards it. */
export function decodeControl(bytes: Uint8Array): ControlPacket | string {
  if (bytes.length < LENGTH) return `it has ${bytes.length} octets`;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const first = view.getUint8(0);
  const second = view.getUint8(1);
  if (first >>> 5 !== VERSION) return `it has version ${first >>> 5}`;
  const length = view.getUint8(3);
  if (length < LENGTH || length > bytes.length) return `it says length ${length}`;
  if ((second & 0x04) !== 0) return "it is authenticated, and we have no key";
  if ((second & 0x01) !== 0) return "it is multipoint";
  const detectMultiplier = view.getUint8(2);
  if (detectMultiplier === 0) return "its detection multiplier is 0";
  const myDiscriminator = view.getUint32(4);
  if (myDiscriminator === 0) return "its discriminator is 0";
  const state = (second >>> 6) as State;
  const yourDiscriminator = view.getUint32(8);
  if (yourDiscriminator === 0 && state !== State.Down && state !== State.AdminDown) {
    return "it names no session, and is not Down";
  }
  return {
    diagnostic: first & 0x1f,
    state,
    poll: (second & 0x20) !== 0,
    final: (second & 0x10) !== 0,
    controlPlaneIndependent: (second & 0x08) !== 0,
    demand: (second & 0x02) !== 0,
    detectMultiplier,
    myDiscriminator,
    yourDiscriminator,
    desiredMinTx: view.getUint32(12),
    requiredMinRx: view.getUint32(16),
    requiredMinEchoRx: view.getUint32(20),
  };
}
