// Which of JupyterHub's cookies reach a user's server: only its own.  The path of the default server (/user/ann/) is a
// prefix of those of named servers, so a browser sends them its cookie, too; a guest could read it there.

import { ConfigurableProxy } from "configurable-http-proxy/lib/configproxy.js";

const OF_SERVERS = /^(__Host-)?jupyterhub-user-/;
const DURING_LOGIN = /^-oauth-state(-[a-zA-Z]+)?$/;

/** Quotes text as Python's urllib.parse.quote does, by which JupyterHub names cookies. */
const quote = (text) =>
  encodeURIComponent(text)
    .replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)
    .replaceAll("%2F", "/");

/** Whether a server may see a cookie, which is named after it (HubOAuth.cookie_name). */
function isFor(server, cookie) {
  const name = cookie.split("=", 1)[0].trim();
  if (!OF_SERVERS.test(name)) return true;
  const bare = name.replace(/^__Host-/, "");
  return bare === server || (bare.startsWith(server) && DURING_LOGIN.test(bare.slice(server.length)));
}

/** Removes other servers' cookies from a request to a route; of one that was just removed, those of all servers. */
function keepOwn(headers, { user, server_name: name } = { user: "" }) {
  if (headers.cookie === undefined || user === undefined) return;
  const server = ["jupyterhub-user", user, ...(name ? [name] : [])].map(quote).join("-");
  const kept = headers.cookie.split(";").filter((each) => isFor(server, each)).map((each) => each.trim());
  if (kept.length) headers.cookie = kept.join("; ");
  else delete headers.cookie;
}

/** Wraps the proxy's search for a route, which comes before each request and websocket. */
export function keepCookiesApart() {
  const { targetForReq } = ConfigurableProxy.prototype;
  ConfigurableProxy.prototype.targetForReq = async function (request) {
    const found = await targetForReq.call(this, request);
    if (found) keepOwn(request.headers, await this._routes.get(found.prefix));
    return found;
  };
}
