// What one worker says, drawn.

// Milliseconds for which a change is lit up, and for which it is spoken of.
const FRESH = 2500;
const NEWS = 60000;
const MODES = {
  starting: "the first load is under way",
  live: "hears of every change, and polls to be sure",
  poll: "asks every few seconds what has changed",
  reload: "reads everything every few seconds, because there are no triggers",
  down: "the database is away, and the last good snapshot answers",
  direct: "asks the database each time",
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
    this.parts.dots.addEventListener("pointerover", (event) => this.explain(event.target));
    this.lit = null;
    this.changed = null;
    parent.append(this.root);
  }

  // Draws what was told and returns how many dots have switched.
  show(told) {
    this.told = told;
    this.heard = performance.now();
    const first = this.lit === null;
    const drawn = this.draw(told.lit);
    const switched = first ? 0 : drawn;
    this.ring(told.listed);
    this.words(told, switched);
    this.tick();
    return switched;
  }

  draw(lit) {
    let switched = 0;
    this.dots.forEach((dot, index) => {
      if (this.lit?.[index] === lit[index]) return;
      switched += 1;
      dot.className = lit[index] === "1" ? `lit${this.lit ? " new" : ""}` : "";
    });
    this.lit = lit;
    return switched;
  }

  ring(listed) {
    const rings = new Set(listed);
    this.dots.forEach((dot, index) => dot.classList.toggle("listed", rings.has(index)));
  }

  words(told, switched) {
    const { pid, mode, percent, count, rollout, dots } = this.parts;
    const lit = [...told.lit].filter((state) => state === "1").length;
    pid.textContent = told.pid;
    this.root.style.order = told.pid;
    mode.textContent = told.mode;
    mode.className = `mode ${told.mode}`;
    mode.title = MODES[told.mode] ?? "";
    percent.textContent = `${((100 * lit) / this.dots.length).toFixed(1)} %`;
    count.textContent = `${lit} of ${this.dots.length}`;
    rollout.textContent = told.rollout;
    dots.ariaLabel = `${lit} of ${this.dots.length} people have ${this.flag}`;
    if (switched) this.changed = { at: this.heard, switched };
  }

  // The ages count on between two messages.
  tick() {
    if (!this.told) return;
    const now = performance.now();
    const { age, version } = this.told;
    const old = age === null ? "nothing loaded" : `${(age + (now - this.heard) / 1000).toFixed(1)} s old`;
    this.parts.age.textContent = `snapshot ${version}, ${old}`;
    const since = now - (this.changed?.at ?? -Infinity);
    this.root.classList.toggle("fresh", since < FRESH);
    this.parts.news.textContent =
      since < NEWS
        ? `${this.changed.switched} switched ${duration(since)} ago`
        : `${this.dots.length} answers in ${this.told.microseconds.toFixed(0)} µs`;
  }

  explain(dot) {
    const index = this.dots.indexOf(dot);
    if (index < 0) return;
    const listed = dot.classList.contains("listed");
    const state = this.lit[index] === "1" ? "has it" : "has it not";
    dot.title = `${this.names[index]}: ${state}${listed ? ", is on the allow-list" : ""}`;
  }

  remove() {
    this.root.remove();
  }
}
