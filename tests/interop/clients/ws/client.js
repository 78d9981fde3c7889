// The client of npm's `ws`. It speaks what driver.py describes.
import readline from "node:readline";
import WebSocket from "ws";

const sockets = new Map();

class Socket {
  constructor(connection) {
    this.connection = connection;
    this.incoming = [];
    this.waiting = [];
    connection.on("message", (data) => this.push({ text: data.toString() }));
    connection.on("close", (code, reason) => this.push({ closed: [code, reason.toString()] }));
  }

  push(item) {
    const waiter = this.waiting.shift();
    if (waiter) waiter(item);
    else this.incoming.push(item);
  }

  receive() {
    const item = this.incoming.shift();
    return item ? Promise.resolve(item) : new Promise((resolve) => this.waiting.push(resolve));
  }

  async close(code) {
    this.connection.close(code);
    for (;;) {
      const item = await this.receive();
      if (item.closed) return item;
    }
  }

  ping() {
    return new Promise((resolve) => {
      this.connection.once("pong", () => resolve({}));
      this.connection.ping("are you there");
    });
  }
}

function connect({ as, url, headers }) {
  return new Promise((resolve) => {
    const connection = new WebSocket(url, { headers });
    sockets.set(as, new Socket(connection));
    connection.on("open", () => resolve({}));
    connection.on("unexpected-response", (_, response) => {
      response.destroy();
      resolve({ status: response.statusCode });
    });
    connection.on("error", () => {});
  });
}

async function perform(command) {
  if (command.op === "connect") return connect(command);
  const socket = sockets.get(command.on);
  switch (command.op) {
    case "send":
      socket.connection.send(command.text);
      return {};
    case "fragments":
      command.parts.forEach((part, index) =>
        socket.connection.send(part, { fin: index === command.parts.length - 1 }));
      return {};
    case "receive":
      return socket.receive();
    case "ping":
      return socket.ping();
    case "close":
      return socket.close(command.code);
  }
}

for await (const line of readline.createInterface({ input: process.stdin })) {
  process.stdout.write(JSON.stringify(await perform(JSON.parse(line))) + "\n");
}
process.exit(0);
