/** What the live page shows, out of the running agent's own answers. */

import type { ClusterSource } from "../../kernel/cluster/source.ts";
import { canonicalIp } from "../../kernel/ip.ts";
import { knownOf, namesAnswer } from "../../kernel/runtime/objects.ts";
import type { RuntimeStatus } from "../../kernel/runtime/runtime.ts";
import type { ListAnswer } from "../../plugins/firewall/answers.ts";
import type { MatrixAnswer } from "../../plugins/firewall/matrix.ts";
import type { IpvsAnswer } from "../../plugins/proxy/answers.ts";
import type { ServiceListAnswer } from "../../plugins/proxy/service-list.ts";
import type { NeighborsAnswer } from "../../plugins/router/answers.ts";
import type { Change } from "./changes.ts";
import type { UiData } from "./server.ts";

export interface UiSources {
  status(): RuntimeStatus & { readonly version: string };
  /** A plugin's answer, undefined where nobody gives it. */
  answer(question: string, query: URLSearchParams): unknown;
  source(): ClusterSource | undefined;
  changes(): readonly Change[];
  /** Unix ms. */
  now(): number;
}

/** Services whose endpoints one page shows. */
const MOST_OPEN = 20;
const NOTHING = new URLSearchParams();

export function uiData({ status, answer, source, changes, now }: UiSources): UiData {
  const known = () => {
    const found = source();
    return found === undefined
      ? { nodes: undefined, pods: undefined, services: undefined }
      : knownOf(found);
  };
  return {
    async overview() {
      const neighbors = await answer("router/neighbors", NOTHING) as NeighborsAnswer | undefined;
      const { node, ready, waitingFor, plugins, version } = status();
      return {
        now: now(),
        status: { node, ready, waitingFor, plugins, version },
        nodes: [...known().nodes?.values() ?? []].map(({ metadata, spec, status }) => ({
          name: metadata.name,
          addresses: status.addresses.flatMap(({ address }) => canonicalIp(address) ?? []),
          podCIDRs: spec.podCIDRs,
          ...(status.ready === undefined ? {} : { ready: status.ready }),
        })).toSorted((a, b) => a.name < b.name ? -1 : 1),
        peers: (neighbors?.neighbors ?? []).map((peer) => ({
          address: peer.address,
          asn: peer.configuredAsn,
          state: peer.state,
          received: peer.prefixes[4].received + peer.prefixes[6].received,
          advertised: peer.prefixes[4].advertised + peer.prefixes[6].advertised,
          lastError: peer.state === "Established" ? undefined : peer.lastError,
        })),
      };
    },
    async services(query) {
      const list = await answer("proxy/services", query) as ServiceListAnswer | undefined;
      if (list === undefined) return { services: [], total: 0 };
      const shown = new Set(list.services.map(({ name }) => name));
      const open = query.getAll("open").filter((name) => shown.has(name)).slice(0, MOST_OPEN);
      if (open.length === 0) return list;
      const table = await answer(
        "proxy/table",
        new URLSearchParams(open.map((name): [string, string] => ["of", name])),
      ) as IpvsAnswer | undefined;
      const rows = table?.services ?? [];
      const names = namesAnswer(
        known(),
        rows.flatMap(({ destinations }) => destinations.map(({ address }) => address)),
      );
      return {
        ...list,
        services: list.services.map((service) =>
          open.includes(service.name)
            ? {
              ...service,
              rows: rows.filter((row) => row.service === service.name).map((row) => ({
                ...row,
                destinations: row.destinations.map((end) => ({
                  ...end,
                  name: names[end.address]?.name,
                })),
              })),
            }
            : service
        ),
      };
    },
    async policies(query) {
      const matrix = await answer("firewall/matrix", query) as MatrixAnswer | undefined;
      const list = await answer("firewall/list", NOTHING) as ListAnswer | undefined;
      return {
        ...(matrix ?? { sources: [], pods: [], total: 0, limit: 1 }),
        policies: list?.policies ?? [],
      };
    },
    changes: () => ({ now: now(), changes: changes() }),
  };
}
