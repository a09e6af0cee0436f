/**
 * The machine room: builds the topology, serves the API, plays kubelet, keeps the agents and runs the script. Started by
 * init.py with the job's folder, which it leaves with a file `status`: the exit status and, where the lab itself failed, the
 * reason.
 */

import {
  appendFileSync,
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from "node:fs";
import { startApi, startEndpointController } from "../api/mod.ts";
import type { LabApi } from "../api/types.ts";
import { parseCidr, subnetOf } from "../topology/cidr.ts";
import { type Layout, layOut } from "../topology/layout.ts";
import { type NodeSpec, readTopology, type Topology } from "../topology/topology.ts";
import { createAgents } from "./agents.ts";
import type { Boot } from "./boot.ts";
import { applyObjects, createCommands, type Room } from "./commands.ts";
import { serveControl } from "./control.ts";
import { connectHands } from "./hands.ts";
import { startKubelet } from "./kubelet.ts";
import { nodeObject } from "./objects.ts";
import { serveApiOnNodes } from "./control-plane.ts";
import { startRouters } from "./routers.ts";

const FOLDER = "/run/lab";
const API_PORT = 6443;
const LOCAL_PORT = 8080;

const job = process.argv[2] ?? "/job";
const started = performance.now();

function say(text: string): void {
  console.log(`${Math.round(performance.now() - started)} ms: ${text}`);
}

/** For the caller's eyes: the script's standard error has it too. */
function warn(text: string): void {
  appendFileSync(`${job}/stderr`, `lab: ${text}\n`);
}

function finish(status: number, reason = ""): never {
  writeFileSync(`${job}/status.tmp`, `${status} ${reason}\n`);
  renameSync(`${job}/status.tmp`, `${job}/status`);
  process.exit(0);
}

async function main(): Promise<void> {
  const boot = JSON.parse(readFileSync(`${job}/boot.json`, "utf8")) as Boot;
  const topology = readTopology(boot.topology, () => {});
  const layout = layOut(topology);
  const hands = await connectHands(`${FOLDER}/hands`, (reason) => finish(125, reason));
  const building = hands.build(layout.steps);

  const api = await startApi({ host: "127.0.0.1", port: LOCAL_PORT });
  startEndpointController(api);
  listenForNodes(api, layout);
  writeKubeconfigs(api, topology, layout);
  api.applyAll(topology.nodes.map(nodeObject));
  await building;
  say("namespaces are built");

  const kubelet = startKubelet(api, topology, hands, warn);
  const agents = createAgents(topology, hands, {
    executable: boot.routelet,
    lab: boot.lab,
    logs: `${boot.out}/agents`,
    environment: boot.env,
    readySeconds: boot.readySeconds,
  });
  const room: Room = { topology, api, hands, kubelet, agents, cables: layout.cables };
  const refused = await applyObjects(room, boot.objects);
  if (refused.length > 0) throw new Error(`manifests: ${refused.join("; ")}`);
  say("manifests are applied");

  serveApiOnNodes(api, topology, hands, API_PORT, warn);
  await startRouters(boot, topology);
  await Promise.all(
    topology.nodes.filter(({ agent }) => agent).map(({ name }) => agents.start(name)),
  );
  say("agents are ready");
  serveControl(`${FOLDER}/control`, createCommands(room));
  finish(await runScript(boot, room));
}

/** The address of the lab's router in the node's subnet reaches the API without any route. */
function listenForNodes(api: LabApi, { gateways }: Layout): void {
  const names = ["127.0.0.1", "::1", "kubernetes", ...gateways.values()];
  try {
    api.listen({ host: "::", port: API_PORT, tls: { names }, anonymous: false });
  } catch {
    api.listen({ host: "0.0.0.0", port: API_PORT, tls: { names }, anonymous: false });
  }
}

function writeKubeconfigs(api: LabApi, topology: Topology, layout: Layout): void {
  mkdirSync(`${FOLDER}/nodes`, { recursive: true });
  const server = `https://127.0.0.1:${API_PORT}`;
  writeFileSync(`${FOLDER}/kubeconfig`, api.kubeconfig({ server }), { mode: 0o600 });
  for (const node of topology.nodes) {
    mkdirSync(`${FOLDER}/nodes/${node.name}`);
    const path = `${FOLDER}/nodes/${node.name}/kubeconfig`;
    writeFileSync(path, api.kubeconfig({ server: apiAddress(node, layout) }), { mode: 0o600 });
  }
}

function apiAddress(node: NodeSpec, { gateways }: Layout): string {
  for (const cidr of node.addresses) {
    const gateway = gateways.get(subnetOf(cidr));
    if (gateway === undefined) continue;
    const host = parseCidr(`${gateway}/0`).family === 6 ? `[${gateway}]` : gateway;
    return `https://${host}:${API_PORT}`;
  }
  throw new Error(`node "${node.name}": its subnet has no free address for the lab's router`);
}

async function runScript(boot: Boot, room: Room): Promise<number> {
  const { topology, api } = room;
  const names = (list: readonly { readonly name: string }[]) =>
    list.map(({ name }) => name).join(" ");
  const pods = api.list("Pod").map(({ metadata }) => `${metadata?.namespace}-${metadata?.name}`);
  const out = openSync(`${job}/stdout`, "a");
  const err = openSync(`${job}/stderr`, "a");
  const child = Bun.spawn([boot.script], {
    cwd: boot.cwd,
    stdin: null,
    stdout: out,
    stderr: err,
    env: {
      ...boot.env,
      LAB: boot.lab,
      LAB_API: `http://127.0.0.1:${LOCAL_PORT}`,
      LAB_TOKEN: api.token,
      LAB_KUBECONFIG: `${FOLDER}/kubeconfig`,
      LAB_OUT: boot.out,
      LAB_NODES: names(topology.nodes),
      LAB_PODS: pods.join(" "),
      LAB_CLIENTS: names(topology.clients),
      LAB_ROUTERS: names(topology.routers),
      LAB_PLACE: boot.place,
      LAB_ROUTELET: boot.routelet,
    },
  });
  closeSync(out);
  closeSync(err);
  say("the script runs");
  const status = await child.exited;
  say(`the script ended with ${status}`);
  return child.signalCode === null ? status : 128 + 15;
}

try {
  await main();
} catch (error) {
  console.error(error);
  finish(125, (error as Error).message);
}
