// One change of the flag as it goes through the workers, and the line of words above the panels.

const TOGETHER = 4000; // milliseconds; what comes later belongs to another change

export class Wave {
  constructor(line, wanted) {
    this.line = line;
    this.wanted = wanted;
    this.lit = null;
    this.pids = new Set();
  }

  // The first worker to switch starts the clock, the others are measured against it.
  switched(pid, lit, dots) {
    const now = performance.now();
    if (lit !== this.lit || now - this.began > TOGETHER || this.pids.has(pid)) {
      this.lit = lit;
      this.began = now;
      this.pids.clear();
    }
    this.pids.add(pid);
    const apart = Math.round(now - this.began);
    const people = dots === 1 ? "1 person" : `${dots} people`;
    this.say(
      this.pids.size === 1
        ? `${people} switched in 1 of ${this.wanted} workers`
        : `${people} switched in ${this.pids.size} of ${this.wanted} workers, ${apart} ms from the first to the last`,
    );
  }

  missing(found, misses) {
    if (misses > 60) this.say(`The server does not answer with ${this.wanted} workers. Trying again…`);
    else if (misses > 5) this.say(`${found} of ${this.wanted} workers found…`);
  }

  complete() {
    this.say(`All ${this.wanted} workers answer. Waiting for a change.`);
  }

  paused(resume) {
    const again = document.createElement("button");
    again.className = "small again";
    again.textContent = "Watch here";
    again.onclick = resume;
    this.say("Another tab is watching the crowd.");
    this.line.append(again);
  }

  say(words) {
    this.line.textContent = words;
  }
}
