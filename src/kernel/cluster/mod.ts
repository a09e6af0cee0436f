/** The cluster as plugins see it: a store a kind, filled from an API server or from a folder of manifests. */

export * from "./kinds.ts";
export type { ClusterSource, KindState, SourceState, Stores, Watch } from "./source.ts";
export type { Store, StoreChange } from "./store.ts";
export { createStore } from "./store.ts";
export { CredentialsError } from "./credentials.ts";
export { type ApiSourceOptions, openApiSource } from "./api-source.ts";
export { type ManifestSourceOptions, openManifestSource } from "./manifest-source.ts";
