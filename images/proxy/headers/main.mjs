// Loaded before configurable-http-proxy (node --import, by the entrypoint): puts right what its public server is told
// about the client, which headers every answer has, and which connections stay open, to clients and to servers.  Its
// command line, routes and API stay as they are.

import http from "node:http";

import { dress, dressHead } from "./answers.mjs";
import { Clients } from "./clients.mjs";
import { Connections } from "./connections.mjs";
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
  // A request's head must come within Node's own minute; without this line, the line above would switch it off, too.
  headersTimeout: 60_000,
  // How often that is looked at.
  connectionsCheckingInterval: 10_000,
};
// Hub and servers end connections on which nothing comes, the Hub after 60 s: a request must not be sent on one of those.
const UPSTREAM_IDLE_MS = 30_000;

// Of a line of the log: it has the address that a client asked for, 16 kB if the client likes.
const LOGGED = 1_000;
for (const stream of [process.stdout, process.stderr]) {
  const write = stream.write;
  stream.write = function (text, ...more) {
    const long = typeof text === "string" && text.length > LOGGED;
    return write.call(this, long ? `${text.slice(0, LOGGED)}... (${text.length} characters)\n` : text, ...more);
  };
}

const createServer = http.createServer;

http.createServer = (options, listener) => {
  // Only the public server is made with options; those of the API and of metrics are not the world's.
  if (typeof options !== "object") return createServer(options, listener);
  const server = createServer({ ...options, ...OPTIONS }, listener);
  const connections = new Connections(clients);
  // That of configurable-http-proxy, which makes it before this server.
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
    // The answer to an upgrade is written to the socket as text, its head at once.
    socket.write = (head, ...more) => {
      delete socket.write;
      return socket.write(dressHead(head, protocol), ...more);
    };
  });
  return server;
};
