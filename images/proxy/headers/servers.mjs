// Closes connections to servers that are gone.  A killed container sends no FIN, so requests to it would hang for more
// than a minute (seen: 72 s), and block the browser, which opens at most six connections to a host.

import { MemoryStore } from "configurable-http-proxy/lib/store.js";

// A server that is being stopped can still answer pending requests.
const GRACE_MS = 5_000;

/** Host and port, from a route's URL or an agent's options. */
const place = ({ hostname, host, port }) => `${hostname ?? host}:${port || 80}`.replace(/[[\]]/g, "");
const placeOf = (target) => place(new URL(target));

/** Closes an agent's connections to targets that no longer have a route. */
export function endWithRoutes(agent) {
  const connections = new Map();
  const { createConnection } = agent;
  agent.createConnection = function (options, ...more) {
    const socket = createConnection.call(this, options, ...more);
    const to = place(options);
    if (!connections.has(to)) connections.set(to, new Set());
    connections.get(to).add(socket);
    socket.once("close", () => {
      connections.get(to)?.delete(socket);
      if (!connections.get(to)?.size) connections.delete(to);
    });
    return socket;
  };

  function end(to, routes, which = () => true) {
    if (Object.values(routes).some(({ target }) => placeOf(target) === to)) return;
    const ended = [...(connections.get(to) ?? [])].filter(which);
    for (const socket of ended) socket.destroy();
    if (ended.length) console.log(`Closed ${ended.length} connections to ${to}, which no longer has a route`);
  }

  function left(route, routes) {
    if (!route) return;
    const to = placeOf(route.target);
    end(to, routes, (socket) => socket.connecting);
    setTimeout(() => end(to, routes), GRACE_MS).unref();
  }

  const { add, remove } = MemoryStore.prototype;
  MemoryStore.prototype.add = function (path, data) {
    const before = this.routes[this.cleanPath(path)];
    const done = add.call(this, path, data);
    left(before, this.routes);
    return done;
  };
  MemoryStore.prototype.remove = function (path) {
    const before = this.routes[this.cleanPath(path)];
    const done = remove.call(this, path);
    left(before, this.routes);
    return done;
  };
}
