"use strict";
const $ = (id) => document.getElementById(id);
const DEFAULT_ROOMS = ["lobby", "tea-kitchen", "library"];
const NAMES = ["Ada", "Alan", "Barbara", "Edsger", "Frances", "Grace", "Katherine", "Ken", "Margaret", "Radia"];
const AGAIN = 1500; // milliseconds after which what did not get through is sent again
const CAUGHT_UP = 4000; // milliseconds after which every server process has found Redis again

let name = sessionStorage.name || NAMES[Math.floor(Math.random() * NAMES.length)];
let room = location.hash.slice(1) || "lobby";
let socket;
let people = new Map(); // by id: {person, at}, the time of the latest change; no person has left
let listed = 0; // the time of the latest list
let items = new Map(); // what was said, by id: its element on the page
let unconfirmed = new Map(); // what I said and have not heard yet, by id: {text, since}

function connect() {
  socket = new WebSocket(location.origin.replace("http", "ws") + "/ws/");
  socket.onopen = () => { status("connected"); join(); };
  socket.onmessage = (message) => { const event = JSON.parse(message.data); on[event.kind](event); };
  socket.onclose = () => { status("server away, trying again", true); setTimeout(connect, AGAIN); };
}

function send(message) {
  if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}

function join() {
  send({ kind: "join", name, room });
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
  before({ said }) { said.forEach((one) => show(one, "said before")); },
  said({ said, to, ms }) {
    const mine = unconfirmed.get(said.id);
    const late = mine ? Math.round(performance.now() - mine.since) : 0;
    const total = mine ? ` · ${late} ms from key to screen` : "";
    // Redis was away. Others may have come back to it after this was sent: say it once more to them.
    if (late > AGAIN) setTimeout(() => send({ kind: "repeat" }), CAUGHT_UP);
    show(said, `${said.person.server} → Redis → ${to} · ${ms} ms${total}`);
  },
  failed({ id }) { // A message of mine is sent again below; a join is, here.
    status("Redis is away, trying again", true);
    if (!id) setTimeout(join, AGAIN);
  },
  refused({ reason }) { notice(reason); },
  unplugged() { notice("You pulled the plug: Redis is gone for three seconds, and comes back empty."); },
  disconnected() {
    status("Redis is away", true);
    notice("The layer lost its connection to Redis. What others say now may get lost.");
  },
  reconnected() {
    status("connected");
    notice("The layer is connected again. Catching up with the others.");
  },
};

// What people do.
$("saying").onsubmit = (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  if (!text) return;
  const id = crypto.randomUUID();
  $("text").value = "";
  unconfirmed.set(id, { text, since: performance.now(), sent: performance.now() });
  items.set(id, add("mine waiting", [["p", text], ["small", "on its way"]]));
  send({ kind: "say", id, text });
};
$("naming").onsubmit = (event) => { event.preventDefault(); $("name").blur(); };
$("name").onchange = () => {
  name = $("name").value.trim() || name;
  $("name").value = sessionStorage.name = name;
  join();
};
$("entering").onsubmit = (event) => { event.preventDefault(); location.hash = $("room").value; $("room").value = ""; };
window.onhashchange = () => {
  room = location.hash.slice(1) || "lobby";
  items.clear();
  unconfirmed.clear();
  $("talk").replaceChildren();
  join();
};
$("plug").onclick = () => send({ kind: "plug" });

// What I said is on its way until I hear it myself. The id lets everyone skip a second copy.
setInterval(() => {
  for (const [id, message] of unconfirmed) {
    if (performance.now() - message.sent < AGAIN) continue;
    message.sent = performance.now();
    send({ kind: "say", id, text: message.text });
  }
}, 250);

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
  talk.scrollTop = talk.scrollHeight;
  return made;
}

function notice(text) {
  add("notice", [["span", text]]);
}

function show(said, way) {
  if (said.person.room !== room) return;
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
}

function showPeople() {
  const all = [...people.values()].flatMap(({ person }) => person ?? []).sort((one, other) => one.name.localeCompare(other.name));
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

function status(text, away = false) {
  $("connection").textContent = text;
  $("connection").className = away ? "away" : "";
}

$("name").value = sessionStorage.name = name;
showPeople();
connect();
