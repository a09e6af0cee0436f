/** The dummy link that carries the VIPs. */
export const VIP_LINK = "kube-dummy-if";
