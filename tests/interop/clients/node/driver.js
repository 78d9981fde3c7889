// What both Node programs share; it speaks what ../driver.py describes.
import readline from "node:readline";

// What has come in on one connection, in order.
export class Incoming {
  #items = [];
  #waiting = [];

  push(item) {
    const waiter = this.#waiting.shift();
    if (waiter) waiter(item);
    else this.#items.push(item);
  }

  next() {
    const item = this.#items.shift();
    return item ? Promise.resolve(item) : new Promise((resolve) => this.#waiting.push(resolve));
  }

  async closed() {
    for (;;) {
      const item = await this.next();
      if (item.closed) return item;
    }
  }
}

// Runs until stdin ends. `connect(url, headers)` gives a socket, or `{status}` if refused.
export async function main(connect) {
  const sockets = new Map();
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const command = JSON.parse(line);
    process.stdout.write(JSON.stringify(await perform(command, sockets, connect)) + "\n");
  }
  process.exit(0);
}

async function perform(command, sockets, connect) {
  if (command.op === "connect") {
    const socket = await connect(command.url, command.headers);
    if ("status" in socket) return socket;
    sockets.set(command.as, socket);
    return {};
  }
  const socket = sockets.get(command.on);
  switch (command.op) {
    case "send":
      socket.connection.send(command.text);
      return {};
    case "fragments":
      socket.fragments(command.parts);
      return {};
    case "receive":
      return socket.incoming.next();
    case "ping":
      await socket.ping();
      return {};
    case "close":
      socket.connection.close(command.code);
      return socket.incoming.closed();
  }
}
