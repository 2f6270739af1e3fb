// Counts the users that the form's present values would affect, whenever they change.
"use strict";

const PAUSE = 300; // milliseconds without an edit

document.addEventListener("DOMContentLoaded", () => {
    const output = document.querySelector("[data-flagstaff-impact]");
    const form = output && output.closest("form");
    if (!form) {
        return;
    }
    let timer = 0;
    let request = new AbortController();

    const count = async () => {
        request.abort();
        request = new AbortController();
        output.setAttribute("aria-busy", "true");
        try {
            const response = await fetch(output.dataset.flagstaffImpact, {
                method: "POST",
                body: new FormData(form),
                headers: {Accept: "application/json"},
                signal: request.signal,
            });
            const impact = response.ok ? await response.json() : {text: ""};
            output.textContent = impact.text;
            // Another script shows the rest at the rows of rules.
            form.dispatchEvent(new CustomEvent("flagstaff:impact", {bubbles: true, detail: impact}));
        } catch (error) {
            if (error.name === "AbortError") {
                return;
            }
            output.textContent = "";
        }
        output.removeAttribute("aria-busy");
    };
    const later = () => {
        clearTimeout(timer);
        timer = setTimeout(count, PAUSE);
    };
    form.addEventListener("input", later);
    form.addEventListener("change", later);
    count();
});
