// One stream and one panel for each worker.
// The kernel chooses the worker of a connection. So the page sends the pids of the workers it is
// connected to, and tries again until another worker answers.
import { Panel } from "./panel.js";
import { Progress } from "./progress.js";

const crowd = document.querySelector("[data-crowd]");
const container = crowd.querySelector("[data-panels-container]");
const names = JSON.parse(document.getElementById("names").textContent);
const wanted = Number(crowd.dataset.panels);
const progress = new Progress(crowd.querySelector("[data-progress]"), wanted);
const workers = new Map(); // pid -> { source, panel }
let running = false;
let connecting = false;

const sleep = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

function streamUrl() {
  const connected = [...workers.keys()].join(",");
  return `${crowd.dataset.stream}?${new URLSearchParams({ flag: crowd.dataset.flag, connected })}`;
}

// Resolves to true if a new worker has answered.
function connect() {
  return new Promise((resolve) => {
    const source = new EventSource(streamUrl());
    let pid = null;
    source.onmessage = (event) => {
      const state = JSON.parse(event.data);
      if (pid === null) {
        pid = state.pid;
        workers.set(pid, { source, panel: new Panel(container, names, crowd.dataset.flag) });
        resolve(true);
      }
      const changed = workers.get(pid)?.panel.show(state);
      if (changed) progress.changed(pid, state.enabled, changed);
    };
    // Closed, because the browser would reconnect with an outdated list of pids.
    source.onerror = () => {
      source.close();
      if (pid === null) return resolve(false);
      disconnect(pid);
      connectAll();
    };
  });
}

function disconnect(pid) {
  const { source, panel } = workers.get(pid) ?? {};
  source?.close();
  panel?.remove();
  workers.delete(pid);
}

async function connectAll() {
  if (connecting) return;
  connecting = true;
  for (let misses = 0; running && workers.size < wanted; ) {
    misses = (await connect()) ? 0 : misses + 1;
    if (misses > 0) progress.searching(workers.size, misses);
    // Eight attempts find four workers on average. Many more mean that the server is down.
    if (misses > 60) await sleep(500);
  }
  connecting = false;
  if (running) progress.connected();
}

function start() {
  if (running) return;
  running = true;
  tabs.postMessage("started");
  connectAll();
}

function stop() {
  running = false;
  [...workers.keys()].forEach(disconnect);
}

// Two of these pages would use all six connections that a browser opens to one server, and block
// the admin. So only the newest page is connected.
const tabs = new BroadcastChannel("crowd");
tabs.onmessage = () => {
  stop();
  progress.paused(start);
};

addEventListener("pagehide", stop);
addEventListener("pageshow", (event) => event.persisted && start());
document.getElementById("flag").addEventListener("change", (event) => event.target.form.submit());
setInterval(() => workers.forEach(({ panel }) => panel.update()), 100);
start();
