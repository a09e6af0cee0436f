/**
 * The BGP speaker of the router.
 *
 * ```ts
 * const speaker = createSpeaker({ asn: 64512, routerId: "10.0.0.1", listen: [{ address: "10.0.0.1", port: 179 }] });
 * speaker.onBest((changes) => …);              // Loc-RIB → routes of Linux
 * speaker.onEvent((event) => log[event.level](event.message));
 * speaker.setLocalRoutes([{ prefix: "10.244.1.0/24", nextHop: "10.0.0.1", class: "pod" }]);
 * speaker.setPeers([{ address: "10.0.0.2", asn: 64512 }]);
 * await speaker.start();
 * …
 * await speaker.stop({ reason: "node drains" }); // or { graceful: true }: peers keep our routes (RFC 4724)
 * ```
 *
 * Both `set…` are declarative: they take the whole set, compare it with the last one, and change what differs. A peer that
 * is equal is not touched; one that differs in what an OPEN or a socket says starts anew; a policy is applied without a word
 * to the peer. Calls before `start` cost nothing. Sessions open after `start` and the first `setLocalRoutes`: a peer that
 * keeps our routes over a restart deletes what is missing at our End-of-RIB, so there is none before the routes are known.
 *
 * `settled(family)` is false while a restarted speaker waits for its peers' End-of-RIB: until then what the last process
 * left in Linux must stay; `onSettled` says when it may be swept.
 */

export { createSpeaker, type Speaker } from "./speaker.ts";
export type * from "./types.ts";
