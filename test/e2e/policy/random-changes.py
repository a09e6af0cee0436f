#!/usr/bin/env python3
"""random-changes.py SEED COUNT FOLDER: writes COUNT random changes of policies, pods and namespaces as batches of 25 for `$LAB apply` and
`$LAB delete`: NNN-1-delete.json and NNN-2-apply.json, to be carried out in the order of their names.

Pods that come and go are on nodes that the lab has not, so that they cost no namespaces; those of this node change their labels.
"""
import json, os, random, sys

seed, count, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
pick = random.Random(seed)
SPACES = ["a", "b", "c"]
APPS = ["web", "db", "dns", "cache"]
BATCH = 25
# As in cluster.yaml.
LOCAL = [("a", "web", 2, [("http", "TCP", 80), ("dns", "UDP", 53)]), ("a", "dns", 3, [("dns", "UDP", 53), ("dns", "TCP", 53)]),
         ("b", "db", 4, [("metrics", "TCP", 8081), ("http", "UDP", 80)])]


def maybe(chance):
    return pick.random() < chance


def labels():
    return {"app": pick.choice(APPS), **({"tier": pick.choice(["front", "back"])} if maybe(0.5) else {})}


def selector():
    if maybe(0.2):
        return {}
    if maybe(0.5):
        return {"matchLabels": {"app": pick.choice(APPS)}}
    operator = pick.choice(["In", "NotIn", "Exists", "DoesNotExist"])
    values = {"values": pick.sample(APPS, 2)} if operator in ("In", "NotIn") else {}
    return {"matchExpressions": [{"key": pick.choice(["app", "tier"]), "operator": operator, **values}]}


def peer():
    kind = pick.randrange(5)
    if kind == 0:
        cidr, inner = pick.choice([("10.0.0.0/8", "10.1.1.0/24"), ("0.0.0.0/0", "10.1.2.3/32"), ("fd01::/16", "fd01:2::/64"),
                                   ("::/0", "fd00::/8"), ("192.168.1.99/32", None), ("nonsense", None)])
        return {"ipBlock": {"cidr": cidr, **({"except": [inner]} if inner and maybe(0.5) else {})}}
    if kind == 1:
        return {"namespaceSelector": pick.choice([{}, {"matchLabels": {"env": pick.choice(["prod", "test"])}}])}
    if kind == 2:
        return {"namespaceSelector": {"matchLabels": {"env": "prod"}}, "podSelector": selector()}
    return {"podSelector": selector()}


def port():
    return pick.choice([{"port": 80}, {"protocol": "UDP", "port": "dns"}, {"port": "http"}, {"port": 8000, "endPort": 8100},
                        {"protocol": "UDP"}, {"protocol": "SCTP", "port": 9}, {"port": "absent"}])


def rule(side):
    made = {}
    if maybe(0.8):
        made[side] = [peer() for _ in range(pick.randint(1, 3))]
    if maybe(0.7):
        made["ports"] = [port() for _ in range(pick.randint(1, 3))]
    return made


def policy(space, name):
    spec = {"podSelector": selector(), "policyTypes": pick.choice([["Ingress"], ["Egress"], ["Ingress", "Egress"]])}
    for side, where in (("ingress", "from"), ("egress", "to")):
        if maybe(0.7):
            spec[side] = [rule(where) for _ in range(pick.randint(0, 3))]
    metadata = {"namespace": space, "name": name}
    if maybe(0.1):
        metadata["annotations"] = {"routelet.io/audit": "true"}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}


def remote(i):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": SPACES[i % 3], "name": f"far-{i}", "labels": labels()},
            "spec": {"nodeName": "elsewhere", "containers": [{"name": "main", "ports": [
                {"name": pick.choice(["http", "dns"]), "protocol": "TCP", "containerPort": pick.choice([80, 8080])}]}]},
            "status": {"phase": pick.choice(["Running", "Running", "Running", "Succeeded"]),
                       "podIPs": [{"ip": f"10.1.9.{i + 2}"}, {"ip": f"fd01:9::{i + 2:x}"}]}}


def local():
    space, name, host, ports = pick.choice(LOCAL)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": space, "name": name, "labels": labels()},
            "spec": {"nodeName": "node1", "containers": [{"name": "main", "ports": [
                {"name": n, "protocol": p, "containerPort": c} for n, p, c in ports]}]},
            "status": {"phase": "Running", "podIPs": [{"ip": f"10.1.1.{host}"}, {"ip": f"fd01:1::{host}"}]}}


def namespace():
    metadata = {"name": pick.choice(SPACES), "labels": {"env": pick.choice(["prod", "test"])} if maybe(0.8) else {}}
    if maybe(0.3):
        isolation = pick.choice(['{"ingress": {"isolation": "DefaultDeny"}}', "no JSON"])
        metadata["annotations"] = {"net.beta.kubernetes.io/network-policy": isolation}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def write(name, objects):
    if objects:
        with open(os.path.join(folder, name), "w") as file:
            json.dump({"apiVersion": "v1", "kind": "List", "items": list(objects)}, file)


def key(item):
    return f"{item['kind']} {item['metadata'].get('namespace')}/{item['metadata']['name']}"


there = {}
for batch in range(1, count // BATCH + 1):
    applied, deleted = {}, {}
    for _ in range(BATCH):
        kind = pick.random()
        if kind < 0.6:
            item = policy(pick.choice(SPACES), f"p-{pick.randrange(20)}")
        elif kind < 0.85:
            item = remote(pick.randrange(60))
        else:
            item = local() if kind < 0.95 else namespace()
        k = key(item)
        if kind < 0.85 and k in there and k not in applied and maybe(0.3):
            deleted[k] = there.pop(k)
        else:
            applied[k] = there[k] = item
    write(f"{batch:03}-1-delete.json", [item for k, item in deleted.items()])
    write(f"{batch:03}-2-apply.json", applied.values())
