"use strict";
// Text from outside goes into the page as textContent and into attributes, never as HTML.
const EVERY = 1000, PATIENCE = 5000, WINDOW = 60, GAP = 6;
const MEASURES = [
  ["share", "share", (value) => `${(value * 100).toFixed(0)} %`],
  ["in_flight", "in flight", (value) => String(value)],
  ["ttfb", "first byte", (value) => value < 9.9995 ? `${(value * 1000).toFixed(0)} ms` : `${value.toFixed(1)} s`],
];
const views = new Map(); // one for each balancer of each process that has answered
const find = (id) => document.getElementById(id);

function make(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

class Plot {
  constructor() {
    this.samples = [];
    this.svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    this.path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    this.svg.setAttribute("viewBox", `0 0 ${WINDOW} 20`);
    this.svg.setAttribute("preserveAspectRatio", "none");
    this.svg.setAttribute("aria-hidden", "true");
    this.svg.append(this.path);
  }
  add(at, value) {
    this.samples.push([at, value]);
    while (this.samples[0][0] < at - WINDOW) this.samples.shift();
  }
  get highest() {
    return Math.max(0, ...this.samples.map((sample) => sample[1] ?? 0));
  }
  draw(now, highest) {
    let line = "", before = -Infinity;
    for (const [at, value] of this.samples) {
      if (value === null) { before = -Infinity; continue; }
      const x = WINDOW - (now - at), y = 19 - 18 * value / (highest || 1);
      line += `${at - before > GAP ? "M" : "L"}${x.toFixed(1)} ${y.toFixed(1)}`;
      before = at;
    }
    this.path.setAttribute("d", line);
  }
}

class NodeView {
  constructor() {
    this.row = make("section", "node");
    this.name = make("div", "name");
    this.about = make("div", "small");
    this.label = make("div");
    this.label.append(this.name, this.about);
    this.state = make("div", "state");
    this.calls = make("div", "calls small");
    this.why = make("div", "why");
    this.plots = {};
    this.values = {};
    this.row.append(this.label, this.state);
    for (const [key, name] of MEASURES) {
      const cell = make("div", "measure");
      this.plots[key] = new Plot();
      this.values[key] = make("span");
      this.values[key].dataset.name = name;
      cell.append(this.values[key], this.plots[key].svg);
      this.row.append(cell);
    }
    this.row.append(this.calls, this.why);
  }
  show(node, at) {
    this.row.className = `node ${node.state}`;
    this.row.dataset.state = node.state;
    put(this.name, node.name);
    const labels = Object.entries(node.labels).map(([name, value]) => `${name}=${value}`);
    const about = [node.url === node.name ? "" : node.url, node.zone ?? "", ...labels];
    if (node.weight !== 1) about.push(`weight ${node.weight}`);
    if (node.priority) about.push(`priority ${node.priority}`);
    put(this.about, about.filter(Boolean).join(" · "));
    put(this.state, node.out_for === null ? node.state : `${node.state} ${Math.ceil(node.out_for)} s`);
    for (const [key, , written] of MEASURES) {
      put(this.values[key], node[key] === null ? "–" : written(node[key]));
      this.plots[key].add(at, node[key]);
    }
    put(this.calls, `${node.picked} calls` + (node.failed ? `, ${node.failed} failed` : ""));
    put(this.why, node.why);
  }
}

class BalancerView {
  constructor() {
    this.all = make("section");
    this.title = make("h2");
    this.facts = make("p", "facts");
    this.alarm = make("p", "alarm");
    this.nodes = make("div", "nodes");
    this.events = make("ol");
    this.rows = new Map();
    const heads = make("div", "heads");
    for (const head of ["node", "state", ...MEASURES.map((measure) => measure[1]), ""]) {
      heads.append(make("span", "", head));
    }
    this.all.append(this.title, this.facts, this.alarm, heads, this.nodes, make("h3", "", "Events"), this.events);
  }
  show(balancer) {
    const service = /\.invalid$/.test(balancer.service) ? "" : balancer.service;
    put(this.title, [balancer.name, service].filter(Boolean).join(" · "));
    this.title.hidden = !this.title.textContent;
    put(this.facts, factsOf(balancer));
    put(this.alarm, alarmOf(balancer));
    this.alarm.hidden = !this.alarm.textContent;
    this.showNodes(balancer.nodes, balancer.at);
    this.showEvents(balancer.events, balancer.at);
  }
  showNodes(nodes, at) {
    const seen = new Map();
    for (const node of nodes) {
      let key = `${node.name} ${node.url}`;
      while (seen.has(key)) key += " again";
      const row = this.rows.get(key) ?? new NodeView();
      row.show(node, at);
      seen.set(key, row);
    }
    const rows = [...seen.values()].map((view) => view.row);
    if (rows.length !== this.nodes.children.length || rows.some((row, n) => row !== this.nodes.children[n])) {
      this.nodes.replaceChildren(...rows);
    }
    this.rows = seen;
    for (const [key] of MEASURES) {
      // One scale for all nodes: they are there to be compared.
      const plots = [...seen.values()].map((view) => view.plots[key]);
      const highest = plots.reduce((most, plot) => Math.max(most, plot.highest), 0);
      for (const plot of plots) plot.draw(at, highest);
    }
  }
  showEvents(events, at) {
    const lines = events.slice(-30).reverse().map((event) => {
      const line = make("li"), when = new Date((at - event.ago) * 1000);
      const time = make("time", "", when.toLocaleTimeString());
      time.dateTime = when.toISOString();
      const about = (event.node === null ? "" : ` ${event.node}`) + (event.detail ? `: ${event.detail}` : "");
      line.append(time, make("b", event.kind, event.kind), about);
      return line;
    });
    this.events.replaceChildren(...(lines.length ? lines : [make("li", "small", "none yet")]));
  }
}

function factsOf(balancer) {
  const states = Object.entries(balancer.states).map(([state, count]) => `${count} ${state}`);
  const total = Object.values(balancer.states).reduce((sum, count) => sum + count, 0);
  const facts = [`${total} nodes${total ? `: ${states.join(", ")}` : ""}`];
  if (total > balancer.nodes.length) facts.push(`${balancer.nodes.length} shown`);
  facts.push(`${balancer.in_flight} in flight`, balancer.picker);
  if (balancer.waiting) facts.push(`${balancer.waiting} waiting`);
  const found = balancer.discovery;
  if (found) {
    const when = found.found_ago === null ? "nothing yet" : `answered ${Math.round(found.found_ago)} s ago`;
    facts.push(`${found.source}: ${when}`);
  }
  return facts.join(" · ");
}

function alarmOf(balancer) {
  const alarms = [];
  if (balancer.closed) alarms.push("the balancer is closed");
  if (balancer.panic) alarms.push("panic: too many nodes are out, all of them are tried");
  if (balancer.discovery && balancer.discovery.problem) alarms.push(`discovery: ${balancer.discovery.problem}`);
  return alarms.join(" · ");
}

function forget(gone) {
  for (const [key, view] of views) {
    if (gone(view)) { view.all.remove(); views.delete(key); }
  }
}

function show(picture) {
  // Each worker process of a service has balancers of its own, and any of them may answer.
  forget((view) => view.seen < Date.now() - 30000);
  for (const balancer of picture.balancers) {
    const key = `${picture.process} ${balancer.name}`;
    if (!views.has(key)) {
      views.set(key, new BalancerView());
      find("balancers").append(views.get(key).all);
    }
    Object.assign(views.get(key), { seen: Date.now(), process: picture.process });
    views.get(key).show(balancer);
  }
  const processes = new Set([...views.values()].map((view) => view.process));
  const several = processes.size > 1 ? ": several answer here, each with balancers of its own" : "";
  put(find("process"), `process ${[...processes].join(", ")}${several}`);
}

async function look() {
  const contact = find("contact");
  try {
    const answer = await fetch("?format=json", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    const picture = await answer.json();
    // After a restart another process answers: the one before is no more.
    if (contact.className === "lost") forget((view) => view.process !== picture.process);
    show(picture);
    contact.className = find("balancers").className = "";
    put(contact, `live · ${new Date().toLocaleTimeString()}`);
  } catch (error) {
    contact.className = find("balancers").className = "lost";
    put(contact, `no answer: ${error.message}`);
  }
}

async function follow() {
  for (;;) {
    // Nobody looks at a hidden page: nothing is asked for it.
    if (!document.hidden) await look();
    await new Promise((resolve) => setTimeout(resolve, EVERY));
  }
}

document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
follow();
