#!/usr/bin/env python3
"""random-changes.py SEED COUNT FOLDER: writes COUNT random changes of Services and their EndpointSlices as batches of YAML
files for `$LAB apply` and `$LAB delete`, NNN-apply.json and NNN-delete.json, to be carried out in the order of their names.

A change creates, replaces or deletes one Service, or its slices. Everything a Service can say is tried, what is wrong
too, and addresses are few, so that Services compete for them.
"""
import json, os, random, sys

seed, count, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
pick = random.Random(seed)
SERVICES = 50
BATCH = 25
ANNOTATION = "kube-router.io/service."
ODD = {
    "scheduler": ["rr", "lc", "sh", "dh", "mh", "wrr", "nq", "nonsense"],
    "schedflags": ["sh-port", "sh-fallback,sh-port", "mh-fallback", "flag-1,flag-2", "odd"],
    "hairpin": ["", "true", "false"],
    "hairpin.externalips": ["", "false"],
    "local": ["true", "false", "maybe"],
    "skiplbips": ["true", "false"],
    "dsr": ["tunnel", "tunnel", "other"],
}


def maybe(chance):
    return pick.random() < chance


def some(values, most):
    return pick.sample(values, pick.randint(0, most))


def service(i):
    families = pick.choice([[4], [6], [4, 6], [6, 4]])
    own = {4: f"10.96.0.{i + 1}", 6: f"fd00:96::{i + 1:x}"}
    ips = [own[f] for f in families]
    metadata = {"name": f"s-{i}", "namespace": "default"}
    if maybe(0.4):
        metadata["annotations"] = {ANNOTATION + k: pick.choice(ODD[k]) for k in some(list(ODD), 3)}
    if maybe(0.05):
        label = pick.choice(["headless", "service-proxy-name"])
        metadata["labels"] = {f"service.kubernetes.io/{label}": pick.choice(["", "other", "kube-router"])}
    kind = pick.choice(["ClusterIP", "ClusterIP", "NodePort", "LoadBalancer"])
    if maybe(0.04):
        return {"apiVersion": "v1", "kind": "Service", "metadata": metadata,
                "spec": {"type": "ExternalName", "externalName": "example.org"}}
    if maybe(0.04):
        ips = ["None"]
    ports = []
    for n, (protocol, port) in enumerate([("TCP", 80), ("UDP", 53), ("SCTP", 9000), ("TCP", 443)]):
        if n > 0 and maybe(0.6):
            continue
        ports.append({"name": f"p{n}", "protocol": protocol, "port": port, "targetPort": port})
        if kind != "ClusterIP" and maybe(0.8):
            ports[-1]["nodePort"] = 30000 + 10 * i + n
    spec = {"type": kind, "clusterIP": ips[0], "clusterIPs": ips, "ports": ports}
    if ips != ["None"]:
        spec["ipFamilies"] = [f"IPv{f}" for f in families]
        spec["ipFamilyPolicy"] = "SingleStack" if len(families) == 1 else "RequireDualStack"
    if maybe(0.4):
        outside = ["192.0.2.1", "10.96.0.3"]
        spec["externalIPs"] = some([f"203.0.113.{n}" for n in range(1, 8)] + ["fd00:203::1", "fd00:203::2"] + outside, 3)
    if maybe(0.3):
        spec["sessionAffinity"] = "ClientIP"
        spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": pick.choice([60, 600, 10800])}}
    for policy in ("internalTrafficPolicy", "externalTrafficPolicy"):
        if maybe(0.25):
            spec[policy] = "Local"
    if kind == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local":
        spec["healthCheckNodePort"] = 31000 + i
    if maybe(0.2):
        spec["loadBalancerSourceRanges"] = some(["192.0.2.0/24", "0.0.0.0/0", "fd00:50::/64", "odd", "10.0.0.0/8"], 3)
    if maybe(0.1):
        spec["publishNotReadyAddresses"] = True
    made = {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}
    if kind == "LoadBalancer":
        ips = some([f"198.51.100.{n}" for n in range(1, 5)] + ["fd00:198::1", "203.0.113.1"], 2)
        ingress = [{"ip": ip, "ipMode": pick.choice(["VIP", "VIP", "Proxy"])} for ip in ips]
        made["status"] = {"loadBalancer": {"ingress": ingress + [{"hostname": "lb.example.org"}]}}
    return made


def slices(i):
    for family in (4, 6):
        endpoints = []
        for n in some(range(1, 9), 5):
            # Numbers 5 and 6 are pods of this node, the rest are elsewhere.
            here = n in (5, 6)
            if family == 4:
                address = f"10.244.{1 if here else 2}.{n}"
            else:
                address = f"fd00:244:{1 if here else 2}::{n}"
            conditions = {"ready": maybe(0.8)}
            if maybe(0.2):
                conditions["serving"], conditions["terminating"] = maybe(0.7), maybe(0.7)
            endpoint = {"addresses": [address], "nodeName": "one" if here else "two", "conditions": conditions}
            if maybe(0.3):
                endpoint["hints"] = {"forZones": [{"name": pick.choice("ab")}]}
            endpoints.append(endpoint)
        ports = [{"name": f"p{n}", "protocol": p, "port": pick.choice([port, port, port + 8000])}
                 for n, (p, port) in enumerate([("TCP", 80), ("UDP", 53), ("SCTP", 9000), ("TCP", 443)]) if maybe(0.9)]
        yield {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": f"IPv{family}",
               "metadata": {"name": f"s-{i}-{family}", "namespace": "default",
                            "labels": {"kubernetes.io/service-name": f"s-{i}"}},
               "ports": ports, "endpoints": endpoints}


def write(name, objects):
    if objects:
        with open(os.path.join(folder, name), "w") as file:
            json.dump({"apiVersion": "v1", "kind": "List", "items": objects}, file)


there = set()
batch = 0
done = 0
while done < count:
    applied, deleted = {}, {}
    for _ in range(min(BATCH, count - done)):
        done += 1
        i = pick.randrange(SERVICES)
        if i in there and maybe(0.25):
            there.discard(i)
            applied.pop(i, None)
            gone = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": f"s-{i}", "namespace": "default"}}
            # Some slices outlive their Service.
            deleted[i] = [gone] + [each for each in slices(i) if maybe(0.5)]
        else:
            new = [] if i in there and maybe(0.4) else [service(i)]
            if new == [] or i not in there or maybe(0.3):
                new += slices(i)
            there.add(i)
            applied[i] = applied.get(i, []) + new
    batch += 1
    write(f"{batch:03}-1-delete.json", [o for each in deleted.values() for o in each])
    write(f"{batch:03}-2-apply.json", [o for each in applied.values() for o in each])
