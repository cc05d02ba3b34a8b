// A server with a chat of one room, as that of site.py is, which answers a crew's calls.
"use strict";
const { createServer } = require("node:http");
const { createRequire } = require("node:module");
const { createInterface } = require("node:readline");
const { resolve } = require("node:path");
const v8 = require("node:v8");
const vm = require("node:vm");

const load = createRequire(resolve(__dirname, "../../../.environments/bench/node/package.json"));
const Redis = load("ioredis");
const { job } = JSON.parse(process.argv[2]);
const ROOM = "room";
const redis = new Redis(job.hosts[0]);
const server = createServer();

const contenders = {
  "socket.io-streams"() {
    socketIo(load("@socket.io/redis-streams-adapter").createAdapter(redis));
  },
  "socket.io-pubsub"() {
    socketIo(load("@socket.io/redis-adapter").createAdapter(redis, redis.duplicate()));
  },
  ws() {
    const { WebSocketServer } = load("ws");
    const sockets = new Set();
    const subscriber = redis.duplicate();
    subscriber.subscribe(ROOM);
    subscriber.on("message", (_, text) => sockets.forEach((socket) => socket.send(text)));
    new WebSocketServer({ server }).on("connection", (socket) => {
      sockets.add(socket);
      socket.on("close", () => sockets.delete(socket));
      socket.on("message", (text) => redis.publish(ROOM, text.toString()));
    });
  },
};

function socketIo(adapter) {
  const { Server } = load("socket.io");
  // The clients count frames and answer none, so no ping may come while they do.
  const io = new Server(server, { adapter, pingInterval: 600_000 });
  io.on("connection", (socket) => {
    socket.join(ROOM);
    socket.on("say", (content) => io.to(ROOM).emit("chat", content));
  });
}

const calls = {
  ready: () => null,
  port: () => server.address().port,
  cpu() {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  },
  forget_garbage() {
    v8.setFlagsFromString("--expose-gc");
    vm.runInNewContext("gc")();
    return null;
  },
};

contenders[job.contender]();
server.listen({ port: 0, host: "127.0.0.1", backlog: 4096 }, () => {
  createInterface({ input: process.stdin }).on("line", (line) => {
    const result = calls[JSON.parse(line).method]();
    process.stdout.write(JSON.stringify({ result }) + "\n");
  });
});
