// The client of npm's `ws`.
import WebSocket from "ws";
import { Incoming, main } from "./driver.js";

class Socket {
  incoming = new Incoming();

  constructor(connection) {
    this.connection = connection;
    connection.on("message", (data) => this.incoming.push({ text: data.toString() }));
    connection.on("close", (code, reason) =>
      this.incoming.push({ closed: [code, reason.toString()] }));
  }

  fragments(parts) {
    parts.forEach((part, index) =>
      this.connection.send(part, { fin: index === parts.length - 1 }));
  }

  ping() {
    return new Promise((resolve) => {
      this.connection.once("pong", resolve);
      this.connection.ping("are you there");
    });
  }
}

function connect(url, headers) {
  return new Promise((resolve) => {
    const connection = new WebSocket(url, { headers });
    const socket = new Socket(connection);
    connection.on("open", () => resolve(socket));
    connection.on("unexpected-response", (_, response) => {
      response.destroy();
      resolve({ status: response.statusCode });
    });
    connection.on("error", () => {});
  });
}

await main(connect);
