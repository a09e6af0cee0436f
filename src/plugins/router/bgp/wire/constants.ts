/** Numbers of RFC 4271 and its extensions, under their names there. */

export const MessageType = {
  Open: 1,
  Update: 2,
  Notification: 3,
  Keepalive: 4,
  RouteRefresh: 5,
} as const;

export const HEADER_LENGTH = 19;
/** RFC 4271 section 4. */
export const MAX_LENGTH = 4096;
/** RFC 8654 section 3. */
export const MAX_EXTENDED_LENGTH = 65535;

export const ErrorCode = {
  MessageHeader: 1,
  OpenMessage: 2,
  UpdateMessage: 3,
  HoldTimerExpired: 4,
  FiniteStateMachine: 5,
  Cease: 6,
  RouteRefresh: 7,
  SendHoldTimerExpired: 8,
} as const;

/** RFC 4486, 8538, 9384. */
export const CeaseCode = {
  MaximumPrefixes: 1,
  AdministrativeShutdown: 2,
  PeerDeconfigured: 3,
  AdministrativeReset: 4,
  ConnectionRejected: 5,
  ConfigurationChange: 6,
  CollisionResolution: 7,
  OutOfResources: 8,
  HardReset: 9,
  BfdDown: 10,
} as const;

export const AttributeType = {
  Origin: 1,
  AsPath: 2,
  NextHop: 3,
  Med: 4,
  LocalPref: 5,
  AtomicAggregate: 6,
  Aggregator: 7,
  Communities: 8,
  OriginatorId: 9,
  ClusterList: 10,
  MpReachNlri: 14,
  MpUnreachNlri: 15,
  ExtendedCommunities: 16,
  As4Path: 17,
  As4Aggregator: 18,
  LargeCommunities: 32,
} as const;

export const AttributeFlag = {
  Optional: 0x80,
  Transitive: 0x40,
  Partial: 0x20,
  ExtendedLength: 0x10,
} as const;

export const SegmentType = {
  Set: 1,
  Sequence: 2,
  ConfedSequence: 3,
  ConfedSet: 4,
} as const;

/** RFC 6793: stands for an AS that needs four octets where there are two. */
export const AS_TRANS = 23456;

export const CapabilityCode = {
  Multiprotocol: 1,
  RouteRefresh: 2,
  ExtendedNextHop: 5,
  ExtendedMessage: 6,
  Role: 9,
  GracefulRestart: 64,
  FourOctetAs: 65,
  AddPath: 69,
  EnhancedRouteRefresh: 70,
  LongLivedGracefulRestart: 71,
  Fqdn: 73,
  SoftwareVersion: 75,
  RouteRefreshOld: 128,
} as const;

const CAPABILITY_NAMES: Readonly<Record<number, string>> = {
  1: "multiprotocol",
  2: "route-refresh",
  5: "extended-nexthop",
  6: "extended-message",
  9: "role",
  64: "graceful-restart",
  65: "4-octet-as",
  69: "add-path",
  70: "enhanced-route-refresh",
  71: "long-lived-graceful-restart",
  73: "fqdn",
  75: "software-version",
  128: "route-refresh (old)",
};

export function capabilityName(code: number): string {
  return CAPABILITY_NAMES[code] ?? `unknown ${code}`;
}

/** SAFI of unicast (RFC 4760); an AFI is 1 for IPv4 and 2 for IPv6. */
export const UNICAST = 1;
