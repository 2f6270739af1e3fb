// The panel of one worker: a dot for each user.

const HIGHLIGHT = 2500; // milliseconds for which a changed panel is highlighted
const SHOW_CHANGE = 60000; // milliseconds for which its last change is shown
const MODES = {
  starting: "the first load is running",
  live: "receives each change by NOTIFY, and polls as well",
  poll: "polls for changes every few seconds",
  reload: "loads everything every few seconds, because the triggers are missing",
  down: "the database is unreachable, the last good snapshot is used",
  direct: "queries the database for each evaluation",
};
const template = document.getElementById("panel");

function duration(milliseconds) {
  if (milliseconds < 1000) return `${Math.round(milliseconds)} ms`;
  return `${(milliseconds / 1000).toFixed(1)} s`;
}

export class Panel {
  constructor(parent, names, flag) {
    this.names = names;
    this.flag = flag;
    this.root = template.content.cloneNode(true).firstElementChild;
    this.parts = Object.fromEntries(
      [...this.root.querySelectorAll("*")]
        .filter((element) => Object.keys(element.dataset).length)
        .map((element) => [Object.keys(element.dataset)[0], element]),
    );
    this.dots = names.map(() => document.createElement("i"));
    this.parts.dots.append(...this.dots);
    this.parts.dots.addEventListener("pointerover", (event) => this.describe(event.target));
    this.enabled = null;
    this.changed = null;
    parent.append(this.root);
  }

  // Shows the state of an event and returns the number of changed dots.
  show(state) {
    this.state = state;
    this.receivedAt = performance.now();
    const first = this.enabled === null;
    const drawn = this.draw(state.enabled);
    const changed = first ? 0 : drawn;
    this.markAllowed(state.allowed);
    this.write(state, changed);
    this.update();
    return changed;
  }

  draw(enabled) {
    let changed = 0;
    this.dots.forEach((dot, index) => {
      if (this.enabled?.[index] === enabled[index]) return;
      changed += 1;
      dot.className = enabled[index] === "1" ? `enabled${this.enabled ? " new" : ""}` : "";
    });
    this.enabled = enabled;
    return changed;
  }

  markAllowed(allowed) {
    const indexes = new Set(allowed);
    this.dots.forEach((dot, index) => dot.classList.toggle("allowed", indexes.has(index)));
  }

  write(state, changed) {
    const { pid, mode, percent, count, rollout, dots } = this.parts;
    const enabled = [...state.enabled].filter((digit) => digit === "1").length;
    pid.textContent = state.pid;
    this.root.style.order = state.pid;
    mode.textContent = state.mode;
    mode.className = `mode ${state.mode}`;
    mode.title = MODES[state.mode] ?? "";
    percent.textContent = `${((100 * enabled) / this.dots.length).toFixed(1)} %`;
    count.textContent = `${enabled} of ${this.dots.length}`;
    rollout.textContent = state.rollout;
    dots.ariaLabel = `${enabled} of ${this.dots.length} users have ${this.flag}`;
    if (changed) this.changed = { at: this.receivedAt, count: changed };
  }

  // Updates the ages between two events.
  update() {
    if (!this.state) return;
    const now = performance.now();
    const { age, version } = this.state;
    const ageText =
      age === null ? "nothing loaded" : `${(age + (now - this.receivedAt) / 1000).toFixed(1)} s old`;
    this.parts.age.textContent = `snapshot ${version}, ${ageText}`;
    const since = now - (this.changed?.at ?? -Infinity);
    this.root.classList.toggle("highlight", since < HIGHLIGHT);
    this.parts.activity.textContent =
      since < SHOW_CHANGE
        ? `${this.changed.count} changed ${duration(since)} ago`
        : `${this.dots.length} evaluations in ${this.state.microseconds.toFixed(0)} µs`;
  }

  describe(dot) {
    const index = this.dots.indexOf(dot);
    if (index < 0) return;
    const allowed = dot.classList.contains("allowed") ? " (allowed user)" : "";
    dot.title = `${this.names[index]}: ${this.enabled[index] === "1" ? "on" : "off"}${allowed}`;
  }

  remove() {
    this.root.remove();
  }
}
