import { expect, test } from "bun:test";
import type { ApiOptions, Certificate, LabApi } from "../../../lab/api/mod.ts";
import { call, withApi } from "./client.ts";

const PODS = "/api/v1/pods";
const REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
const WHOAMI = "/apis/authentication.k8s.io/v1/selfsubjectreviews";

interface Sent {
  readonly path?: string;
  readonly method?: string;
  readonly token?: string;
  readonly certificate?: Certificate;
  readonly ca?: string;
  readonly url?: string;
  readonly body?: object;
}

function send(api: LabApi, { path = PODS, ...sent }: Sent): Promise<Response> {
  return fetch(`${sent.url ?? api.url}${path}`, {
    keepalive: false,
    method: sent.method ?? "GET",
    ...(sent.body === undefined ? {} : { body: JSON.stringify(sent.body) }),
    headers: sent.token === undefined ? {} : { Authorization: `Bearer ${sent.token}` },
    tls: { ca: sent.ca ?? api.caPem, ...sent.certificate },
  });
}

async function errorOf(response: Promise<Response>): Promise<string> {
  return await response.then(({ status }) => String(status), ({ code }) => code);
}

function secure(run: (api: LabApi) => Promise<void>, options: ApiOptions = {}): Promise<void> {
  return withApi(run, { tls: true, ...options });
}

test("over TLS a token lets in; none or a wrong one is 401", () =>
  secure(async (api) => {
    expect((await send(api, { token: api.token })).status).toBe(200);
    for (const refused of [await send(api, {}), await send(api, { token: "wrong" })]) {
      expect(refused.status).toBe(401);
      expect(await refused.json()).toMatchObject({ kind: "Status", reason: "Unauthorized" });
    }
  }));

test("health and version are open to all", () =>
  secure(async (api) => {
    expect((await send(api, { path: "/version" })).status).toBe(200);
    expect((await send(api, { path: "/healthz" })).status).toBe(200);
  }));

test("a token is revoked and rotated at run time", () =>
  secure(async (api) => {
    const old = api.token;
    const fresh = api.rotateToken();
    expect(api.token).toBe(fresh);
    expect((await send(api, { token: old })).status).toBe(401);
    expect((await send(api, { token: fresh })).status).toBe(200);
    const other = api.issueToken("someone");
    expect((await send(api, { token: other })).status).toBe(200);
    api.revokeToken(other);
    expect((await send(api, { token: other })).status).toBe(401);
  }));

test("a client certificate names its user and groups", () =>
  secure(async (api) => {
    const certificate = api.clientCertificate("system:node:n1", { groups: ["system:nodes", "g"] });
    const response = await send(api, { method: "POST", path: WHOAMI, certificate, body: {} });
    expect(await response.json()).toMatchObject({
      status: { userInfo: { username: "system:node:n1", groups: ["system:nodes", "g"] } },
    });
  }));

test("a client certificate that has expired or is not ours is 401", () =>
  secure(async (api) => {
    const expired = api.clientCertificate("a", { expired: true });
    expect((await send(api, { certificate: expired })).status).toBe(401);
    const unknown = api.clientCertificate("a", { unknownCa: true });
    expect((await send(api, { certificate: unknown })).status).toBe(401);
  }));

test("a client sees a server certificate that has expired, is not ours or names another host", () =>
  secure(async (api) => {
    const expired = api.listen({ tls: { expired: true } });
    expect(await errorOf(send(api, { url: expired.url }))).toBe("CERT_HAS_EXPIRED");
    const unknown = api.listen({ tls: { unknownCa: true } });
    expect(await errorOf(send(api, { url: unknown.url })))
      .toBe("UNABLE_TO_VERIFY_LEAF_SIGNATURE");
    const other = api.url.replace("127.0.0.1", "127.0.0.2");
    expect(await errorOf(send(api, { url: other }))).toBe("ERR_TLS_CERT_ALTNAME_INVALID");
  }, { host: "0.0.0.0", advertise: "127.0.0.1" }));

test("the server's certificate holds the names and addresses that are asked for", () =>
  secure(async (api) => {
    const named = api.listen({ host: "0.0.0.0", advertise: "127.0.0.3", tls: true });
    expect(named.url).toStartWith("https://127.0.0.3:");
    expect((await send(api, { url: named.url, token: api.token })).status).toBe(200);
    const listed = api.listen({ host: "0.0.0.0", tls: { names: ["127.0.0.4"] } });
    const url = listed.url.replace("0.0.0.0", "127.0.0.4");
    expect((await send(api, { url, token: api.token })).status).toBe(200);
  }));

test("IPv6 listeners have URLs with brackets", () =>
  secure(async (api) => {
    expect(api.url).toStartWith("https://[::1]:");
    expect((await send(api, { token: api.token })).status).toBe(200);
  }, { host: "::1" }));

test("plain HTTP lets in without credentials, but not with wrong ones", () =>
  withApi(async (api) => {
    expect((await send(api, {})).status).toBe(200);
    expect((await send(api, { token: "wrong" })).status).toBe(401);
    const closed = api.listen({ anonymous: false });
    expect((await send(api, { url: closed.url })).status).toBe(401);
  }));

test("what the rule does not allow is a 403 Status that says who and what", () =>
  secure(async (api) => {
    api.authorize(({ verb, resource }) => resource !== "secrets" || verb === "get");
    const token = api.issueToken("jane");
    expect((await send(api, { token })).status).toBe(200);
    const refused = await send(api, { path: "/api/v1/namespaces/x/secrets", token });
    expect(refused.status).toBe(403);
    expect(await refused.json()).toMatchObject({
      reason: "Forbidden",
      message: 'secrets is forbidden: User "jane" cannot list resource "secrets" in API group "" ' +
        'in the namespace "x"',
    });
    api.authorize();
    expect((await send(api, { path: "/api/v1/namespaces/x/secrets", token })).status).toBe(200);
  }));

test("a SelfSubjectAccessReview answers by the same rule", () =>
  withApi(async (api) => {
    api.authorize(({ verb, resource }) => verb === "list" && resource === "nodes");
    const review = async (verb: string) => {
      const spec = { resourceAttributes: { verb, resource: "nodes" } };
      const answer = await call<{ status: { allowed: boolean } }>(api, "POST", REVIEWS, { spec });
      expect(answer.status).toBe(201);
      return answer.body.status.allowed;
    };
    expect([await review("list"), await review("watch")]).toEqual([true, false]);
  }));

test("several listeners share one store, and each is stopped alone", () =>
  secure(async (api) => {
    const plain = api.listen();
    expect((await send(api, { url: plain.url })).status).toBe(200);
    plain.stop();
    expect(await errorOf(send(api, { url: plain.url }))).toBe("ECONNREFUSED");
    expect((await send(api, { token: api.token })).status).toBe(200);
  }));

test("a listener binds inside the caller's window, also after it was down", () =>
  withApi((api) => {
    const steps: string[] = [];
    const listening = api.listen({
      enter: (bind) => {
        steps.push("in");
        const bound = bind();
        steps.push("out");
        return bound;
      },
    });
    expect(steps).toEqual(["in", "out"]);
    api.fail("down");
    api.heal();
    expect(steps).toEqual(["in", "out", "in", "out"]);
    expect(api.url).toBe(listening.url);
    return Promise.resolve();
  }, { listen: false }));
