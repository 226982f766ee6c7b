// Which of JupyterHub's cookies reach a user's server: only its own.  The path of the default server (/user/ann/) is a
// prefix of those of named servers, so a browser sends them its cookie, too; a guest could read it there.

import { ConfigurableProxy } from "configurable-http-proxy/lib/configproxy.js";

// With JupyterHub.cookie_host_prefix_enabled, the path of all of them is "/".
const OF_HUB_AND_SERVERS = /^(__Host-)?jupyterhub-(user-|hub-login)|^__Host-service-/;
const DURING_LOGIN = /^-oauth-state(-[a-zA-Z]+)?$/;

/** Whether a server may see a cookie, given the name of its own. */
function isFor(own, cookie) {
  const name = cookie.split("=", 1)[0].trim();
  if (!OF_HUB_AND_SERVERS.test(name)) return true;
  const bare = name.replace(/^__Host-/, "");
  return bare === own || (bare.startsWith(own) && DURING_LOGIN.test(bare.slice(own.length)));
}

/** Removes other servers' cookies from a request to a route; of one that was just removed, those of all servers. */
function keepOwn(headers, { cookie: own } = { cookie: "" }) {
  // Not a user's server.
  if (headers.cookie === undefined || own === undefined) return;
  const kept = headers.cookie.split(";").filter((each) => isFor(own, each)).map((each) => each.trim());
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
