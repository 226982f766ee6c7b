// Who the client is, and by which protocol it came: what JupyterHub and users' servers are told with a request.

import net from "node:net";
import os from "node:os";

// All that programs behind a proxy read about the client.  WSGI takes "_" for "-".
const FORWARDED =
  /^(forwarded|x[-_](forwarded([-_].*)?|original[-_](forwarded[-_].*|host|proto)|real[-_]port|scheme|url[-_]scheme)|front[-_]end[-_]https|cf[-_](visitor|pseudo[-_]ipv4)|(.*[-_])?(real|client|connecting|remote|originating|external|user|socket|peer)[-_]?(ip|addr|address)(v?[46])?)$/;
// Traefik calls a websocket's protocol by its own name.
const PROTOCOLS = { http: "http", https: "https", ws: "http", wss: "https" };

/** An IP address in its one spelling, an IPv4-mapped one as IPv4; undefined where the text is none. */
function parseAddress(text) {
  if (net.isIPv4(text)) return { address: text, family: "ipv4" };
  if (!net.isIPv6(text)) return undefined;
  const [bare] = text.split("%");
  const { address } = new net.SocketAddress({ address: bare, family: "ipv6" });
  const mapped = address.replace(/^::ffff:(?=\d+\.)/i, "");
  return mapped === address ? { address, family: "ipv6" } : { address: mapped, family: "ipv4", mapped: true };
}

/** Adds an address or a network to the list; false where the text is neither. */
function add(list, text) {
  const [, base, length] = /^([^/%]+)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  const parsed = parseAddress(base ?? "");
  if (!parsed) return false;
  const bits = parsed.family === "ipv4" ? 32 : 128;
  const prefix = length === undefined ? bits : Number(length) - (parsed.mapped ? 96 : 0);
  if (prefix < 0 || prefix > bits) return false;
  list.addSubnet(parsed.address, prefix, parsed.family);
  return true;
}

const holds = (list, { address, family }) => list.check(address, family);

const NEIGHBOURS = "neighbours";

/** The network of the interface that a connection arrived on.  Interfaces come and go: containers join networks late. */
function neighbourhood(socket) {
  const list = new net.BlockList();
  const local = parseAddress(socket.localAddress ?? "")?.address;
  for (const { address, cidr } of Object.values(os.networkInterfaces()).flat()) {
    if (cidr && parseAddress(address)?.address === local) add(list, cidr);
  }
  return list;
}

export class Clients {
  #trusted = new net.BlockList();
  #untrusted = new net.BlockList();
  #neighbours = false;
  #sockets = new WeakMap();

  constructor({ TRUSTED_PROXIES: trusted = "", UNTRUSTED_NETWORKS: untrusted = "" }) {
    this.#read("TRUSTED_PROXIES", trusted, (entry) => {
      if (entry === NEIGHBOURS) this.#neighbours = true;
      return entry === NEIGHBOURS || add(this.#trusted, entry);
    });
    this.#read("UNTRUSTED_NETWORKS", untrusted, (entry) => add(this.#untrusted, entry));
  }

  #read(name, value, take) {
    if (!value.trim()) return;
    for (const entry of value.split(",").map((text) => text.trim())) {
      if (take(entry)) continue;
      const word = name === "TRUSTED_PROXIES" ? ` or the word "${NEIGHBOURS}"` : "";
      throw new Error(
        `${name}: ${JSON.stringify(entry)} is no IP address and no network. ` +
          `Set it to addresses and networks separated by commas (10.0.0.5,10.1.0.0/16,2001:db8::/32)${word}, or to nothing.`
      );
    }
  }

  /** The peer of a connection, and whom that connection lets us believe; looked at once. */
  #peer(socket) {
    let known = this.#sockets.get(socket);
    if (!known) {
      const near = this.#neighbours ? neighbourhood(socket) : new net.BlockList();
      const trusts = (who) => !holds(this.#untrusted, who) && (holds(this.#trusted, who) || holds(near, who));
      known = { peer: parseAddress(socket.remoteAddress ?? ""), trusts };
      this.#sockets.set(socket, known);
    }
    return known;
  }

  /** Whether what this connection says about the client counts. */
  isTrusted(socket) {
    const { peer, trusts } = this.#peer(socket);
    return Boolean(peer && trusts(peer));
  }

  /** Whether it comes from a network that is never believed. */
  isUntrusted(socket) {
    const { peer } = this.#peer(socket);
    return Boolean(peer && holds(this.#untrusted, peer));
  }

  /** The rightmost address in X-Forwarded-For that is not a trusted proxy's own: what is left of it can be forged. */
  #client(chain, peer, trusts) {
    let client = peer;
    for (const text of chain.split(",").reverse()) {
      const hop = parseAddress(text.trim());
      if (!hop) return peer;
      client = hop;
      if (!trusts(hop)) break;
    }
    return client;
  }

  /** Puts what is true about the client in the place of what the request claims; returns it. */
  tell(request) {
    const { headers, socket } = request;
    const { peer, trusts } = this.#peer(socket);
    const claimed = peer && trusts(peer) ? { ...headers } : {};
    // What goes upstream are these headers (names in small letters, duplicates joined), never rawHeaders.
    for (const name of Object.keys(headers)) if (FORWARDED.test(name)) delete headers[name];

    const client = claimed["x-forwarded-for"] ? this.#client(claimed["x-forwarded-for"], peer, trusts) : peer;
    const [first] = (claimed["x-forwarded-proto"] ?? "").split(",");
    const protocol = Object.hasOwn(PROTOCOLS, first.trim().toLowerCase()) ? PROTOCOLS[first.trim().toLowerCase()] : "http";
    const host = claimed["x-forwarded-host"] ?? headers.host ?? "";
    // Not what is claimed: proxies pass on what a client says there.
    const port = /:(\d+)$/.exec(host)?.[1] ?? { http: "80", https: "443" }[protocol];
    headers["x-real-ip"] = headers["x-forwarded-for"] = client?.address ?? "";
    headers["x-scheme"] = headers["x-forwarded-proto"] = protocol;
    headers["x-forwarded-host"] = host;
    headers["x-forwarded-port"] = port;
    return { client, protocol };
  }
}
