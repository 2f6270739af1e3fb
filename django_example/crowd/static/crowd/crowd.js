// One stream to each worker, one panel for each stream.
// Which worker takes a connection is the kernel's choice, so the page names those that it has,
// and asks again until one answers that it has not.
import { Panel } from "./panel.js";
import { Wave } from "./wave.js";

const crowd = document.querySelector("[data-crowd]");
const here = crowd.querySelector("[data-panels-here]");
const names = JSON.parse(document.getElementById("names").textContent);
const wanted = Number(crowd.dataset.panels);
const wave = new Wave(crowd.querySelector("[data-wave]"), wanted);
const watched = new Map(); // pid -> { source, panel }
let watching = false;
let recruiting = false;

const sleep = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

function streamAddress() {
  const have = [...watched.keys()].join(",");
  return `${crowd.dataset.stream}?${new URLSearchParams({ flag: crowd.dataset.flag, have })}`;
}

// Resolves to true when a new worker has answered, to false when none did.
function ask() {
  return new Promise((resolve) => {
    const source = new EventSource(streamAddress());
    let pid = null;
    source.onmessage = (event) => {
      const told = JSON.parse(event.data);
      if (pid === null) {
        pid = told.pid;
        watched.set(pid, { source, panel: new Panel(here, names, crowd.dataset.flag) });
        resolve(true);
      }
      const switched = watched.get(pid)?.panel.show(told);
      if (switched) wave.switched(pid, told.lit, switched);
    };
    // The browser would ask the same address again by itself. The page knows better whom it lacks.
    source.onerror = () => {
      source.close();
      if (pid === null) return resolve(false);
      forget(pid);
      recruit();
    };
  });
}

function forget(pid) {
  const { source, panel } = watched.get(pid) ?? {};
  source?.close();
  panel?.remove();
  watched.delete(pid);
}

async function recruit() {
  if (recruiting) return;
  recruiting = true;
  for (let misses = 0; watching && watched.size < wanted; ) {
    misses = (await ask()) ? 0 : misses + 1;
    if (misses > 0) wave.missing(watched.size, misses);
    // Eight tries find four workers on average. Many more mean that the server is away.
    if (misses > 60) await sleep(500);
  }
  recruiting = false;
  if (watching) wave.complete();
}

function start() {
  if (watching) return;
  watching = true;
  tabs.postMessage("watching");
  recruit();
}

function stop() {
  watching = false;
  [...watched.keys()].forEach(forget);
}

// Two of these pages would use up the six connections that a browser opens to one server, and
// the admin would wait for ever. So the newest one watches.
const tabs = new BroadcastChannel("crowd");
tabs.onmessage = () => {
  stop();
  wave.paused(start);
};

addEventListener("pagehide", stop);
addEventListener("pageshow", (event) => event.persisted && start());
document.getElementById("flag").addEventListener("change", (event) => event.target.form.submit());
setInterval(() => watched.forEach(({ panel }) => panel.tick()), 100);
start();
