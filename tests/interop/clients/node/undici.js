// The client of npm's `undici`; with the argument `builtin`, of the copy that is Node's own
// WebSocket. Either takes headers, which the browsers' interface it follows does not.
import diagnostics from "node:diagnostics_channel";
import { Incoming, main } from "./driver.js";

const WebSocket =
  process.argv[2] === "builtin" ? globalThis.WebSocket : (await import("undici")).WebSocket;

// The interface hides the status of a refusal; it is seen where undici reports for diagnosis.
let status = 0;
diagnostics.subscribe("undici:request:headers", ({ response }) => (status = response.statusCode));

class Socket {
  incoming = new Incoming();

  constructor(connection) {
    this.connection = connection;
    connection.onmessage = ({ data }) => this.incoming.push({ text: data });
    connection.onclose = ({ code, reason }) => this.incoming.push({ closed: [code, reason] });
  }
}

function connect(url, headers) {
  status = 0;
  return new Promise((resolve) => {
    const connection = new WebSocket(url, { headers });
    connection.onerror = () => resolve({ status });
    connection.onopen = () => resolve(new Socket(connection));
  });
}

await main(connect);
