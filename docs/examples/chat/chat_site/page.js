"use strict";
const $ = (id) => document.getElementById(id);
const DEFAULT_ROOMS = ["lobby", "tea-kitchen", "library"];
const NAMES = ["Ada", "Alan", "Barbara", "Edsger", "Frances", "Grace", "Katherine", "Ken", "Margaret", "Radia"];
const AGAIN = 1500; // milliseconds after which what did not get through is sent again
const TICK = 500; // milliseconds between the figures

let name = sessionStorage.name || NAMES[Math.floor(Math.random() * NAMES.length)];
let room = location.hash.slice(1) || "lobby";
const servers = JSON.parse($("servers").textContent); // the address of each, by name
const page = crypto.randomUUID(); // who I am, to whichever server
let server = $("server").dataset.server; // the one that I am connected to
let offline = false;
let socket;
let people = new Map(); // by id: {person, at}, the time of the latest change; no person has left
let listed = 0; // the time of the latest list
let items = new Map(); // what was said, by id: its element on the page
let unconfirmed = new Map(); // what I said and have not heard yet, by id: {text, since, sent}
let speaker = crypto.randomUUID(); // each page numbers what it says in a room: ids are "speaker.number"
let spoken = 0;
let heard = new Map(); // by speaker: {first, last, count} of the numbers
let samples = []; // the latest figures of a server process
let position = null; // of the latest message in the room; the server sends what comes after it
let gone = null; // when the connection was lost
let outage = null; // while Redis is away: {item, since}
let report = () => {}; // updates the number in the latest notice

function connect() {
  socket = new WebSocket(servers[server].replace("http", "ws") + "/ws/");
  socket.onopen = () => {
    $("server").textContent = `Server ${server}`;
    $("server").dataset.server = server;
    const other = $("other").dataset.server = Object.keys(servers).find((name) => name !== server);
    $("other").href = servers[other];
    $("other").textContent = `Open server ${other}`;
    document.title = `Chat on server ${server}`;
    status("connected");
    join();
    sayAgain(0);
  };
  socket.onmessage = (message) => { const event = JSON.parse(message.data); on[event.kind](event); };
  socket.onclose = ({ target }) => {
    if (target !== socket) return; // there is a new one
    gone ??= performance.now();
    if (offline) return;
    status(`server ${server} is away, trying the other one`, true);
    server = Object.keys(servers).find((name) => name !== server);
    setTimeout(connect, TICK);
  };
}

function send(message) {
  if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}

function join() {
  send({ kind: "join", page, name, room, since: position });
}

// What the server process says.
const on = {
  list({ people: all, at }) {
    listed = at;
    for (const [id, known] of people) if (known.at <= at) people.delete(id);
    for (const [id, [person]] of Object.entries(all)) if (!people.has(id)) people.set(id, { person, at });
    showPeople();
  },
  diff({ joins, at: times }) { // Each process sends on its own: only what is newer counts.
    for (const [id, at] of Object.entries(times)) {
      if (at > (people.get(id)?.at ?? listed)) people.set(id, { person: joins[id]?.[0], at });
    }
    showPeople();
  },
  joined({ position: start, recovered }) {
    position ??= start;
    if (gone !== null) {
      const length = ((performance.now() - gone) / 1000).toFixed(1);
      gone = null;
      reportLost(notice("", "outage over"), `Back after ${length} s, on server ${server}.`);
    }
    if (!recovered) on.gap({ position: start });
  },
  gap({ position: start }) {
    position = start;
    notice("Redis no longer has all messages. Some may be missing here.");
  },
  said({ said, to, ms, position: place }) {
    if (said.person.room !== room) return; // sent before I left that room
    position = place;
    const mine = unconfirmed.get(said.id);
    const total = mine ? ` · ${Math.round(performance.now() - mine.since)} ms from key to screen` : "";
    const late = ms < 1000 ? `${ms} ms` : `${Math.round(ms / 1000)} s later`;
    show(said, `${said.person.server} → Redis → ${to} · ${late}${total}`);
  },
  failed({ id }) { // A message of mine is sent again below; a join is, here.
    status("Redis is away, trying again", true);
    if (!id) setTimeout(join, AGAIN);
  },
  refused({ reason }) { notice(reason); },
};

// What people do.
$("saying").onsubmit = (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  if (text) say(text);
  $("text").value = "";
};
$("burst").onclick = () => { for (let number = 1; number <= 100; number++) say(`${number} of 100`); };
$("naming").onsubmit = (event) => { event.preventDefault(); $("name").blur(); };
$("name").onchange = () => {
  name = $("name").value.trim() || name;
  $("name").value = sessionStorage.name = name;
  join();
};
$("entering").onsubmit = (event) => { event.preventDefault(); location.hash = $("room").value; $("room").value = ""; };
window.onhashchange = () => {
  room = location.hash.slice(1) || "lobby";
  for (const known of [items, unconfirmed, heard]) known.clear();
  [speaker, spoken, position] = [crypto.randomUUID(), 0, null];
  $("talk").replaceChildren();
  join();
};
$("plug").onclick = () => send({ kind: "plug" });
$("kill").onclick = () => send({ kind: "kill" });
$("offline").onclick = () => {
  offline = !offline;
  $("offline").textContent = offline ? "Go online" : "Go offline";
  if (!offline) return connect();
  socket.close();
  status("offline", true);
};

