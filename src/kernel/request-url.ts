/** The path that a request asks for, whatever its Host says. */

/**
 * The URL of a request, on a host that means nothing. A request of HTTP/1.0 has no Host, as load balancers send it, and Bun gives
 * then a path alone for its URL; one with a broken Host gives what is no URL.
 */
export function requestUrl({ url }: { readonly url: string }): URL {
  const path = url.replace(/^[a-z]+:\/\/[^/?]*/i, "");
  return new URL(`http://agent${path.startsWith("/") ? path : "/"}`);
}
