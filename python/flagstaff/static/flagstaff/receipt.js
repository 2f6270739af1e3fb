// A URL with a fragment takes the focus away, before the first frame: then the message about a change
// gets it.
"use strict";

addEventListener("load", () => requestAnimationFrame(() => {
    document.querySelector(".flagstaff-receipt[autofocus]")?.focus({ preventScroll: true });
}));
