// Which connections stay open, and how many: what nobody uses must not keep others out.

// All that is open at once; each may need a second one, to a server.  Well below the container's limit of open files.
const MOST = 6_000;
// From one address of a network that is never believed, which is one user's server.
const MOST_OF_ONE = 256;
// With no request in progress; anybody else's, --keep-alive-timeout.  A connection that a proxy in front keeps open must
// not end on this side first, which it would answer with a 502: nginx keeps them 60 s, Traefik 90 s, Caddy 120 s.
const IDLE_IN_FRONT_MS = 150_000;
// A body of which nothing comes for so many looks, 10 s apart, has no rest; a line may well be down for a minute.
const LOOK_MS = 10_000;
const STANDING_LOOKS = 9;
// One who is turned away sees a broken connection and no more; the log says why, so often.
const SAY_MS = 60_000;

export class Connections {
  #clients;
  #open = new Set();
  #ofOne = new Map();
  // In the order in which they became idle.
  #idle = new Set();
  #running = new WeakMap();
  #uploads = new Map();
  #said = new Map();

  constructor(clients) {
    this.#clients = clients;
    setInterval(() => this.#look(), LOOK_MS).unref();
  }

  /** A new one; it may be ended at once, or end another. */
  add(socket) {
    const one = this.#clients.isUntrusted(socket) ? socket.remoteAddress : undefined;
    const sameOne = this.#ofOne.get(one) ?? 0;
    if (one !== undefined && sameOne >= MOST_OF_ONE) {
      return this.#turnAway(socket, `${MOST_OF_ONE} of one user's server are open`);
    }
    if (this.#open.size >= MOST) {
      const [oldest] = this.#idle;
      if (!oldest) return this.#turnAway(socket, `${MOST} are open, and all in use`);
      this.#idle.delete(oldest);
      oldest.destroy();
    }
    this.#open.add(socket);
    this.#idle.add(socket);
    if (one !== undefined) this.#ofOne.set(one, sameOne + 1);
    socket.once("close", () => {
      this.#open.delete(socket);
      this.#idle.delete(socket);
      if (one === undefined) return;
      if (this.#ofOne.get(one) === 1) this.#ofOne.delete(one);
      else this.#ofOne.set(one, this.#ofOne.get(one) - 1);
    });
    return undefined;
  }

  #turnAway(socket, why) {
    const now = Date.now();
    if (now - (this.#said.get(why) ?? 0) >= SAY_MS) {
      this.#said.set(why, now);
      console.error(`A connection from ${socket.remoteAddress} was turned away: ${why}; said once a minute`);
    }
    return socket.destroy();
  }

  /** A request has come, whose answer takes as long as it does. */
  use(request, response) {
    const { socket } = request;
    this.#idle.delete(socket);
    this.#running.set(socket, (this.#running.get(socket) ?? 0) + 1);
    if (!request.complete) this.#uploads.set(request, { read: socket.bytesRead, looks: 0 });
    response.once("close", () => {
      const others = this.#running.get(socket) - 1;
      this.#running.set(socket, others);
      if (others || socket.destroyed) return;
      this.#idle.add(socket);
      if (this.#clients.isTrusted(socket)) socket.setTimeout(IDLE_IN_FRONT_MS);
    });
  }

  /** A websocket, which stays. */
  keep(socket) {
    this.#idle.delete(socket);
  }

  /** Ends uploads of which nothing more comes, however slowly; not those that wait for a server to take them. */
  #look() {
    for (const [request, seen] of this.#uploads) {
      const { socket } = request;
      if (request.complete || socket.destroyed) this.#uploads.delete(request);
      else if (socket.bytesRead !== seen.read || request.readableLength > 0) {
        Object.assign(seen, { read: socket.bytesRead, looks: 0 });
      } else if (++seen.looks >= STANDING_LOOKS) {
        this.#uploads.delete(request);
        socket.destroy();
      }
    }
  }
}
