// Determines the client's address and protocol, and passes them on to JupyterHub and users' servers.

import net from "node:net";
import os from "node:os";

// All headers that applications may read about the client.  WSGI does not distinguish "_" from "-".
const FORWARDED =
  /^(forwarded|x[-_](forwarded([-_].*)?|original[-_](forwarded[-_].*|host|proto)|real[-_]port|scheme|url[-_]scheme)|front[-_]end[-_]https|cf[-_](visitor|pseudo[-_]ipv4)|(.*[-_])?(real|client|connecting|remote|originating|external|user|socket|peer)[-_]?(ip|addr|address)(v?[46])?)$/;
// Traefik sends ws and wss for websockets.
const PROTOCOLS = { http: "http", https: "https", ws: "http", wss: "https" };

/** Parses an IP address into its canonical form, an IPv4-mapped one as IPv4; undefined if it is not an address. */
function parseAddress(text) {
  if (net.isIPv4(text)) return { address: text, family: "ipv4" };
  if (!net.isIPv6(text)) return undefined;
  const [bare] = text.split("%");
  const { address } = new net.SocketAddress({ address: bare, family: "ipv6" });
  const mapped = address.replace(/^::ffff:(?=\d+\.)/i, "");
  return mapped === address ? { address, family: "ipv6" } : { address: mapped, family: "ipv4", mapped: true };
}

/** Adds an address or network to the list; returns false if the text is neither. */
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

/** The network of a connection's interface.  Not cached, because containers may join networks later. */
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
      const keyword = name === "TRUSTED_PROXIES" ? ` or the keyword "${NEIGHBOURS}"` : "";
      throw new Error(
        `${name}: ${JSON.stringify(entry)} is not an IP address or network. ` +
          `Set it to addresses and networks separated by commas (10.0.0.5,10.1.0.0/16,2001:db8::/32)${keyword}, or leave it empty.`
      );
    }
  }

  /** The peer of a connection, and which addresses are trusted on it; determined once for each connection. */
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

  /** Whether forwarded headers of this connection are trusted. */
  isTrusted(socket) {
    const { peer, trusts } = this.#peer(socket);
    return Boolean(peer && trusts(peer));
  }

  /** Whether the connection comes from a network that is never trusted. */
  isUntrusted(socket) {
    const { peer } = this.#peer(socket);
    return Boolean(peer && holds(this.#untrusted, peer));
  }

  /** The rightmost address in X-Forwarded-For that is not a trusted proxy: everything left of it can be forged. */
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

  /** Replaces the request's forwarded headers by the verified client and protocol; returns these. */
  tell(request) {
    const { headers, socket } = request;
    const { peer, trusts } = this.#peer(socket);
    const claimed = peer && trusts(peer) ? { ...headers } : {};
    // These headers go upstream (lower-case names, duplicates joined), not rawHeaders.
    for (const name of Object.keys(headers)) if (FORWARDED.test(name)) delete headers[name];

    const client = claimed["x-forwarded-for"] ? this.#client(claimed["x-forwarded-for"], peer, trusts) : peer;
    const [first] = (claimed["x-forwarded-proto"] ?? "").split(",");
    const protocol = Object.hasOwn(PROTOCOLS, first.trim().toLowerCase()) ? PROTOCOLS[first.trim().toLowerCase()] : "http";
    const host = claimed["x-forwarded-host"] ?? headers.host ?? "";
    // Not from X-Forwarded-Port, which proxies may pass on from the client.
    const port = /:(\d+)$/.exec(host)?.[1] ?? { http: "80", https: "443" }[protocol];
    headers["x-real-ip"] = headers["x-forwarded-for"] = client?.address ?? "";
    headers["x-scheme"] = headers["x-forwarded-proto"] = protocol;
    headers["x-forwarded-host"] = host;
    headers["x-forwarded-port"] = port;
    return { client, protocol };
  }
}
