/** The bridge that a node's pods hang on, by the name that kube-router and its CNI configuration give it. */
export const POD_BRIDGE = "kube-bridge";
