/**
 * Objects of one kind by namespace and label, so that the work of one change does not grow with the
 * cluster: 10,000 Services and 50,000 Pods in one namespace are usual for benchmarks.
 */

type Labels = Readonly<Record<string, string>>;

export interface LabelIndex<T> {
  /** Labels undefined: the object is gone. */
  readonly set: (namespace: string, name: string, labels: Labels | undefined, value: T) => void;
  /** Objects with any of the labels, by name. */
  readonly withAny: (namespace: string, labels: Labels) => ReadonlyMap<string, T>;
  /** A superset of the objects with all of the labels: those with the rarest one. */
  readonly candidates: (namespace: string, labels: Labels) => ReadonlyMap<string, T>;
}

const NONE: ReadonlyMap<string, never> = new Map<string, never>();

export function createLabelIndex<T>(): LabelIndex<T> {
  const known = new Map<string, readonly string[]>();
  const groups = new Map<string, Map<string, T>>();
  return {
    set: (namespace, name, labels, value) => {
      const key = `${namespace}/${name}`;
      for (const group of known.get(key) ?? []) {
        const members = groups.get(group);
        members?.delete(name);
        if (members?.size === 0) groups.delete(group);
      }
      known.delete(key);
      if (labels === undefined) return;
      const keys = groupKeys(namespace, labels);
      known.set(key, keys);
      for (const group of keys) {
        const members = groups.get(group) ?? new Map<string, T>();
        groups.set(group, members.set(name, value));
      }
    },
    withAny: (namespace, labels) =>
      new Map(groupKeys(namespace, labels).flatMap((key) => [...groups.get(key) ?? NONE])),
    candidates: (namespace, labels) =>
      groupKeys(namespace, labels)
        .map((key): ReadonlyMap<string, T> => groups.get(key) ?? NONE)
        .reduce((least, next) => least === NONE || next.size < least.size ? next : least, NONE),
  };
}

function groupKeys(namespace: string, labels: Labels): readonly string[] {
  return Object.entries(labels).map(([key, value]) => `${namespace}/${key}=${value}`);
}
