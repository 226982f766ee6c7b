// Limits connections, and closes unused ones so that they do not keep others out.

// Open connections; each may need a second one to a server.  Well below the container's limit of open files.
const MAX = 6_000;
// From one address of an untrusted network, that is from one user's server.
const MAX_PER_CLIENT = 256;
// Idle timeout for trusted proxies; for all others, --keep-alive-timeout.  If this side closed a connection before the
// proxy in front does, that proxy would answer 502: nginx keeps them for 60 s, Traefik 90 s, Caddy 120 s.
const IDLE_IN_FRONT_MS = 150_000;
// A body without progress for so many checks is given up; a client's network may well be down for a minute.
const CHECK_MS = 10_000;
const STALLED_CHECKS = 9;
// A rejected client sees only a closed connection; the log says why, at most this often.
const LOG_MS = 60_000;

export class Connections {
  #clients;
  #open = new Set();
  #perClient = new Map();
  // In the order in which they became idle.
  #idle = new Set();
  #running = new WeakMap();
  #uploads = new Map();
  #logged = new Map();

  constructor(clients) {
    this.#clients = clients;
    setInterval(() => this.#check(), CHECK_MS).unref();
  }

  /** Adds a new connection; it may be rejected, or the longest idle one closed for it. */
  add(socket) {
    const client = this.#clients.isUntrusted(socket) ? socket.remoteAddress : undefined;
    const open = this.#perClient.get(client) ?? 0;
    if (client !== undefined && open >= MAX_PER_CLIENT) {
      return this.#reject(socket, `${MAX_PER_CLIENT} of one user's server are open`);
    }
    if (this.#open.size >= MAX) {
      const [oldest] = this.#idle;
      if (!oldest) return this.#reject(socket, `${MAX} are open, and all in use`);
      this.#idle.delete(oldest);
      oldest.destroy();
    }
    this.#open.add(socket);
    this.#idle.add(socket);
    if (client !== undefined) this.#perClient.set(client, open + 1);
    socket.once("close", () => {
      this.#open.delete(socket);
      this.#idle.delete(socket);
      if (client === undefined) return;
      if (this.#perClient.get(client) === 1) this.#perClient.delete(client);
      else this.#perClient.set(client, this.#perClient.get(client) - 1);
    });
    return undefined;
  }

  #reject(socket, why) {
    const now = Date.now();
    if (now - (this.#logged.get(why) ?? 0) >= LOG_MS) {
      this.#logged.set(why, now);
      console.error(`A connection from ${socket.remoteAddress} was turned away: ${why}; said once a minute`);
    }
    return socket.destroy();
  }

  /** Marks a connection as in use until its request is answered. */
  use(request, response) {
    const { socket } = request;
    this.#idle.delete(socket);
    this.#running.set(socket, (this.#running.get(socket) ?? 0) + 1);
    if (!request.complete) this.#uploads.set(request, { read: socket.bytesRead, checks: 0 });
    response.once("close", () => {
      const others = this.#running.get(socket) - 1;
      this.#running.set(socket, others);
      if (others || socket.destroyed) return;
      this.#idle.add(socket);
      if (this.#clients.isTrusted(socket)) socket.setTimeout(IDLE_IN_FRONT_MS);
    });
  }

  /** Keeps a websocket, which is never idle. */
  keep(socket) {
    this.#idle.delete(socket);
  }

  /** Closes stalled uploads; not slow ones, nor those that wait for a server to read them. */
  #check() {
    for (const [request, seen] of this.#uploads) {
      const { socket } = request;
      if (request.complete || socket.destroyed) this.#uploads.delete(request);
      else if (socket.bytesRead !== seen.read || request.readableLength > 0) {
        Object.assign(seen, { read: socket.bytesRead, checks: 0 });
      } else if (++seen.checks >= STALLED_CHECKS) {
        this.#uploads.delete(request);
        socket.destroy();
      }
    }
  }
}
