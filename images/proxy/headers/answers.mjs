// The headers of every response; none that would break notebooks: no script-src, no COEP, no COOP.

const YEAR_S = 31_536_000;

/** Returns headers by name, from those of the upstream response: a value to set, or undefined to remove it. */
function wanted(given, protocol) {
  const policy = given("content-security-policy");
  const framed = /(^|[;,])\s*frame-ancestors(?=[\s;,]|$)/i.test(policy);
  const hsts = given("strict-transport-security");
  return {
    // Not needed on the public port: Hub and servers compare versions directly.
    server: undefined,
    "x-powered-by": undefined,
    "x-jupyterhub-version": undefined,
    "x-content-type-options": "nosniff",
    // Only the origin for other sites: with "same-origin", embedded videos in notebooks do not play.  JupyterHub and
    // Jupyter check the Referer of their own pages, which stays complete.
    "referrer-policy": /^\s*(no-referrer|same-origin|strict-origin)\s*$/i.test(given("referrer-policy"))
      ? given("referrer-policy")
      : "strict-origin-when-cross-origin",
    "x-frame-options": /^\s*deny\s*$/i.test(given("x-frame-options")) ? "DENY" : "SAMEORIGIN",
    "content-security-policy": framed ? policy : `${policy}${policy && "; "}frame-ancestors 'self'`,
    "strict-transport-security":
      protocol !== "https"
        ? undefined
        : Number(/max-age="?(\d+)/i.exec(hsts)?.[1] ?? 0) >= YEAR_S
          ? hsts
          : `max-age=${YEAR_S}`,
  };
}

/** Adds Secure to a cookie; programs in a user's server do not know that the client uses https. */
function secured(cookie) {
  return /;\s*secure\s*(;|$)/i.test(cookie) ? cookie : `${cookie}; Secure`;
}

/** Sets the headers of a response that is about to be written. */
export function dress(response, protocol) {
  const given = (name) => [response.getHeader(name) ?? []].flat().join(", ");
  for (const [name, value] of Object.entries(wanted(given, protocol))) {
    if (value === undefined) response.removeHeader(name);
    else response.setHeader(name, value);
  }
  const cookies = [response.getHeader("set-cookie") ?? []].flat();
  if (cookies.length && protocol === "https") response.setHeader("set-cookie", cookies.map(secured));
}

/** Does the same for a response head that is written as text. */
export function dressHead(text, protocol) {
  const end = typeof text === "string" && text.startsWith("HTTP/") ? text.indexOf("\r\n\r\n") : -1;
  if (end < 0) return text;
  const [status, ...lines] = text.slice(0, end).split("\r\n");
  const nameOf = (line) => line.split(":", 1)[0].toLowerCase();
  const given = (name) =>
    lines.filter((line) => nameOf(line) === name).map((line) => line.slice(name.length + 1).trim()).join(", ");
  const headers = wanted(given, protocol);
  const kept = lines
    .filter((line) => !(nameOf(line) in headers))
    .map((line) => (nameOf(line) === "set-cookie" && protocol === "https" ? secured(line) : line));
  const ours = Object.entries(headers).filter(([, value]) => value !== undefined).map((pair) => pair.join(": "));
  return [status, ...kept, ...ours].join("\r\n") + text.slice(end);
}