function say(text) {
  const id = `${speaker}.${++spoken}`;
  unconfirmed.set(id, { text, since: performance.now(), sent: performance.now() });
  items.set(id, add("mine waiting", [["p", text], ["small", "on its way"]]));
  send({ kind: "say", id, text });
}

// What I said is on its way until I hear it myself. The id lets everyone skip a second copy.
function sayAgain(age) {
  for (const [id, message] of unconfirmed) {
    if (performance.now() - message.sent < age) continue;
    message.sent = performance.now();
    send({ kind: "say", id, text: message.text });
  }
}

// The figures show an outage: the layer counts the seconds without Redis, this one included.
async function watch() {
  const asked = server;
  const response = offline ? null : await fetch(`${servers[asked]}/figures/`).catch(() => null);
  const figures = await response?.json();
  if (figures && asked === server) showFigures({ ...figures, time: performance.now() });
  sayAgain(AGAIN);
  setTimeout(watch, TICK);
}

// What the page shows.
function element(tag, text, className = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = className;
  return made;
}

function add(className, parts, at = Date.now() / 1000) {
  const talk = $("talk");
  const made = element("li", "", className);
  made.append(...parts.map(([tag, text]) => element(tag, text)));
  made.dataset.at = at;
  // What is caught up on goes where it belongs in time.
  talk.insertBefore(made, [...talk.children].find((other) => other.dataset.at > at) || null);
  showLatest();
  return made;
}

function showLatest() {
  $("talk").scrollTop = $("talk").scrollHeight;
}

function notice(text, className = "") {
  return add(`notice ${className}`, [["span", text]]);
}

function lost() {
  return [...heard.values()].reduce((sum, { first, last, count }) => sum + last - first + 1 - count, 0);
}

function reportLost(item, text) {
  report = () => { item.textContent = `${text} Messages lost: ${lost()}.`; };
  report();
  showLatest();
}

function show(said, way) {
  const mine = unconfirmed.delete(said.id);
  if (items.has(said.id) && !mine) return;
  if (mine) {
    items.get(said.id).remove();
    status("connected");
  }
  const parts = [["b", said.person.name], ["p", said.text], ["small", way]];
  const made = add(mine ? "mine" : "", parts, said.at);
  made.dataset.server = said.person.server;
  items.set(said.id, made);
  const [from, number] = said.id.split(".");
  const { first = Infinity, last = 0, count = 0 } = heard.get(from) ?? {};
  heard.set(from, { first: Math.min(first, number), last: Math.max(last, number), count: count + 1 });
}

function everyone() {
  const pages = new Map();
  for (const { person } of people.values()) {
    // A killed process's people stay for a while. Their pages have connected again.
    if (person && !(pages.get(person.page)?.since > person.since)) pages.set(person.page, person);
  }
  return [...pages.values()].sort((one, other) => one.name.localeCompare(other.name));
}

function showPeople() {
  const all = everyone();
  $("people").replaceChildren(...all.filter((person) => person.room === room).map((person) => {
    const item = element("li", person.name);
    item.append(element("small", `server ${person.server}`));
    item.lastChild.dataset.server = person.server;
    return item;
  }));
  const rooms = new Set([...DEFAULT_ROOMS, room, ...all.map((person) => person.room)]);
  $("rooms").replaceChildren(...[...rooms].map((one) => {
    const item = element("li", "");
    const button = element("button", `# ${one}`);
    const count = all.filter((person) => person.room === one).length;
    button.type = "button";
    button.append(element("small", count || ""));
    if (one === room) button.setAttribute("aria-current", "true");
    button.onclick = () => { location.hash = one; };
    item.append(button);
    return item;
  }));
}

function showFigures(now) {
  // Each process counts for itself, from its start.
  samples = samples.filter(({ pid }) => pid === now.pid);
  const before = samples.at(-1) ?? now;
  samples = [...samples.slice(-3), now];
  const past = samples[0];
  const delivered = now.received + now.broadcasts - past.received - past.broadcasts;
  const members = everyone().filter((person) => person.room === room);
  $("members").textContent = Object.keys(servers)
    .map((name) => `${name} ${members.filter((person) => person.server === name).length}`).join(" · ");
  $("rate").textContent = Math.round(delivered / (now.time - past.time || 1) * 1000);
  $("broadcasts").textContent = now.broadcasts;
  $("lost").textContent = lost();
  const grown = now.outage_seconds - before.outage_seconds;
  const away = before === now ? outage : grown > 0;
  if (away && !outage) {
    outage = { item: notice("", "outage"), since: now.time - grown * 1000 };
  }
  if (outage) {
    const { item, since } = outage;
    const length = ((now.time - since) / 1000).toFixed(1);
    item.textContent = `The plug is pulled: no Redis for ${length} s. What you say waits in the page.`;
    status("Redis is away", true);
    if (!away) {
      item.classList.add("over");
      reportLost(item, `Redis was away for ${length} s.`);
      outage = null;
      status("connected");
      join();
      sayAgain(0);
    }
  }
  report();
}

function status(text, away = false) {
  $("connection").textContent = text;
  $("connection").className = away ? "away" : "";
}

// As when a phone shows its keyboard.
window.onresize = showLatest;
$("name").value = sessionStorage.name = name;
showPeople();
connect();
watch();
