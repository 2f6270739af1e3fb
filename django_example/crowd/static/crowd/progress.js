// The line above the panels: which workers have applied the last change of the flag.

const SAME_CHANGE = 4000; // milliseconds; a later event belongs to another change

export class Progress {
  constructor(line, wanted) {
    this.line = line;
    this.wanted = wanted;
    this.enabled = null;
    this.pids = new Set();
  }

  // The first worker that changes starts the clock for the others.
  changed(pid, enabled, dots) {
    const now = performance.now();
    if (enabled !== this.enabled || now - this.startedAt > SAME_CHANGE || this.pids.has(pid)) {
      this.enabled = enabled;
      this.startedAt = now;
      this.pids.clear();
    }
    this.pids.add(pid);
    const elapsed = Math.round(now - this.startedAt);
    const users = dots === 1 ? "1 user" : `${dots} users`;
    this.show(
      this.pids.size === 1
        ? `${users} changed in 1 of ${this.wanted} workers`
        : `${users} changed in ${this.pids.size} of ${this.wanted} workers, ${elapsed} ms from the first to the last`,
    );
  }

  searching(found, misses) {
    if (misses > 60) this.show(`The server does not answer with ${this.wanted} workers. Trying again…`);
    else if (misses > 5) this.show(`${found} of ${this.wanted} workers found…`);
  }

  connected() {
    this.show(`Connected to all ${this.wanted} workers. Waiting for a change.`);
  }

  paused(resume) {
    const button = document.createElement("button");
    button.className = "small resume";
    button.textContent = "Show it here";
    button.onclick = resume;
    this.show("Another tab shows the crowd.");
    this.line.append(button);
  }

  show(text) {
    this.line.textContent = text;
  }
}
