// Loaded before configurable-http-proxy (node --import, by the entrypoint): wraps its public server to correct forwarded
// headers, set response headers, keep servers' cookies apart, and limit connections to clients and to servers.  Command
// line, routes and API are unchanged.

import http from "node:http";

import { dress, dressHead } from "./answers.mjs";
import { Clients } from "./clients.mjs";
import { Connections } from "./connections.mjs";
import { keepCookiesApart } from "./cookies.mjs";
import { endWithRoutes } from "./servers.mjs";

let clients;
try {
  clients = new Clients(process.env);
} catch (error) {
  console.error(error.message);
  process.exit(2);
}

const OPTIONS = {
  // Node's 300 s would cut an upload that takes longer.
  requestTimeout: 0,
  // For request headers: Node's default, which requestTimeout: 0 would disable.
  headersTimeout: 60_000,
  // How often timeouts are checked.
  connectionsCheckingInterval: 10_000,
};
// Shorter than the idle timeouts of Hub (60 s) and servers, so that no request is sent on a connection that they close.
const UPSTREAM_IDLE_MS = 30_000;

// Characters of a log line, which includes the URL, up to 16 kB of the client's choice.
const MAX_LINE = 1_000;
for (const stream of [process.stdout, process.stderr]) {
  const write = stream.write;
  stream.write = function (text, ...more) {
    const long = typeof text === "string" && text.length > MAX_LINE;
    return write.call(this, long ? `${text.slice(0, MAX_LINE)}... (${text.length} characters)\n` : text, ...more);
  };
}

keepCookiesApart();

const createServer = http.createServer;

http.createServer = (options, listener) => {
  // Only the public server is created with options; those of the API and of metrics are not public.
  if (typeof options !== "object") return createServer(options, listener);
  const server = createServer({ ...options, ...OPTIONS }, listener);
  const connections = new Connections(clients);
  // The agent of configurable-http-proxy, created before this server.
  http.globalAgent.options.timeout = UPSTREAM_IDLE_MS;
  endWithRoutes(http.globalAgent);
  server.prependListener("connection", (socket) => connections.add(socket));
  server.prependListener("request", (request, response) => {
    connections.use(request, response);
    const { protocol } = clients.tell(request);
    const writeHead = response.writeHead;
    response.writeHead = function (...head) {
      dress(this, protocol);
      return writeHead.apply(this, head);
    };
  });
  server.prependListener("upgrade", (request, socket) => {
    connections.keep(socket);
    const { protocol } = clients.tell(request);
    // The response to an upgrade is written to the socket as text, its head in the first write.
    socket.write = (head, ...more) => {
      delete socket.write;
      return socket.write(dressHead(head, protocol), ...more);
    };
  });
  return server;
};
