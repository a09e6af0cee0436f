/** Who asks, and whether they may. */

import type { HttpRequest } from "./http.ts";
import { unauthorized } from "./status.ts";
import type { AccessAttributes } from "./types.ts";

export interface User {
  readonly name: string;
  readonly groups: readonly string[];
}

export interface Access {
  readonly issue: (name: string, groups: readonly string[]) => string;
  readonly revoke: (token: string) => void;
  /** Throws a 401. A token wins over a certificate, and a wrong one is never overlooked. */
  readonly authenticate: (request: HttpRequest, anonymous: boolean) => User;
  readonly setRule: (allowed: ((attributes: AccessAttributes) => boolean) | undefined) => void;
  readonly allows: (attributes: AccessAttributes) => boolean;
}

const ANONYMOUS: User = { name: "system:anonymous", groups: ["system:unauthenticated"] };

export function createAccess(): Access {
  const users = new Map<string, User>();
  let rule: ((attributes: AccessAttributes) => boolean) | undefined;
  return {
    issue: (name, groups) => {
      const token = `${name.replaceAll(/[^a-zA-Z0-9-]/g, ".")}.${crypto.randomUUID()}`;
      users.set(token, { name, groups: [...groups, "system:authenticated"] });
      return token;
    },
    revoke: (token) => void users.delete(token),
    authenticate: (request, anonymous) => {
      const header = request.headers.get("authorization");
      if (header !== undefined) {
        const user = users.get(header.replace(/^Bearer +/i, ""));
        if (user === undefined) throw unauthorized();
        return user;
      }
      const { peer } = request.connection;
      if (peer.state === "verified") return { name: peer.commonName, groups: peer.groups };
      if (peer.state === "refused" || !anonymous) throw unauthorized();
      return ANONYMOUS;
    },
    setRule: (allowed) => {
      rule = allowed;
    },
    allows: (attributes) => rule === undefined || rule(attributes),
  };
}
