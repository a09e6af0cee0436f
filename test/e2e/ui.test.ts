/** The live page in a real browser, over the agent's own answers for a cluster of 5,000 Services. */

import { expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { hostedPlugins } from "../../src/cli/agent.ts";
import { defaultFlags } from "../../src/cli/flags.ts";
import { changeLog } from "../../src/cli/ui/changes.ts";
import { uiData } from "../../src/cli/ui/data.ts";
import { serveUi } from "../../src/cli/ui/server.ts";
import type { Dataplane, IpvsCounters } from "../../src/kernel/dataplane/dataplane.ts";
import { fakeDataplane } from "../../src/kernel/dataplane/fake.ts";
import { silentLogger } from "../../src/kernel/observe/log.ts";
import { type IpvsServiceId, ipvsServiceId } from "../../src/kernel/plugin.ts";
import { Runtime } from "../../src/kernel/runtime/runtime.ts";
import { findBrowser, inBrowser } from "../support/browser.ts";
import { testCluster } from "../support/cluster.ts";
import { node, service, slice } from "../support/objects.ts";
import { namespace, pod, policy } from "../support/policy-world.ts";

const SERVICES = 5_000;
const browser = findBrowser();
const lacks = browser === undefined
  ? " (left out: no Chromium here; install chromium-headless-shell)"
  : "";

function counters(rate: number): IpvsCounters {
  return {
    connections: 10 * rate,
    inPackets: 0,
    outPackets: 0,
    inBytes: 0,
    outBytes: 0,
    connectionRate: rate,
    inPacketRate: 0,
    outPacketRate: 0,
    inByteRate: 1000 * rate,
    outByteRate: 0,
  };
}

const vip = (i: number) => `10.96.${i >> 8}.${i & 255}`;
const name = (i: number) => `shop/svc-${String(i).padStart(5, "0")}`;

function bigCluster() {
  const cluster = testCluster();
  const [a, b] = [1, 2].map((i) =>
    node(`node${i}`, {
      addresses: [{ type: "InternalIP", address: `192.168.1.${i}` }],
      podCIDRs: [`10.244.${i}.0/24`],
    })
  );
  if (a !== undefined && b !== undefined) cluster.put("nodes", a, b);
  const all = Array.from({ length: SERVICES }, (_, i) => i + 1);
  cluster.put("services", ...all.map((i) => service(name(i), { clusterIPs: [vip(i)] })));
  cluster.put(
    "endpointslices",
    ...all.map((i) =>
      slice(`${name(i)}-x`, ["10.244.1.5"], { service: name(i).slice("shop/".length) })
    ),
  );
  cluster.put("namespaces", namespace("shop"), namespace("vault"));
  cluster.put(
    "pods",
    pod("shop/web", { ips: ["10.244.1.5"] }),
    pod("vault/safe", { ips: ["10.244.1.6"] }),
  );
  cluster.put(
    "networkpolicies",
    policy("vault/closed", { podSelector: {}, ingress: [{ from: [{ podSelector: {} }] }] }),
  );
  cluster.sync();
  return cluster;
}

/** Linux in memory, with rates: Service 4,321 is the busiest. */
function dataplane(): Dataplane {
  const fake = fakeDataplane();
  const entry = (id: IpvsServiceId, rate: number) => ({
    item: { id, scheduler: "rr", schedulerFlags: 0, persistence: 0 },
    counters: counters(rate),
    destinations: [{
      item: { service: id, address: "10.244.1.5", port: 8080, weight: 1, method: "masq" as const },
      counters: counters(rate),
      active: 3,
      inactive: 1,
    }],
  });
  const busy = ipvsServiceId(4, "tcp", vip(4321), 80);
  return {
    open: (ref, owner) => fake.open(ref, owner),
    close: () => fake.close(),
    statistics: {
      ipvsServices: () => Promise.resolve([{ id: busy, counters: counters(7) }]),
      ipvsTable: () => Promise.resolve({ text: "", left: 0 }),
      ipvsEntries: (only) =>
        Promise.resolve({ entries: [entry(busy, 7)].filter(({ item }) => only(item.id)), left: 0 }),
    },
  };
}

test.skipIf(browser === undefined)(
  `ui: the live page works in a browser, by keyboard, with 5,000 Services${lacks}`,
  async () => {
    const source = bigCluster();
    const changes = changeLog();
    const linux = dataplane();
    const runtime = new Runtime({
      plugins: hostedPlugins({
        ...defaultFlags(),
        runRouter: false,
        given: ["run-router", "run-firewall"],
      }),
      source,
      dataplane: linux,
      host: { name: "host", synced: true, values: () => [], subscribe: () => () => {} },
      node: "node1",
      log: changes.logger(silentLogger),
      fullInterval: 3_600_000,
    });
    await runtime.start();
    const page = serveUi(
      { address: "127.0.0.1", port: 20_000 + Math.floor(Math.random() * 10_000) },
      uiData({
        status: () => ({ version: "1.2.3", ...runtime.status() }),
        answer: (question, query) => runtime.answer(question, query),
        source: () => source,
        changes: changes.changes,
        now: Date.now,
      }),
    );
    const origin = `http://127.0.0.1:${page.port}/`;
    try {
      await inBrowser(browser ?? "", origin, async (tab) => {
        const text = (selector: string) =>
          tab.evaluate<string>(`document.querySelector(${JSON.stringify(selector)}).innerText`);
        const focused = () => tab.evaluate<string>("document.activeElement.id");
        const shot = async (title: string) => {
          const folder = process.env["UI_SHOTS"];
          if (folder === undefined) return;
          mkdirSync(folder, { recursive: true });
          writeFileSync(join(folder, `${title}.png`), await tab.screenshot(540));
        };

        await tab.until("document.querySelector('#plugins tbody tr') !== null");
        expect(await text("#node")).toBe("node1");
        expect(await text("#plugins")).toContain("proxy");
        expect(await text("#nodes")).toContain("node1 (this one)");
        await shot("node");

        // By keyboard alone from here on.
        await tab.evaluate("document.querySelector('#tab-node').focus()");
        await tab.press("ArrowRight");
        expect(await focused()).toBe("tab-services");
        await tab.until("document.querySelector('#page').innerText === '1–50 of 5000'");
        expect(await tab.evaluate<number>("document.querySelectorAll('#services tbody tr').length"))
          .toBe(50);
        expect((await text("#services tbody tr")).replaceAll(/\s+/g, " ")).toContain(
          `${name(4321)} ClusterIP ${vip(4321)}`,
        );

        // The first row opens, stays open over refreshes, and keeps the focus.
        await tab.evaluate("document.querySelector('#services button').focus()");
        await tab.press("Enter");
        await tab.until("document.querySelectorAll('#services tr.detail').length === 2");
        expect(await text("#services tr.detail:nth-of-type(3)")).toContain("shop/web");
        expect(await tab.evaluate<string>("document.activeElement.getAttribute('aria-expanded')"))
          .toBe("true");
        await shot("services");
        await tab.dark(true);
        await shot("services-dark");
        const paper = "getComputedStyle(document.body).backgroundColor";
        const night = await tab.evaluate<string>(paper);
        await tab.dark(false);
        expect(await tab.evaluate<string>(paper)).not.toBe(night);

        await tab.evaluate("document.querySelector('#next').focus()");
        await tab.press("Enter");
        await tab.until("document.querySelector('#page').innerText === '51–100 of 5000'");
        await tab.press("/");
        expect(await focused()).toBe("search");
        for (const key of "04999") await tab.press(key);
        await tab.until("document.querySelector('#page').innerText === '1–1 of 1'");
        expect(await text("#services tbody")).toContain(name(4999));

        await tab.evaluate("document.querySelector('#tab-services').focus()");
        await tab.press("ArrowRight");
        await tab.until("document.querySelectorAll('#matrix tbody tr').length === 2");
        expect(await text("#matrix")).toContain("from shop");
        expect(
          await tab.evaluate<string[]>(
            "[...document.querySelectorAll('#matrix tbody td[aria-label]')].map((cell) => cell.getAttribute('aria-label'))",
          ),
        )
          .toEqual(["from shop: all", "from vault: all", "from shop: none", "from vault: all"]);
        expect(await text("#policies")).toContain("vault/closed");
        await shot("policies");

        await tab.press("End");
        expect(await focused()).toBe("tab-changes");
        await tab.until("document.querySelectorAll('#changes tbody tr').length > 10");
        expect(await text("#changes")).toContain("created");
        await shot("changes");

        expect(tab.complaints).toEqual([]);
        expect(tab.requests.filter((url) => !url.startsWith(origin) && !url.startsWith("data:")))
          .toEqual([]);
      });
    } finally {
      await page.stop();
      await runtime.stop();
      await linux.close();
    }
  },
  120_000,
);
