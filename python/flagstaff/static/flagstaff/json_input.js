// Selects the place of a mistake in the text area of a value.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
    for (const mistake of document.querySelectorAll("[data-flagstaff-mistake]")) {
        const area = document.getElementById(mistake.dataset.flagstaffMistake);
        const offset = Number(mistake.dataset.offset);
        area.focus();
        area.setSelectionRange(offset, Math.min(offset + 1, area.value.length));
    }
});
